"""Which tracked flows the agent ends, and when, with a connection table that is none."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address

from steppe.agent.node.flows import FlowEnder, stale_now
from steppe.agent.supervisor import Job, Supervisor
from steppe.client.informer import Backoff
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import KernelError
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort, ServiceRange
from steppe.net.address import parse_address, parse_prefix
from steppe.net.flow import Endpoints, Flow
from steppe.settings import Settings
from tests.waiting import until_async

NODE = Node(
    "node-a",
    "",
    pod_cidrs("node-a", [parse_prefix("10.244.1.0/24")]),
    (parse_address("192.0.2.11"),),
)
CLUSTER_IP, CLIENT = ip_address("10.96.0.10"), ip_address("10.244.1.9")
OLD, NEW = ip_address("10.244.1.5"), ip_address("10.244.2.5")
DNS = Service("default", "dns", cluster_ips=(CLUSTER_IP,), ports=(ServicePort("", "UDP", 53),))


def slice_(*addresses) -> EndpointSlice:
    ports = (("", "UDP", 5353),)
    return EndpointSlice("default", "dns-1", "dns", ports, tuple(map(Endpoint, addresses)))


def flow(answers, source_port: int = 40000) -> Flow:
    return Flow(
        "UDP",
        Endpoints(CLIENT, source_port, CLUSTER_IP, 53),
        Endpoints(answers, 5353, CLIENT, source_port),
    )


class Table:
    """A connection table that counts how often it is read, and fails when told to."""

    def __init__(self, *held: Flow) -> None:
        self.held = set(held)
        self.read = 0
        self.failures = 0

    def flows(self, protocols: Iterable[str], opening: Iterable[str] = ()) -> tuple[Flow, ...]:
        self.read += 1
        if self.failures:
            self.failures -= 1
            raise KernelError("list the connection table", 105, "no buffer space")
        asked = {*protocols, *opening}
        return tuple(flow for flow in self.held if flow.protocol in asked)

    def end(self, ended: Iterable[Flow]) -> int:
        self.held -= set(ended)
        return 0


@asynccontextmanager
async def ending(table: Table) -> AsyncIterator[tuple[FlowEnder, NodeCompiler]]:
    compiler = NodeCompiler(Settings(fabric="direct"), NODE.name)
    compiler.set_node(NODE)
    compiler.set_service(DNS)
    compiler.set_slice(slice_(OLD))
    ender = FlowEnder(compiler, table)
    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(NODE.name, backoff=lambda: Backoff(0.001))
        task = tasks.create_task(supervisor.one(Job("stale-flows", ender.run)))
        yield ender, compiler
        task.cancel()


async def _ends(table: Table, *gone: Flow) -> None:
    async def ended() -> bool:
        return not table.held.intersection(gone)

    await until_async(ended, 5, "the flows are ended")


async def test_a_flow_whose_endpoint_was_replaced_is_ended_and_no_other() -> None:
    stale, fresh = flow(OLD), flow(NEW, 40001)
    table = Table(stale, fresh)
    async with ending(table) as (ender, compiler):
        ender.changed(compiler.set_slice(slice_(NEW)))
        await _ends(table, stale)
    assert table.held == {fresh}


async def test_what_an_earlier_agent_left_is_ended_when_all_is_looked_at() -> None:
    stale, fresh = flow(NEW), flow(OLD, 40001)
    table = Table(stale, fresh)
    async with ending(table) as (ender, compiler):
        ender.changed(compiler.state)
        await _ends(table, stale)
    assert table.held == {fresh}


async def test_a_burst_of_changes_reads_the_table_once_or_twice() -> None:
    stale = flow(OLD)
    table = Table(stale)
    async with ending(table) as (ender, compiler):
        for last in range(20, 60):
            ender.changed(compiler.set_slice(slice_(NEW, ip_address(f"10.244.2.{last}"))))
        await _ends(table, stale)
    assert table.read <= 2


async def test_changes_that_concern_no_such_protocol_read_nothing() -> None:
    table = Table(flow(OLD))
    async with ending(table) as (ender, compiler):
        ender.changed([key for key in compiler.state if "10.96.0.10" not in str(key)])
        ender.changed(())
        await asyncio.sleep(0)
    assert table.read == 0
    assert len(table.held) == 1


WEB = ip_address("10.96.0.11")


def opening(to, answers, source_port: int = 40000) -> Flow:
    """A connection by TCP whose first packet nobody has answered."""
    return Flow(
        "TCP",
        Endpoints(CLIENT, source_port, to, 80),
        Endpoints(answers, 80 if answers == to else 8080, CLIENT, source_port),
    )


async def test_a_connection_begun_while_its_service_had_no_rules_is_ended_and_no_other() -> None:
    stuck = opening(WEB, WEB)
    translated, elsewhere = opening(WEB, NEW, 40001), opening(OLD, OLD, 40002)
    table = Table(stuck, translated, elsewhere)
    async with ending(table) as (ender, compiler):
        web = Service("default", "web", cluster_ips=(WEB,), ports=(ServicePort("", "TCP", 80),))
        behind = EndpointSlice("default", "web-1", "web", (("", "TCP", 8080),), (Endpoint(NEW),))
        ender.changed([*compiler.set_service(web), *compiler.set_slice(behind)])
        await _ends(table, stuck)
    assert table.held == {translated, elsewhere}


async def test_of_connections_being_opened_the_table_is_read_once_a_second_at_most() -> None:
    table = Table()
    web = Service("default", "web", cluster_ips=(WEB,), ports=(ServicePort("", "TCP", 80),))
    async with ending(table) as (ender, compiler):
        compiler.set_service(web)

        async def read_after(change: Endpoint) -> float:
            ports, before = (("", "TCP", 8080),), table.read
            slice_of_web = EndpointSlice("default", "web-1", "web", ports, (change,))  # type: ignore[arg-type]
            ender.changed(compiler.set_slice(slice_of_web))

            async def read() -> bool:
                return table.read > before

            await until_async(read, 20, "the table is read")
            return asyncio.get_running_loop().time()

        first = await read_after(Endpoint(OLD))
        second = await read_after(Endpoint(NEW))
    assert table.read == 2
    # Looked at every few milliseconds, so the first reading may be a little older.
    assert second - first > 0.8


async def test_a_table_that_cannot_be_read_is_read_again() -> None:
    stale = flow(OLD)
    table = Table(stale)
    table.failures = 2
    async with ending(table) as (ender, compiler):
        ender.changed(compiler.set_slice(slice_(NEW)))
        await _ends(table, stale)
    assert table.read == 3


def test_of_all_tracked_flows_the_audit_finds_those_without_an_endpoint() -> None:
    compiler = NodeCompiler(Settings(fabric="direct"), NODE.name)
    compiler.set_node(NODE)
    compiler.set_service(DNS)
    compiler.set_slice(slice_(NEW))
    elsewhere = Flow("UDP", Endpoints(CLIENT, 1, OLD, 53), Endpoints(OLD, 53, CLIENT, 1))
    flows = (flow(OLD), flow(NEW, 40001), elsewhere)
    assert stale_now(compiler, flows) == (flow(OLD),)
    compiler.remove_service("default", "dns")
    assert stale_now(compiler, flows) == (), "nobody knows that the address was a Service's"
    compiler.set_service_range(ServiceRange("kubernetes", (parse_prefix("10.96.0.0/16"),)))
    assert stale_now(compiler, flows) == (flow(OLD), flow(NEW, 40001))
    compiler.remove_service_range("kubernetes")
    assert stale_now(compiler, flows) == ()


def test_where_services_are_anothers_nothing_is_served() -> None:
    compiler = NodeCompiler(Settings(fabric="direct", services=False), NODE.name)
    compiler.set_node(NODE)
    compiler.set_service(DNS)
    compiler.set_slice(slice_(NEW))
    assert stale_now(compiler, (flow(OLD),)) == ()
