"""A new table is one module with its types and its driver, and one place in a list of drivers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.driver import NOTHING, Composite, Fault, Watches, only
from steppe.drivers.errors import Failure, KernelError
from steppe.drivers.events import Lost, Seen
from steppe.drivers.fake import FakeKernel
from steppe.drivers.fake_watch import FakeWatch
from steppe.plan.diff import Change, diff
from steppe.plan.order import ordered
from steppe.state.claim import Entry
from tests.drivers.test_contract import ELEMENT, ETH0, ROUTES, RULESET

# The module of a new table: its vocabulary …


class ToyKey(msgspec.Struct, frozen=True):
    table: ClassVar[str] = "toys"
    level: ClassVar[int] = 80
    name: str

    def __str__(self) -> str:
        return self.name


class Toy(msgspec.Struct, frozen=True):
    colour: str


# … and its driver.


class Toys:
    """A shop that must be open before it takes any toy, and takes no grey ones."""

    tables = frozenset((ToyKey.table,))

    def __init__(self) -> None:
        self.open = False
        self.toys: dict[Any, Any] = {}
        self.heard = FakeWatch()
        self.calls: list[tuple[str, ...]] = []

    def close(self) -> None:
        self.open = False
        self.heard.close()

    def check(self) -> tuple[Fault, ...]:
        return () if self.open else (Fault("the shop", "missing"),)

    def ensure(self, desired: Mapping[Any, Any] = NOTHING) -> tuple[Fault, ...]:
        del desired
        found, self.open = self.check(), True
        return found

    def read(
        self, wanted: Collection[Any] = (), tables: Collection[str] | None = None
    ) -> dict[Any, Any]:
        del wanted
        return only(self.toys, tables)

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        self.calls.append(tuple(str(change.key) for change in changes))
        failures = []
        for change in changes:
            if change.new is None:
                self.toys.pop(change.key, None)
            elif change.new.colour == "grey":
                failures.append(Failure(change, KernelError(str(change), detail="it is grey")))
            else:
                self.toys[change.key] = change.new
        return tuple(failures)

    def watch(self) -> FakeWatch:
        return self.heard


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel((ETH0,), SKELETON)


BEAR, DUCK = ToyKey("bear"), ToyKey("duck")
BROWN = Toy("brown")


def test_a_toy_table_goes_the_way_of_all_tables(kernel: FakeKernel) -> None:
    with Composite((kernel, Toys())) as driver:
        assert driver.tables == kernel.tables | {"toys"}
        assert driver.check() == driver.ensure() == (RULESET, Fault("the shop", "missing"))
        assert driver.check() == ()
        key, value = ROUTES[0]
        desired: Any = {BEAR: Entry(BROWN, ()), key: Entry(value, ())}
        assert driver.apply(ordered(diff(desired, driver.read()))) == ()
        assert driver.read() == {BEAR: BROWN, key: value}
        assert driver.read((), {"toys"}) == {BEAR: BROWN}
        assert driver.read((), {"routes"}) == {key: value}
        assert diff(desired, driver.read()) == ()
        assert driver.apply(ordered(diff({}, driver.read()))) == ()
        assert driver.read() == {}


def test_changes_keep_their_order_and_go_out_in_batches_of_one_driver(kernel: FakeKernel) -> None:
    toys = Toys()
    driver = Composite((toys, kernel))
    driver.ensure()
    changes: list[Any] = [
        Change(BEAR, None, BROWN),
        Change(DUCK, None, BROWN),
        Change(ROUTES[0][0], None, ROUTES[0][1]),
        Change(BEAR, BROWN, None),
    ]
    assert driver.apply(changes) == ()
    assert toys.calls == [("bear", "duck"), ("bear",)]
    assert driver.read() == {DUCK: BROWN, ROUTES[0][0]: ROUTES[0][1]}


def test_a_refusal_keeps_no_other_change_out(kernel: FakeKernel) -> None:
    driver = Composite((kernel, Toys()))
    driver.ensure()
    refused: Any = Change(BEAR, None, Toy("grey"))
    (failure,) = driver.apply([refused, Change(ROUTES[0][0], None, ROUTES[0][1])])
    assert failure.change == refused
    assert driver.read() == dict([ROUTES[0]])


def test_a_table_without_a_driver_is_a_failure_that_names_the_change(kernel: FakeKernel) -> None:
    driver = Composite((kernel,))
    nobodys: Any = Change(BEAR, None, BROWN)
    (failure,) = driver.apply([nobodys])
    assert "bear" in str(failure.error)
    assert "no driver here has the table toys" in str(failure.error)
    assert driver.read([BEAR], {"toys"}) == {}


def test_a_table_has_one_driver_only(kernel: FakeKernel) -> None:
    with pytest.raises(ValueError, match="toys has two drivers"):
        Composite((Toys(), kernel, Toys()))


async def test_the_events_of_all_drivers_come_in_one_stream(kernel: FakeKernel) -> None:
    toys = Toys()
    driver = Composite((kernel, toys))
    driver.ensure()
    kernel.put(*ROUTES[0])
    with driver.watch() as watch:
        stream = watch.events()
        toys.heard.take(Lost("the shop was robbed"))
        assert await anext(stream) == (Lost("the shop was robbed"),)
        kernel.remove(ROUTES[0][0])
        assert await anext(stream) == (Seen(ROUTES[0][0], None),)
        await stream.aclose()
        assert watch.drain() == ()


def test_a_watch_that_cannot_be_made_closes_those_that_were() -> None:
    class Deaf(Toys):
        def watch(self) -> FakeWatch:
            raise KernelError("watch toys", 24)

    heard: list[FakeWatch] = []

    class Hearing(FakeKernel):
        def watch(self) -> FakeWatch:
            heard.append(super().watch())
            return heard[0]

    with pytest.raises(KernelError):
        Composite((Hearing(), Deaf())).watch()
    assert heard[0].descriptors == (-1,)


def test_no_drivers_are_a_driver_without_tables() -> None:
    driver = Composite(())
    assert driver.tables == frozenset()
    assert driver.read([ELEMENT]) == {}
    assert driver.watch().descriptors == Watches().descriptors == ()
