"""What comes out of a tunnel is its sender's own, and only nodes send any."""

import socket
import struct

import pytest

from steppe.drivers.netlink.netns import call_in
from steppe.net.address import IPAddress
from steppe.net.mac import derived_mac
from tests.attack import frames
from tests.drivers.conftest import Namespace
from tests.fabrics.network import FAMILIES, PORT, Network, received
from tests.waiting import until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

HONEST = "node-b for its own pod"
ROUTER = {4: "192.0.2.1", 6: "2001:db8::1"}


def _ends(net: Network, version: int) -> dict[str, IPAddress]:
    pods = {name: net.end(name, version).address for name in net.pods}
    networks = net.cluster.nodes["node-c"].networks
    (unused,) = (each[200] for each in networks if each.version == version)
    return pods | {"unused": unused}


def _shots(net: Network, version: int) -> dict[str, tuple[Namespace, str, str]]:
    """By name: who sends, the outer source, and whose packet is said to be inside."""
    inner = {name: str(address) for name, address in _ends(net, version).items()}
    outer = net.fabric.outer(version)
    node_b = str(net.cluster.nodes["node-b"].address(outer))
    router = ROUTER[outer]
    pod = str(net.end("node-b-pod-0", outer).address)
    theirs = inner["node-b-pod-0"]
    return {
        HONEST: (net.nodes["node-b"], node_b, theirs),
        "node-b for node-c's pod": (net.nodes["node-b"], node_b, inner["node-c-pod-0"]),
        "node-b for the receiver": (net.nodes["node-b"], node_b, inner["node-a-pod-0"]),
        "node-b for nobody": (net.nodes["node-b"], node_b, inner["unused"]),
        "the router as itself": (net.router, router, theirs),
        "a pod as itself": (net.pods["node-b-pod-0"], pod, theirs),
        "a pod as its node": (net.pods["node-b-pod-0"], node_b, theirs),
        "the receiver as another node": (net.pods["node-a-pod-0"], node_b, theirs),
    }


@pytest.mark.parametrize("version", FAMILIES)
def test_a_node_speaks_for_its_own_pods_and_nobody_else_by_tunnels(
    net: Network, version: int
) -> None:
    if not net.fabric.tunnel:
        pytest.skip("this fabric has no tunnels")
    receiver = net.end("node-a-pod-0", version)
    to, end = (
        str(receiver.address),
        str(net.cluster.nodes["node-a"].address(net.fabric.outer(version))),
    )
    received(net.ends)
    names: dict[bytes, str] = {}
    for name, (where, source, claimed) in _shots(net, version).items():
        token = net.token()
        names[token] = name
        packet = frames.ip(
            claimed, to, frames.UDP, frames.udp(claimed, to, token, PORT, sport=PORT)
        )
        _send(where, end, _wrapped(net, (source, end), packet))
    last = net.send(net.end("node-b-pod-0", version), receiver)
    heard: set[bytes] = set()

    def over() -> bool:
        heard.update(received(net.ends))
        return last in heard and HONEST in {names.get(token) for token in heard}

    until(over, 10, "what is honest arrives")
    assert {names[token] for token in heard if token in names} == {HONEST}


def _send(where: Namespace, to: str, packet: bytes) -> None:
    """A whole IP packet, by the routes of this namespace."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with call_in(where.fd, lambda: socket.socket(family, socket.SOCK_RAW, 255)) as made:
        made.sendto(packet, (to, 0))


def _wrapped(net: Network, ends: tuple[str, str], inner: bytes) -> bytes:
    """The packet that the fabric's tunnel to node-a would make of this one."""
    kind = net.fabric.tunnel.removeprefix("steppe-")
    if kind.startswith("ipip"):
        protocol = frames.IP6IP6 if inner[0] >> 4 == 6 else frames.IPIP
        return frames.ip(*ends, protocol, inner)
    if kind == "gre":
        return frames.ip(*ends, frames.GRE, struct.pack("!HH", 0, frames.kind_of(inner)) + inner)
    mac = bytes.fromhex(derived_mac(kind, "node-a").replace(":", ""))
    if kind == "vxlan":
        body, port = frames.vxlan(inner, 7473, mac), 4789
    else:
        frame = frames.ethernet(mac, frames.STRANGER, frames.kind_of(inner), inner)
        body, port = struct.pack("!HHI", 0, 0x6558, 7473 << 8) + frame, 6081
    return frames.ip(*ends, frames.UDP, frames.udp(*ends, body, port))
