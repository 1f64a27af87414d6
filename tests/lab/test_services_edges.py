"""Services at the edges of what the API lets people write: served right, or left alone.

Whatever one object says, every other Service goes on, and no kernel holds anything but what it
shall hold. One lab for all.
"""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from steppe.client.resources import ENDPOINTSLICES, PODS, SERVICES
from tests.lab.conftest import ECHO, make_labs
from tests.lab.service_lab import (
    NODES,
    OUTSIDE,
    PORTS,
    REFUSED,
    SILENT,
    VIPS,
    Json,
    Target,
    World,
    cluster,
    node_port,
    pod,
    pods,
    run,
)
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

HERE, THERE = BOTH = "echo-a", "echo-b"
SLOW = 7001
"""The port of a server that answers nothing yet."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[World]:
    with make_labs(tmp_path_factory.mktemp("edges")) as make:
        yield World(make("edge", "--nodes", "2", pods=pods()))


@pytest.fixture(autouse=True)
def _clean(world: World) -> Iterator[None]:
    yield
    world.remove("web")


def serve(world: World, known: dict[str, Json], **spec: Any) -> Json:
    service = world.service("web", **spec)
    world.endpoints("web", known)
    world.settle()
    return service


def test_an_external_name_is_no_business_of_the_data_path(world: World) -> None:
    """type: ""ExternalName" aliases this service to the specified externalName." It has no
    address; made a ClusterIP, it has one again.
    """
    service = serve(world, {HERE: {}, THERE: {}})
    world.patch(
        SERVICES,
        "web",
        {
            "spec": {
                "type": "ExternalName",
                "externalName": "example.org",
                "clusterIP": "",
                "clusterIPs": None,
            }
        },
    )
    world.settle()
    assert "sees" not in world.ask("client-a", Target(*cluster(service)[0]))
    again = world.patch(SERVICES, "web", {"spec": {"type": "ClusterIP", "externalName": None}})
    world.settle()
    world.expect(cluster(again), {"client-a": {f"{name} sees the client" for name in BOTH}})


def test_an_address_that_no_service_has_is_not_answered(world: World) -> None:
    """A packet to the Services' range must not leave the node for the fabric."""
    world.expect([("10.96.250.1", 80), ("fd00:10:96::fa01", 80)], {"client-a": {SILENT}})


def test_another_proxys_service_is_left_to_it(world: World) -> None:
    """service.kubernetes.io/service-proxy-name: "Kube-proxy has this label for custom proxy, which
    delegates service control to custom proxy." It may come and go.
    """
    service = serve(world, {HERE: {}})
    ours = {"client-a": {f"{HERE} sees the client"}}
    for name in ("other", None, "other"):
        labels = {"service.kubernetes.io/service-proxy-name": name}
        world.patch(SERVICES, "web", {"metadata": {"labels": labels}})
        world.settle()
        world.expect(cluster(service), ours if name is None else {"client-a": {SILENT}})
    in_sync(world)


def test_slices_are_one_service_whoever_made_them_and_headless_ones_are_none(
    world: World,
) -> None:
    """kubernetes.io/service-name says whose an EndpointSlice is; several may have different ports.
    service.kubernetes.io/headless: "The label is used by kube-proxy to skip" them.
    """
    service = serve(world, {HERE: {}})
    (address, _) = world.addresses[THERE]
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-more", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "tcp", "protocol": "TCP", "port": 9}],
        "endpoints": [{"addresses": [address], "nodeName": "node-b"}],
    }
    world.api(lambda client: client.create(ENDPOINTSLICES, body, "default"))
    try:
        world.settle()
        merged = {"client-a": {f"{name} sees the client" for name in BOTH}}
        world.expect(cluster(service)[:1], merged, "TCP")
        labels = {"service.kubernetes.io/headless": ""}
        world.patch(ENDPOINTSLICES, "web-more", {"metadata": {"labels": labels}})
        world.settle()
        world.expect(cluster(service)[:1], {"client-a": {f"{HERE} sees the client"}}, "TCP")
    finally:
        world.delete(ENDPOINTSLICES, "web-more")


NONSENSE: dict[str, Json] = {
    "a node's own address": {"externalIPs": list(NODES["node-b"])},
    "one address twice": {"externalIPs": [VIPS[1], VIPS[1], VIPS[0]]},
    "a client's address": {"externalIPs": list(OUTSIDE)},
}


@pytest.mark.parametrize("what", NONSENSE)
def test_odd_addresses_harm_no_other_service(world: World, what: str) -> None:
    service = serve(world, {HERE: {}, THERE: {}})
    try:
        world.service("odd", [{"name": "tcp", "port": 7}], **NONSENSE[what])
        world.endpoints("odd", {HERE: {}}, [("tcp", "TCP", 7)])
        world.settle()
        world.expect(cluster(service), {"client-b": {f"{name} sees the client" for name in BOTH}})
        in_sync(world)
    finally:
        world.remove("odd")
    world.settle()
    in_sync(world)


def test_a_service_of_a_hundred_ports_is_served(world: World) -> None:
    ports = [{"name": f"p{number}", "port": 8000 + number} for number in range(100)]
    service = world.service("web", ports)
    world.endpoints("web", {HERE: {}}, [(port["name"], "TCP", 7) for port in ports])
    world.settle()
    for number in (8000, 8050, 8099):
        world.expect(cluster(service, number), {"client-b": {f"{HERE} sees the client"}}, "TCP")
    in_sync(world)


def test_endpoints_that_cannot_be_are_left_out(world: World) -> None:
    """An address of the wrong family, no address at all, port 0: the rest is served."""
    service = serve(world, {HERE: {}})
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-odd", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "FQDN",
        "ports": [{"name": "tcp", "protocol": "TCP", "port": 7}],
        "endpoints": [{"addresses": ["example.org"]}],
    }
    world.api(lambda client: client.create(ENDPOINTSLICES, body, "default"))
    try:
        world.settle()
        world.expect(cluster(service), {"client-b": {f"{HERE} sees the client"}})
        in_sync(world)
    finally:
        world.delete(ENDPOINTSLICES, "web-odd")


def in_sync(world: World) -> None:
    """Nothing is pending, refused, missing or left over in any kernel."""
    for node in NODES:
        (answer,) = json.loads(world.lab.command("audit", "--node", node, "-o", "json").stdout)[
            "nodes"
        ]
        assert answer["differences"] == []


def test_large_messages_pass_both_ways(world: World) -> None:
    """A datagram of many fragments, a stream of many segments; the endpoint is on another node."""
    service = serve(world, {THERE: {}}, type="NodePort")
    size = 20_000
    for client, places in (
        ("client-a", cluster(service)),
        ("outside", node_port(service, "node-a", 1)),
    ):
        for place in places:
            with world.open(client, Target(*place, "UDP")) as sock:
                sock.send(b"x" * size)
                assert json.loads(sock.recv(1 << 16))["data"] == "x" * size
    for place in cluster(service):
        with world.open("client-a", Target(*place)) as sock:
            assert THERE.encode() in sock.recv(4096)
            sender_thread = threading.Thread(target=sock.sendall, args=(b"x" * (1 << 20),))
            sender_thread.start()
            got = 0
            while got < 1 << 20:
                got += len(sock.recv(1 << 16))
            sender_thread.join()


def test_processes_of_a_node_may_be_endpoints(world: World) -> None:
    """A host-network pod has its node's address, and is reached from everywhere all the same."""
    on_host = ECHO | {
        "args": ["--http", "8077", "--tcp", "77", "--udp", "77"],
        "ports": [],
        "readinessProbe": {"tcpSocket": {"port": 77}, "periodSeconds": 1},
    }
    body = pod("host-b", "node-b", on_host)
    body["spec"]["hostNetwork"] = True
    world.api(lambda client: client.create(PODS, body, "default"))
    try:
        ports = [{**each, "targetPort": 77} for each in PORTS]
        service = world.service("web", ports, selector={"role": "host"}, type="NodePort")
        until(lambda: len(world.slices("web")) == 2, 20, "it is ready")
        world.settle()
        name = world.ask("client-a", Target(*cluster(service)[0])).partition(" ")[0]
        assert name not in (SILENT, REFUSED)
        wanted = {
            "client-a": {f"{name} sees the client"},
            "client-b": {f"{name} sees the client"},
            "node-a": {f"{name} sees the client"},
            "node-b": {f"{name} sees the client"},
            "outside": {f"{name} sees a node"},
        }
        world.expect(cluster(service), wanted)
        world.expect(node_port(service, "node-a"), {"outside": {f"{name} sees a node"}}, "TCP")
        # What has arrived needs no way back through this node, and so no masquerading.
        at_home = {"outside": {f"{name} sees the client"}}
        world.expect(node_port(service, "node-b"), at_home, "TCP")
    finally:
        world.delete(PODS, "host-b")


def test_a_stray_segment_of_an_endpoint_never_reaches_the_client(world: World) -> None:
    """What the connection table takes for invalid is not translated back: the client would see a
    stranger's segment and answer with a reset, and the endpoint would end the connection.
    """
    service = serve(world, {THERE: {}})
    for index, place in enumerate(cluster(service)):
        endpoint = world.addresses[THERE][index]
        with (
            world.open("client-a", Target(*place)) as sock,
            world.inside(
                "client-a", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, ANY)
            ) as seen,
        ):
            assert THERE.encode() in sock.recv(4096)
            send_stray(world, THERE, sock)
            sock.send(b"still here")
            assert sock.recv(4096) == b"still here"
            seen.setblocking(False)
            senders = {sender(packet) for packet in iter(lambda: received(seen), b"")}
        assert place[0] in senders
        assert endpoint not in senders


ANY = socket.htons(3)  # ETH_P_ALL


def send_stray(world: World, name: str, client: socket.socket) -> None:
    """A segment of the endpoint's own connection, far outside its window."""
    family, port = client.family, client.getsockname()[1]
    header = struct.pack("!HHIIBBHHH", 7, port, 1, 1, 5 << 4, 0x10, 512, 0, 0)
    raw = world.inside(name, lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP))
    with raw:
        raw.sendto(header, (client.getsockname()[0], 0))


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except BlockingIOError:
        return b""


def sender(packet: bytes) -> str:
    """The source address of an IP packet; of other packets nothing that matters."""
    if packet[0] >> 4 == 4:
        return str(ip_address(packet[12:16]))
    return str(ip_address(packet[8:24])) if len(packet) >= 40 else ""


def _server() -> socket.socket:
    """It accepts connections of both families, and answers nothing."""
    return socket.create_server(("::", SLOW), family=socket.AF_INET6, dualstack_ipv6=True)


@pytest.mark.parametrize("index", [0, 1], ids=["ipv4", "ipv6"])
def test_a_half_closed_connection_is_not_forgotten_within_a_minute(
    world: World, index: int
) -> None:
    """RFC 9293, 3.6: after its FIN an end may receive for as long as the other has data to send."""
    service = world.service("web", PORTS)
    world.endpoints("web", {THERE: {}}, (("tcp", "TCP", SLOW), ("udp", "UDP", SLOW)))
    world.settle()
    with (
        world.inside(THERE, _server) as server,
        world.open("client-a", Target(*cluster(service)[index])) as client,
        server.accept()[0],
    ):
        client.shutdown(socket.SHUT_WR)
        source = str(client.getsockname()[1])
        listed = (
            "conntrack",
            "-L",
            "-f",
            f"ipv{6 if index else 4}",
            "-p",
            "tcp",
            "--sport",
            source,
        )

        def entry() -> list[str]:
            return run("ip", "netns", "exec", world.namespaces["node-a"], *listed).split()

        until(lambda: entry()[3] == "CLOSE_WAIT", 5, "half-closed")
        assert int(entry()[2]) > 3000
