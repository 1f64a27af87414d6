"""Services while things change and fail: no flow is left behind, and none is harmed.

One lab for all. Clients that have been talking go on talking: over the replacement of what serves
them, over an agent's death, over the API server's absence and over a rolling update.
"""

import contextlib
import re
import signal
import time
from collections.abc import Iterator
from typing import Any, Self

import msgspec
import pytest

from steppe.client.resources import SERVICES
from steppe_lab.record import read_record, write_record
from tests.lab.conftest import make_labs
from tests.lab.sctp import Associations
from tests.lab.service_lab import (
    NODES,
    REFUSED,
    VIPS,
    Json,
    Load,
    Target,
    World,
    cluster,
    node_port,
    pods,
    run,
)
from tests.waiting import patience, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

HERE, THERE = "echo-a", "echo-b"
HTTP = (("tcp", "TCP", 8080), ("udp", "UDP", 7))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[World]:
    with make_labs(tmp_path_factory.mktemp("changing")) as make:
        yield World(make("change", "--nodes", "2", pods=pods()))


@pytest.fixture(autouse=True)
def _clean(world: World) -> Iterator[None]:
    yield
    world.remove("web")


def serve(world: World, known: dict[str, Json], **spec: Any) -> Json:
    service = world.service("web", **spec)
    world.endpoints("web", known)
    world.settle()
    return service


class Clients:
    """UDP senders that never change their source port, as resolvers and loggers do."""

    def __init__(
        self, world: World, places: list[tuple[str, tuple[str, int]]], seconds: float = 0.2
    ) -> None:
        self._world = world
        self._stack = contextlib.ExitStack()
        self._sockets = {
            (client, *place): self._stack.enter_context(
                world.open(
                    client, Target(*place, "UDP"), source_port=41000 + number, seconds=seconds
                )
            )
            for number, (client, place) in enumerate(places)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def answers(self) -> dict[tuple[str, str, int], str]:
        """Who answers each of them: a pod's name, or no answer's name."""
        return {
            place: self._world.talk(sock, place[0]).partition(" ")[0]
            for place, sock in self._sockets.items()
        }

    def all_have(self, name: str, seconds: float = 5) -> None:
        """Wait until it does; who never comes to it is told."""
        end = time.monotonic() + patience(seconds)
        while wrong := {place: who for place, who in self.answers().items() if who != name}:
            assert time.monotonic() < end, f"not answered by {name}: {wrong}"


def senders(service: Json) -> list[tuple[str, tuple[str, int]]]:
    """Pods, nodes and the outside, to cluster IPs, node ports and external IPs."""
    return [
        *(("client-a", place) for place in cluster(service)),
        *(("client-b", place) for place in cluster(service)),
        *(("node-a", place) for place in cluster(service)),
        *(("outside", place) for place in node_port(service, "node-a", 1)),
        *(("outside", place) for place in node_port(service, "node-b", 1)),
        *(("outside", (address, 80)) for address in VIPS),
    ]


def test_a_udp_client_follows_when_its_endpoint_is_replaced(world: World) -> None:
    """Its flow is in the connection table, and would go on to the old endpoint for ever."""
    service = serve(world, {HERE: {}}, type="NodePort", externalIPs=list(VIPS))
    with Clients(world, senders(service)) as clients:
        clients.all_have(HERE)
        world.endpoints("web", {THERE: {}})
        clients.all_have(THERE)
        world.endpoints("web", {HERE: {}})
        clients.all_have(HERE)


def test_a_udp_client_is_told_when_the_last_endpoint_or_the_service_goes(world: World) -> None:
    """What went away must not be sent to any longer, and nothing else is there."""
    service = serve(world, {HERE: {}}, type="NodePort", externalIPs=list(VIPS))
    with Clients(world, senders(service)) as clients:
        clients.all_have(HERE)
        world.endpoints("web", {})
        clients.all_have(REFUSED)
        world.endpoints("web", {HERE: {}})
        clients.all_have(HERE)
        world.remove("web")
        until(lambda: HERE not in clients.answers().values(), 5, "the Service is closed")


def test_a_udp_client_that_began_before_the_first_endpoint_is_served(world: World) -> None:
    service = serve(world, {}, type="NodePort", externalIPs=list(VIPS))
    with Clients(world, senders(service)) as clients:
        clients.all_have(REFUSED)
        world.endpoints("web", {THERE: {}})
        clients.all_have(THERE)


def test_a_udp_client_that_began_before_the_service_is_served(world: World) -> None:
    """What nobody served then has left a flow to the address itself."""
    spec: Json = {"type": "NodePort", "externalIPs": list(VIPS)}
    service = serve(world, {HERE: {}}, **spec)
    addresses = service["spec"]["clusterIPs"]
    ports = service["spec"]["ports"]
    world.remove("web")
    world.settle()
    with Clients(world, senders(service)) as clients:
        assert not {HERE, THERE} & set(clients.answers().values())
        serve(world, {THERE: {}}, ports=ports, clusterIPs=addresses, **spec)
        clients.all_have(THERE)


def test_a_service_deleted_and_made_anew_takes_its_udp_clients_along(world: World) -> None:
    service = serve(world, {HERE: {}}, type="NodePort")
    spec = {key: service["spec"][key] for key in ("ports", "clusterIPs", "type")}
    places = [each for each in senders(service) if each[1][0] not in VIPS]
    with Clients(world, places) as clients:
        clients.all_have(HERE)
        world.remove("web")
        serve(world, {THERE: {}}, **spec)
        clients.all_have(THERE)


def test_a_node_port_whose_target_changes_takes_its_udp_clients_along(world: World) -> None:
    """The same endpoint under another port number is another endpoint."""
    service = world.service(
        "web", [{"name": "udp", "port": 80, "protocol": "UDP"}], type="NodePort"
    )
    world.endpoints("web", {HERE: {}}, [("udp", "UDP", 77)])
    world.settle()
    with Clients(world, [("outside", each) for each in node_port(service, "node-b")]) as clients:
        assert HERE not in clients.answers().values()
        world.endpoints("web", {HERE: {}}, [("udp", "UDP", 7)])
        clients.all_have(HERE)


def test_an_sctp_client_follows_when_its_endpoint_is_replaced(world: World) -> None:
    """As UDP's: its packets keep the flow in the connection table, whoever answers them."""
    ports = [{"name": "assoc", "port": 3868, "protocol": "SCTP"}]
    service = world.service("web", ports, type="NodePort")
    world.endpoints("web", {HERE: {}}, [("assoc", "SCTP", 7)])
    world.settle()
    places = [("client-a", place) for place in cluster(service, 3868)]
    places += [("outside", place) for place in node_port(service, "node-a")]

    def answered() -> set[str]:
        return {
            sctp.ask(client, Target(*place, "SCTP"), 42000).partition(" ")[0]
            for client, place in places
        }

    with Associations(world).served_by([HERE, THERE]) as sctp:
        assert answered() == {HERE}
        world.endpoints("web", {THERE: {}}, [("assoc", "SCTP", 7)])
        until(lambda: answered() == {THERE}, 5, "the new endpoint answers")


def test_established_connections_survive_what_happens_to_their_service(world: World) -> None:
    """A Service chooses once, for a connection's first packet."""
    service = serve(world, {THERE: {}}, type="NodePort")
    targets = [
        ("client-a", Target(*cluster(service)[0])),
        ("client-a", Target(*cluster(service)[1])),
        ("node-a", Target(*cluster(service)[0])),
        ("outside", Target(*node_port(service, "node-a")[0])),
    ]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(world.open(*each)) for each in targets]
        assert all(THERE.encode() in sock.recv(4096) for sock in connections)
        changes = (
            lambda: world.endpoints("web", {HERE: {}}),
            lambda: world.patch(SERVICES, "web", {"spec": {"externalTrafficPolicy": "Local"}}),
            lambda: world.patch(SERVICES, "web", {"spec": {"sessionAffinity": "ClientIP"}}),
            lambda: world.remove("web"),
        )
        for number, change in enumerate(changes):
            change()
            world.settle()
            for sock in connections:
                sock.send(f"still {number}".encode())
                assert sock.recv(4096) == f"still {number}".encode()


def agent_log(world: World) -> str:
    return (world.lab.root / "log" / "agent-node-a.log").read_text()


def test_an_agent_killed_under_traffic_loses_no_request_and_changes_nothing(world: World) -> None:
    service = world.service("web", type="NodePort")
    world.endpoints("web", {HERE: {}, THERE: {}}, HTTP)
    world.settle()
    before = agent_log(world)
    ruleset = ("ip", "netns", "exec", world.namespaces["node-a"], "nft", "list", "table", "inet")
    tables = run(*ruleset, "steppe")
    with (
        Clients(world, senders(service)[:4], seconds=5) as clients,
        Load(world, "client-a", lambda: cluster(service)[0], 50) as pod,
        Load(world, "outside", lambda: node_port(service, "node-a")[1], 50) as outside,
    ):
        first = clients.answers()
        assert world.lab.steppe("restart", "agent/node-a").returncode == 0
        until(lambda: " listed " in agent_log(world)[len(before) :], 15, "it has its lists")
        world.settle()
        assert clients.answers() == first
        until(lambda: min(pod.done, outside.done) > 100, 10, "there was traffic all the time")
    assert (pod.failures, outside.failures) == ([], [])
    marks = world.get(SERVICES, "mark")["spec"]["clusterIPs"]

    def unmarked(text: str) -> list[str]:
        """Rows in any order, as the kernel lists elements; without those of the Service that tells
        how far the agents are: it alone has changed.
        """
        rows = (row.replace("elements = {", "").strip(" \t},") for row in text.splitlines())
        return sorted(row for row in rows if not any(f"{mark} " in row for mark in marks))

    after = "\n".join(unmarked(agent_log(world)[len(before) :]))
    assert re.findall(r"INFO (?:add|replace|delete|ended) .*", after) == []
    assert unmarked(run(*ruleset, "steppe")) == unmarked(tables)


def test_an_endpoint_replaced_while_no_agent_ran_has_its_flows_ended_at_start(world: World) -> None:
    """The kernel still holds what the last agent put there: the difference tells."""
    service = serve(world, {HERE: {}})
    places = [("client-a", place) for place in cluster(service)]
    with Clients(world, places) as clients:
        clients.all_have(HERE)
        name = "agent/node-a"
        agent = next(p for p in world.lab.record()["processes"] if p["name"] == name)
        run("kill", f"-{signal.SIGKILL.value}", str(agent["pid"]))
        world.endpoints("web", {THERE: {}})
        world.settle(["node-b"])
        assert set(clients.answers().values()) == {HERE}
        assert world.lab.steppe("restart", name).returncode == 0
        clients.all_have(THERE, 15)


def test_services_go_on_without_an_api_server_and_over_an_agents_restart(world: World) -> None:
    service = serve(world, {HERE: {}, THERE: {}}, type="NodePort")
    ways = (
        ("client-a", cluster(service)[0]),
        ("client-b", cluster(service)[1]),
        ("outside", node_port(service, "node-a")[0]),
    )

    def all_answer() -> None:
        for client, place in ways:
            answers = {world.ask(client, Target(*place)).partition(" ")[0] for _ in range(20)}
            assert answers == {HERE, THERE}

    api = next(p for p in world.lab.record()["processes"] if p["name"] == "api")
    run("kill", f"-{signal.SIGKILL.value}", str(api["pid"]))
    try:
        all_answer()
        assert world.lab.steppe("restart", "agent/node-a").returncode == 0
        until(
            lambda: "node-a  ready" in world.lab.command("status", "--node", "node-a").stdout,
            15,
            "the agent answers",
        )
        all_answer()
    finally:
        assert world.lab.steppe("restart", "api").returncode == 0
    until(lambda: world.lab.steppe("status").returncode == 0, 40, "the lab is well again")
    world.settle()
    all_answer()


def test_node_ports_are_served_on_the_addresses_the_operator_chose(world: World) -> None:
    """--nodeport-addresses: "connections to NodePort services will only be accepted on node IPs in
    one of the indicated ranges." Health check ports are among them.
    """
    service = serve(world, {HERE: {}}, type="LoadBalancer", externalTrafficPolicy="Local")
    (four, number), (six, _) = node_port(service, "node-a")
    health = service["spec"]["healthCheckNodePort"]
    loopback = {Target(address, number) for address in ("127.0.0.1", "::1")}

    def served() -> set[str]:
        asked = {address: world.ask("outside", Target(address, number)) for address in (four, six)}
        return {address for address, said in asked.items() if said == f"{HERE} sees the client"}

    def healthy() -> set[str]:
        return {a for a in (four, six) if world.health("outside", a, health) is not None}

    assert served() == healthy() == {four, six}
    with arguments(world, "agent/node-a", "--node-port-addresses=2001:db8::/32,127.0.0.0/8"):
        until(lambda: served() == {six}, 15, "IPv4 node ports are closed")
        until(lambda: healthy() == {six}, 5, "IPv4 health check ports are closed")
        assert {world.ask("node-a", target) for target in loopback} == {REFUSED}
        world.expect(cluster(service), {"client-a": {f"{HERE} sees the client"}})
    until(lambda: served() == healthy() == {four, six}, 15, "all are open again")


def test_services_off_leaves_them_all_to_another_proxy(world: World) -> None:
    service = serve(world, {HERE: {}}, type="LoadBalancer", externalTrafficPolicy="Local")
    world.expect(cluster(service), {"client-a": {f"{HERE} sees the client"}})
    inside = ("ip", "netns", "exec", world.namespaces["node-a"])
    other = "table ip other { chain nat { type nat hook prerouting priority -90; }; }"
    run(*inside, "nft", other)
    listed = run(*inside, "nft", "list", "table", "ip", "other")
    with arguments(world, "agent/node-a", "--services=off"):
        until(
            lambda: "sees" not in world.ask("client-a", Target(*cluster(service)[0])),
            15,
            "cluster IPs are not ours any more",
        )
        maps = run(*inside, "nft", "-j", "list", "maps")
        assert "10.96." not in maps
        assert "fd00:10:96:" not in maps
        port = service["spec"]["healthCheckNodePort"]
        assert world.health("outside", NODES["node-a"][0], port) is None
        assert world.health("outside", NODES["node-b"][0], port) == (503, 0)
        assert run(*inside, "nft", "list", "table", "ip", "other") == listed
        assert world.lab.steppe("probe").returncode == 0
    run(*inside, "nft", "delete", "table", "ip", "other")
    world.settle()
    world.expect(cluster(service), {"client-a": {f"{HERE} sees the client"}})


@contextlib.contextmanager
def arguments(world: World, process: str, *extra: str) -> Iterator[None]:
    """Run one process of the lab with more arguments for a while."""

    def start(change: Any) -> None:
        record = read_record(world.lab.name)
        changed = tuple(change(each) if each.name == process else each for each in record.processes)
        write_record(msgspec.structs.replace(record, processes=changed))
        assert world.lab.steppe("restart", process).returncode == 0

    start(lambda each: msgspec.structs.replace(each, argv=(*each.argv, *extra)))
    try:
        yield
    finally:
        start(lambda each: msgspec.structs.replace(each, argv=each.argv[: -len(extra)]))
