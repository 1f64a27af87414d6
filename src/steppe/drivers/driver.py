"""What every driver does, and how several drivers make one.

    changes ─▶ Composite ─▶ the driver that owns the keys' table ─▶ kernel, daemon …
    read    ◀─ all drivers' tables in one mapping ◀────────────────┘
    events  ◀─ all drivers' events in one stream

A table is known by the name that its keys' class has (`LinkKey.table`). A new table is a module
in `state` with the types of its keys and values, a driver that owns it, and a place for that
driver in the list that a Composite is made from.
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


class Fault(msgspec.Struct, frozen=True):
    """Something that a driver's tables stand on and that has no key, such as nftables' rules."""

    what: str
    how: Literal["missing", "differs", "foreign"]

    def __str__(self) -> str:
        return f"{self.what}: {self.how}"


class Watching(Protocol):
    """The events of one driver, from the moment on that this was made."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Files that can be read when there are events."""

    def drain(self) -> Sequence[Event]:
        """What has happened since the last call; never waits."""

    def close(self) -> None:
        """No more events."""


class Driver(Protocol):
    """Reads and changes some tables. Calls block and belong on a thread.

    Errors: a KernelError says that nothing was read or made; a change that could not be made is
    a Failure, and the other changes are made all the same.
    """

    @property
    def tables(self) -> frozenset[str]:
        """The tables that only this driver reads and changes."""

    def check(self) -> tuple[Fault, ...]:
        """What `ensure` would put right; changes nothing."""

    def ensure(self) -> tuple[Fault, ...]:
        """Make what the tables stand on; answers what had to be put right."""

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        """What is ours in all tables, or in these alone.

        Of a table that cannot be listed (sysctls: nobody knows which of them are ours) only the
        wanted keys are read, as far as they are there.
        """

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Make the changes, in order; each one that was not made, with its reason.

        To add what is there already and to delete what is gone both succeed.
        """

    def watch(self) -> Watching:
        """What others do to the tables, from now on."""

    def close(self) -> None:
        """Close what the driver has open; the tables stay as they are."""


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
        """What happens, as it happens, for ever."""
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

    def ensure(self) -> tuple[Fault, ...]:
        return tuple(fault for driver in self._drivers for fault in driver.ensure())

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
                failures += map(_nobodys, group)
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


def _nobodys(change: Change) -> Failure:
    detail = f"no driver here has the table {change.key.table}"
    return Failure(change, KernelError(str(change), detail=detail))
