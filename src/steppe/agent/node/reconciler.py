"""Compares desired and actual tables, and plans the changes between the two.

Without I/O: the keeper reads, applies and listens, and passes the results to the reconciler.

    compiler.state (desired) ─┐
                              ├─ plan() ─▶ changes ─▶ [driver] ─▶ settle(changes, failures)
    actual, as last seen ─────┘                            └─────▶ observe(key, value)

A pod's link and all entries on it belong to the CNI server until the attachment is complete. So
entries on a pod link without a known workload are never deleted from here.
"""

from collections.abc import Iterable, Mapping
from itertools import chain

import msgspec

from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import Failure
from steppe.kube.cause import Cause
from steppe.kube.objects import Workload
from steppe.plan.diff import Change, differences
from steppe.plan.order import ordered
from steppe.state.link import LinkKey
from steppe.state.nft import ElementKey
from steppe.state.node import Key, Value
from steppe.state.workload import is_pod_link

MANY_KEYS = 10_000
"""A pass over more keys than this is large: equal values are then shared and memory is freed."""


class Plan(msgspec.Struct, frozen=True):
    """Changes for the driver, and pods whose link is missing: the CNI server makes it again.

    `repairs`: the keys among the changes whose entry was right until another program changed it.
    """

    changes: tuple[Change, ...] = ()
    lost: tuple[Workload, ...] = ()
    repairs: tuple[Key, ...] = ()


class Reconciler:
    """One node's desired and actual tables, and the keys that have to be compared.

    Invariant: a key whose values may differ is in the set of keys to compare, or is planned and not
    settled yet, or has failed; `plan` returns changes only for keys that were compared.
    """

    def __init__(self, compiler: NodeCompiler) -> None:
        self._compiler = compiler
        self.actual: dict[Key, Value] = {}
        self.failed: dict[Key, Failure] = {}
        self.begun = self.ended = 0
        """The number of planned passes, and of those that the kernel has answered."""
        self.compared = self.planned = 0
        """The number of keys that the last pass has compared, and of its changes."""
        self._dirty: set[Key] = set()
        self._fresh = False
        """Whether the actual tables were read, and do not share what is equal with the desired."""
        self._broken: set[Key] = set()
        """Keys whose entry was the desired one until the kernel reported another value."""

    def touch(self, keys: Iterable[Key]) -> None:
        """These keys' desired entries may have changed."""
        self._dirty.update(keys)

    def replace_actual(self, seen: Mapping[Key, Value]) -> None:
        """The whole kernel was read: compare every key again."""
        self.actual, self._fresh = dict(seen), True
        self._dirty = {*seen, *self._compiler.state}

    def after_a_loss(self, *, trusted: bool) -> Mapping[Key, Value]:
        """What the kernel shall have if it has lost entries: what is desired, where that is known
        as a whole (`trusted`), and else what it had, which stays in force.

        () for an agent that has not read the kernel yet: what is desired is not known then either.
        """
        if not self.actual:
            return {}
        if not trusted:
            return self.actual
        pending = self._compiler.pending
        desired = self._compiler.state.values_but(pending)
        kept = {key: self.actual[key] for key in pending if key in self.actual}
        return {**desired, **kept}

    def observe(self, key: Key, value: Value | None) -> bool:
        """The kernel reports a key's new value; returns whether it differs from the desired one.

        That need not be another program's work: an attachment writes its entries before they are
        desired, and deletes them before they are not.
        """
        entry = self._compiler.state.get(key)
        desired = entry.value if entry is not None else None
        was_right = self.actual.get(key) == desired
        if value is None:
            self.actual.pop(key, None)
        else:
            self.actual[key] = value
        if desired == value:
            self._broken.discard(key)
            return False
        self._dirty.add(key)
        if was_right:
            self._broken.add(key)
        return True

    def adopt(self, keys: Iterable[Key]) -> None:
        """Another part of the agent has just written the desired values of these keys."""
        for key in keys:
            entry = self._compiler.state.get(key)
            if entry is not None:
                self.actual[key] = entry.value

    def forget(self, keys: Iterable[Key]) -> None:
        """Another part of the agent has just deleted these keys from the kernel."""
        for key in keys:
            self.actual.pop(key, None)
            self.failed.pop(key, None)

    def lose(self, link: str) -> None:
        """A link is down or deleted: entries on it may be gone without further events."""
        for key in [
            key
            for key, value in self.actual.items()
            if link in key.links(value) and key.table != LinkKey.table
        ]:
            del self.actual[key]
            self._dirty.add(key)

    def plan(self) -> Plan:
        """The changes to make now, in order; the planned keys need no more comparison."""
        dirty, self._dirty = self._dirty, set()
        # They are touched again when the change that they are part of is complete.
        dirty -= self._compiler.pending
        if self._fresh and len(dirty) > MANY_KEYS:
            self.actual, self._fresh = self._compiler.state.share(self.actual), False
        self.compared = len(dirty)
        plan = self._plan(differences(self._compiler.state.value, self.actual.get, dirty))
        for key in (self.failed.keys() & dirty).difference(c.key for c in plan.changes):
            del self.failed[key]
        self.begun += 1
        self.planned = len(plan.changes)
        if not plan.changes:
            self.ended = self.begun
        return plan

    def settle(self, changes: Iterable[Change], failures: Iterable[Failure]) -> None:
        """The changes were made, except for these failures."""
        self.ended = self.begun
        refused = {failure.change.key: failure for failure in failures}
        for change in changes:
            if refused and change.key in refused:
                continue
            if self.failed:
                self.failed.pop(change.key, None)
            if change.new is None:
                self.actual.pop(change.key, None)
            else:
                self.actual[change.key] = change.new
        self.failed.update(refused)

    def retry(self) -> None:
        """Compare failed keys again in the next pass; until then they count as failed."""
        self._dirty.update(self.failed)

    def because(self, change: Change) -> tuple[Cause, ...]:
        """The causes of a change; () to delete an entry that no object claims any more."""
        return self._compiler.state.because(change.key)

    def drift(
        self, seen: Mapping[Key, Value], keys: Iterable[Key] | None = None
    ) -> tuple[Change, ...]:
        """What it would take to make a kernel that holds `seen` agree, in all or in these keys."""
        pending = self._compiler.pending
        wanted = self._compiler.state
        everything = keys if keys is not None else wanted.keys() | seen.keys()
        found = differences(wanted.value, seen.get, everything)
        changes = [change for change in found if change.key not in pending]
        known = (change for change in changes if not self._is_under_way(change))
        return ordered(known)

    def _plan(self, changes: Iterable[Change]) -> Plan:
        plain: list[Change] = []  # nearly all are elements, which are on no link
        others: list[Change] = []
        for change in changes:
            (plain if isinstance(change.key, ElementKey) else others).append(change)
        known = [change for change in others if not self._is_under_way(change)]
        lost = dict.fromkeys(chain.from_iterable(_links(c) for c in known if _is_lost_pod(c)))
        kept = [*(c for c in known if lost.keys().isdisjoint(_links(c))), *plain]
        repairs = tuple(c.key for c in kept if c.key in self._broken) if self._broken else ()
        self._broken.clear()
        gone = tuple(self._compiler.workloads[link] for link in lost)
        return Plan(ordered(kept), gone, repairs)

    def _is_under_way(self, change: Change) -> bool:
        links = _links(change)
        if not links:  # as of nearly all
            return False
        return any(is_pod_link(link) and link not in self._compiler.workloads for link in links)


def _is_lost_pod(change: Change) -> bool:
    is_new = change.key.table == LinkKey.table and change.old is None
    return is_new and all(map(is_pod_link, _links(change)))


def _links(change: Change) -> tuple[str, ...]:
    """The links of the changed entry: of its desired value, or of the deleted one."""
    return change.key.links(change.new if change.new is not None else change.old)
