"""The changes that make actual tables equal the desired ones.

Only values are compared: if only the cause of an entry changes, the kernel is not touched.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from steppe.state.node import Key, NodeState, Value


class Change(msgspec.Struct, frozen=True, gc=False):
    """One key's actual value (`old`) and its desired one (`new`); None if there is no entry."""

    key: Key
    old: Value | None
    new: Value | None

    def __str__(self) -> str:
        if self.new is None:
            return f"delete {self.key.table} {self.key} {self.old}"
        verb = "add" if self.old is None else "replace"
        return f"{verb} {self.key.table} {self.key} {self.new}"


def diff(
    desired: NodeState, actual: Mapping[Key, Value], keys: Iterable[Key] | None = None
) -> tuple[Change, ...]:
    """The changes for these keys, or for every key of either side."""
    if keys is None:
        keys = desired.keys() | actual.keys()

    def wanted(key: Key) -> Value | None:
        entry = desired.get(key)
        return entry.value if entry is not None else None

    return differences(wanted, actual.get, keys)


def differences(
    wanted: Callable[[Key], Value | None],
    actual: Callable[[Key], Value | None],
    keys: Iterable[Key],
) -> tuple[Change, ...]:
    """The changes for these keys, of two functions that answer the value under a key."""
    changes: list[Change] = []
    for key in keys:
        old, new = actual(key), wanted(key)
        if old != new:
            changes.append(Change(key, old, new))
    return tuple(changes)


def applied(actual: Mapping[Key, Value], changes: Iterable[Change]) -> dict[Key, Value]:
    """The tables after every change has been made."""
    result = dict(actual)
    for change in changes:
        if change.new is None:
            result.pop(change.key, None)
        else:
            result[change.key] = change.new
    return result
