"""The protocol of all drivers, and a driver made of several drivers.

    changes ─▶ Composite ─▶ the driver that owns the keys' table ─▶ kernel, daemon …
    read    ◀─ all drivers' tables in one mapping ◀────────────────┘
    events  ◀─ all drivers' events in one stream

A table has the name in its keys' class (`LinkKey.table`). A new table is a module in `state` with
the types of its keys and values, a driver that owns it, and that driver in the list from which a
Composite is made.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal, Protocol, Self

import msgspec

from steppe.drivers.errors import Failure, KernelError
from steppe.drivers.events import Event
from steppe.drivers.netlink.hearing import heard_any
from steppe.plan.diff import Change
from steppe.state.node import Key, Value

NOTHING: Mapping[Key, Value] = {}


class Fault(msgspec.Struct, frozen=True):
    """Something wrong in the base of a driver's tables that has no key, such as nftables' rules."""

    what: str
    how: Literal["missing", "differs", "foreign"]

    def __str__(self) -> str:
        return f"{self.what}: {self.how}"


class Watching(Protocol):
    """The events of one driver, from when this object was made."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that are readable when there are events."""

    def drain(self) -> Sequence[Event]:
        """The events since the last call; never waits."""

    def close(self) -> None:
        """End the events."""


class Driver(Protocol):
    """Reads and changes some tables. Calls block, so they run on a thread.

    Errors: after a KernelError nothing was read or changed; a single change that could not be made
    is a Failure, and the other changes are made.
    """

    @property
    def tables(self) -> frozenset[str]:
        """The tables that only this driver reads and changes."""

    def check(self) -> tuple[Fault, ...]:
        """The faults that `ensure` would repair; changes nothing."""

    def ensure(self, desired: Mapping[Key, Value] = NOTHING) -> tuple[Fault, ...]:
        """Make the base of the tables; returns the faults that it has repaired.

        A base that is gone, and with it all entries, comes back together with those of `desired`
        that are this driver's: no packet meets it without them. Those that cannot be made are left
        out, and nothing is said of them here.
        """

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        """Our entries in all tables, or only in these.

        A table that cannot be listed (sysctls: the kernel does not record which are ours) is read
        only under the wanted keys, as far as they exist.
        """

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes, in order; returns those that were not made, with the reason.

        To add an equal entry again and to delete a missing entry both succeed.
        """

    def watch(self) -> Watching:
        """The changes that others make to the tables, from now on."""

    def close(self) -> None:
        """Close the driver's sockets; the tables stay as they are."""


class Watches:
    """The events of several drivers, in one stream."""

    def __init__(self, watches: Sequence[Watching] = ()) -> None:
        self._watches = tuple(watches)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(number for watch in self._watches for number in watch.descriptors)

    def drain(self) -> tuple[Event, ...]:
        return tuple(event for watch in self._watches for event in watch.drain())

    def close(self) -> None:
        for watch in self._watches:
            watch.close()

    def events(self) -> AsyncGenerator[tuple[Event, ...], None]:
        """The events as they happen, until cancelled."""
        return heard_any(self.descriptors, self.drain)


class Composite:
    """Several drivers as one. Invariant: each table has exactly one owner.

    Changes are made in the order given; consecutive ones of one driver go to it together.
    """

    def __init__(self, drivers: Iterable[Driver]) -> None:
        self._drivers = tuple(drivers)
        self._owners: dict[str, Driver] = {}
        for driver in self._drivers:
            for table in driver.tables:
                if table in self._owners:
                    raise ValueError(f"table {table} has two drivers")
                self._owners[table] = driver

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tables(self) -> frozenset[str]:
        return frozenset(self._owners)

    def check(self) -> tuple[Fault, ...]:
        return tuple(fault for driver in self._drivers for fault in driver.check())

    def ensure(self, desired: Mapping[Key, Value] = NOTHING) -> tuple[Fault, ...]:
        return tuple(fault for driver in self._drivers for fault in driver.ensure(desired))

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        asked = self.tables if tables is None else self.tables.intersection(tables)
        keys: dict[str, list[Key]] = {}
        for key in wanted:
            keys.setdefault(key.table, []).append(key)
        state: dict[Key, Value] = {}
        for driver in self._drivers:
            own = driver.tables & asked
            if own:
                mine = [key for table in own for key in keys.get(table, ())]
                state.update(driver.read(mine, own))
        return state

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        failures: list[Failure] = []
        for driver, group in groupby(changes, lambda c: self._owners.get(c.key.table)):
            if driver is None:
                failures += map(_without_driver, group)
            else:
                failures += driver.apply(tuple(group))
        return tuple(failures)

    def watch(self) -> Watches:
        made: list[Watching] = []
        try:
            for driver in self._drivers:
                made.append(driver.watch())  # noqa: PERF401  those made are closed on an error
        except BaseException:
            Watches(made).close()
            raise
        return Watches(made)

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()


def only(state: Mapping[Key, Value], tables: Collection[str] | None) -> dict[Key, Value]:
    """The entries of these tables, or all of them."""
    if tables is None:
        return dict(state)
    return {key: value for key, value in state.items() if key.table in tables}


def _without_driver(change: Change) -> Failure:
    detail = f"no driver here has the table {change.key.table}"
    return Failure(change, KernelError(str(change), detail=detail))
