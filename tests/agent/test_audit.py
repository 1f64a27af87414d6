"""What an audit finds, tells and puts right, over a kernel in memory."""

from collections.abc import Collection, Iterable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from steppe.agent.node import audit
from steppe.agent.node.audit import Audit
from steppe.agent.node.surroundings import Observer
from steppe.drivers.errors import KernelError
from steppe.kube.objects import Workload
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.address import IPNetwork
from steppe.net.flow import Endpoints, Flow
from steppe.plan.diff import Change
from steppe.state.device import Veth
from steppe.state.link import Link, LinkKey
from steppe.state.nft import ElementKey
from steppe.state.route import Route, RouteKey, route_by
from steppe.state.surroundings import OtherRoute, Surroundings
from steppe.state.workload import workload_of
from tests.agent.keeper_world import RULESET, STRAY, TO_B, TO_C, World
from tests.worlds import node_at, pod_on

CLUSTER_IP, CLIENT = ip_address("10.96.0.10"), ip_address("10.244.1.9")
GONE = ip_address("10.244.2.5")
STALE = Flow("UDP", Endpoints(CLIENT, 40000, CLUSTER_IP, 53), Endpoints(GONE, 5353, CLIENT, 40000))
BLACK = OtherRoute(RouteKey(ip_network("10.244.2.0/25"), metric=0), Route("blackhole"))


class Inspection:
    """Flows and others' things, as a test has them."""

    def __init__(self) -> None:
        self.flows: set[Flow] = set()
        self.around = Surroundings()
        self.in_pod: Surroundings | None = Surroundings()
        self.fails: KernelError | None = None
        self.asked: list[tuple[frozenset[IPNetwork], tuple[str, ...]]] = []

    def tracked(self) -> tuple[Flow, ...]:
        if self.fails:
            raise self.fails
        return tuple(self.flows)

    def end(self, flows: Iterable[Flow]) -> None:
        self.flows -= set(flows)

    def surroundings(
        self, addresses: Collection[IPNetwork], links: Collection[str]
    ) -> Surroundings:
        self.asked.append((frozenset(addresses), tuple(links)))
        return self.around

    def inside(self, _: int) -> Surroundings:
        return self.around

    async def look_into(self, *_: object) -> Surroundings | None:
        return self.in_pod


class Audited:
    """A node in step with its kernel, and an audit of it."""

    def __init__(self) -> None:
        self.world = World()
        self.inspection = Inspection()
        self.inside: dict[str, tuple[Change, ...]] = {}
        compiler, inspection = self.world.compiler, self.inspection
        self.observer = Observer(compiler, inspection, inspection.look_into)
        self.audit = Audit(
            compiler, self.world.keeper, self._inner_faults, inspection, self.observer
        )

    async def _inner_faults(self, workload: Workload) -> tuple[Change, ...]:
        return self.inside.get(workload.name, ())

    async def begin(self) -> None:
        await self.world.keeper.read()
        await self.world.keeper.repair(self.world.held())

    async def differences(self, *, repair: bool = False) -> list[tuple[str, str, str]]:
        found = await self.audit.look(repair=repair)
        return [(row["table"], row["key"], row["how"]) for row in found["differences"]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SETTLE_SECONDS", 0.001)


async def test_a_kernel_that_is_as_desired_has_no_differences() -> None:
    it = Audited()
    await it.begin()
    answer = await it.audit.look(repair=True)
    assert answer == {
        "schema": "steppe.audit/v1",
        "node": "node-a",
        "entries": len(it.world.compiler.state),
        "repaired": False,
        "differences": [],
        "flows": [],
        "sessions": [],
        "others": [],
    }
    ((addresses, links),) = it.inspection.asked
    assert {TO_B.prefix, TO_C.prefix} <= addresses
    assert links == ("eth0",)


async def test_what_is_missing_foreign_or_different_is_reported_with_its_cause_and_left() -> None:
    it = Audited()
    await it.begin()
    it.world.kernel.remove(TO_B)
    it.world.kernel.put(TO_C, route_by("eth0"))
    it.world.kernel.put(STRAY, route_by("eth0"))
    answer = await it.audit.look(repair=False)
    rows = {row["key"]: row for row in answer["differences"]}
    assert {key: row["how"] for key, row in rows.items()} == {
        str(TO_B): "missing",
        str(TO_C): "differs",
        str(STRAY): "foreign",
    }
    assert rows[str(TO_B)]["because"] == ["Node/node-b spec.podCIDRs[0]"]
    assert rows[str(TO_B)]["actual"] is None
    assert rows[str(TO_C)]["actual"] == str(route_by("eth0"))
    assert rows[str(STRAY)]["desired"] is None
    assert not answer["repaired"]
    assert TO_B not in it.world.held()


async def test_what_is_repaired_is_reported_as_it_was_and_is_right_afterwards() -> None:
    it = Audited()
    await it.begin()
    it.world.kernel.remove(TO_B)
    answer = await it.audit.look(repair=True)
    assert [row["key"] for row in answer["differences"]] == [str(TO_B)]
    assert answer["repaired"]
    assert it.world.held() == it.world.desired
    assert await it.differences() == []


async def test_a_repair_that_the_kernel_refuses_is_reported_with_its_reason() -> None:
    it = Audited()
    await it.begin()
    it.world.kernel.remove(TO_B)
    it.world.kernel.refuse = lambda change: 22 if change.key == TO_B else 0
    (row,) = (await it.audit.look(repair=True))["differences"]
    assert "Invalid argument" in row["refused"]


async def test_what_the_ruleset_lacks_is_named_before_the_entries_that_went_with_it() -> None:
    it = Audited()
    await it.begin()
    it.world.kernel.flush()
    answer = await it.audit.look(repair=False)
    ruleset, *entries = answer["differences"]
    elements = {str(key) for key in it.world.desired if isinstance(key, ElementKey)}
    assert {row["key"] for row in entries} == elements
    assert (ruleset["table"], ruleset["key"]) == ("ruleset", RULESET.what)
    assert ruleset["how"] == RULESET.how
    assert ruleset.keys() == entries[0].keys()
    await it.audit.look(repair=True)
    assert await it.differences() == []


async def test_a_change_that_is_on_its_way_is_no_difference() -> None:
    it = Audited()
    await it.begin()

    def arrives() -> Any:
        seen = look()
        it.world.kernel.put(TO_B, it.world.desired[TO_B])
        return seen

    it.world.kernel.remove(TO_B)
    look, it.world.kernel.check = it.world.kernel.check, arrives  # between the two readings
    assert await it.differences() == []


async def test_what_is_inside_a_pod_is_reported_with_the_pod() -> None:
    it = Audited()
    await it.begin()
    pod = workload_of(pod_on(node_at(0), 0))
    assert pod is not None
    it.world.compiler.set_workload(pod)
    await it.world.keeper.repair(it.world.held())
    it.inside[pod.name] = (Change(LinkKey("eth0"), Link(Veth(), 1500, True), None),)
    found = (await it.audit.look(repair=False))["differences"]
    row = next(row for row in found if row["key"].startswith("eth0 in"))
    assert row["key"] == f"eth0 in {pod.namespace}/{pod.name}"
    assert row["because"] == [f"{pod.ref} status.podIPs"]


async def test_flows_to_what_is_no_endpoint_are_reported_with_their_service_and_ended() -> None:
    it = Audited()
    it.world.compiler.set_service(
        Service("default", "dns", cluster_ips=(CLUSTER_IP,), ports=(ServicePort("", "UDP", 53),))
    )
    ports = (("", "UDP", 5353),)
    served = (Endpoint(ip_address("10.244.2.6")),)
    it.world.compiler.set_slice(EndpointSlice("default", "dns-1", "dns", ports, served))
    await it.begin()
    it.inspection.flows = {STALE}
    answer = await it.audit.look(repair=False)
    (row,) = answer["flows"]
    assert row["flow"] == str(STALE)
    assert row["because"] == ["Service/default/dns spec.clusterIPs[0]"]
    assert it.inspection.flows == {STALE}
    assert (await it.audit.look(repair=True))["repaired"]
    assert it.inspection.flows == set()


async def test_what_others_have_put_there_is_reported_and_never_counts_as_a_repair() -> None:
    it = Audited()
    await it.begin()
    it.inspection.around = Surroundings(routes=(BLACK,))
    answer = await it.audit.look(repair=True)
    (row,) = answer["others"]
    assert (row["kind"], row["sure"]) == ("route", True)
    assert row["entry"] == "route 10.244.2.0/25 metric 0 blackhole"
    assert "to pods of node-b (10.244.2.0/25) are dropped here" in row["text"]
    assert not answer["repaired"]


async def test_a_pod_whose_inside_is_not_found_is_named() -> None:
    it = Audited()
    await it.begin()
    pod = workload_of(pod_on(node_at(0), 0))
    assert pod is not None
    it.world.compiler.set_workload(pod)
    it.inspection.in_pod = None
    seen = await it.observer.look()
    assert [found.entry for found in seen.findings] == [f"its inside in {pod.namespace}/{pod.name}"]
    elsewhere = await it.observer.look([GONE])
    assert elsewhere.findings == ()


async def test_a_connection_table_that_cannot_be_read_is_no_clean_audit() -> None:
    it = Audited()
    await it.begin()
    it.inspection.fails = KernelError("list the connection table", 105)
    with pytest.raises(KernelError, match="list the connection table"):
        await it.audit.look(repair=False)
