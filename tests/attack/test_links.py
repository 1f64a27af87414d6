"""What holds whatever a node's own settings are, and what a pod cannot fill; and that the suite
hears what there is to hear.
"""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.attack import frames, oddities, shots
from tests.attack.conftest import FULL
from tests.attack.world import Field, Shot, heard
from tests.lab.test_nodes_again import stopped
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
NODE, AGENT = "node-a", "agent/node-a"
FLOOD = 3000
ROOM = 16
"""Entries that a node may have on a pod's link: of the pod's own addresses, and a few to spare."""


def on_node(field: Field, *argv: str) -> str:
    inside = ("ip", "netns", "exec", field.world.namespaces[NODE])
    done = subprocess.run([*inside, *argv], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_no_source_is_believed_whatever_rp_filter_says(field: Field, mode: int) -> None:
    """The kernel takes the higher one of a link's and of all links'."""
    links = [field.link(name) for name in ("evil-a", "caged-a")]
    settings = [f"net.ipv4.conf.{link}.rp_filter" for link in ("all", *links)]
    before = [f"{each}={on_node(field, 'sysctl', '-n', each).strip()}" for each in settings]
    on_node(field, "sysctl", "-qw", *(f"{each}={mode}" for each in settings))
    try:
        found = [s for s in shots.forged(field, full=False) if FULL or s.name.startswith("UDP as")]
        assert heard(field, iter(found)) == []
    finally:
        on_node(field, "sysctl", "-qw", *before)


def test_nobody_reaches_a_nodes_loopback_where_route_localnet_is_on(field: Field) -> None:
    """kube-proxy has left it on where it ran before (CVE-2020-8558)."""
    setting = "net.ipv4.conf.all.route_localnet"
    on_node(field, "sysctl", "-qw", f"{setting}=1")
    try:
        assert heard(field, oddities.detoured(field, full=False)) == []
        assert heard(field, _to_loopback(field)) == []
    finally:
        on_node(field, "sysctl", "-qw", f"{setting}=0")


def _to_loopback(field: Field) -> Iterator[Shot]:
    """TCP from a pod, and UDP from a host that has the node as its router."""
    for sender in ("evil-a", "outside"):
        own, to = field.address(sender, False), "127.0.0.1"
        for name in ("TCP SYN", "UDP"):
            body = shots.bodies(False, full=True)[name]
            yield Shot(
                f"{name} to {to}",
                sender,
                NODE,
                lambda mark, body=body, own=own, to=to: body(own, to, mark),
            )


def _arp(number: int, node: str) -> bytes:
    """Who has the node's address? asks somebody new each time."""
    asker = f"10.99.{number >> 8}.{number & 255}"
    said = frames.arp(1, (frames.STRANGER, asker), (b"\0" * 6, node))
    return frames.ethernet(b"\xff" * 6, frames.STRANGER, frames.ARP, said)


def _arp_answer(number: int, node: str) -> bytes:
    del node
    sender = frames.STRANGER, f"10.98.{number >> 8}.{number & 255}"
    said = frames.arp(2, sender, sender)
    return frames.ethernet(b"\xff" * 6, frames.STRANGER, frames.ARP, said)


def _discovery(kind: int, network: str) -> Callable[[int, str], bytes]:
    def made(number: int, node: str) -> bytes:
        asker = f"{network}{number:x}"
        body = socket.inet_pton(socket.AF_INET6, node)
        body += frames.option(1 if kind == 135 else 2, frames.STRANGER)
        data = frames.icmp(asker, node, body, kind)
        packet = frames.ip(asker, node, frames.ICMP6, data, hops=255)
        return frames.ethernet(b"\xff" * 6, frames.STRANGER, frames.IPV6, packet)

    return made


FLOODS: dict[str, Callable[[int, str], bytes]] = {
    "ARP requests": _arp,
    "ARP answers nobody asked for": _arp_answer,
    "solicitations": _discovery(135, "2001:db8:66::"),
    "solicitations from link-local addresses": _discovery(135, "fe80::"),
    "advertisements": _discovery(136, "2001:db8:66::"),
    "solicitations for routers": _discovery(133, "fe80::"),
}


@pytest.mark.parametrize("mode", [0, 1, 2] if FULL else [0])
@pytest.mark.parametrize("flood", FLOODS)
def test_a_pod_cannot_fill_its_nodes_neighbour_table(field: Field, flood: str, mode: int) -> None:
    assert _neighbours_after(field, flood, rp_filter=mode) <= ROOM


def test_the_flood_would_fill_it_if_a_node_answered_its_pods(field: Field) -> None:
    setting = f"net.ipv4.conf.{field.link('evil-a')}.arp_ignore"
    with stopped(field.world.lab, AGENT):
        on_node(field, "sysctl", "-qw", f"{setting}=0")
        assert _neighbours_after(field, "ARP requests", rp_filter=0) > ROOM
    until(lambda: on_node(field, "sysctl", "-n", setting) == "8\n", 90, "the setting is back")


def _neighbours_after(field: Field, flood: str, rp_filter: int) -> int:
    """How many entries a node has for a pod's link, after a flood from it."""
    link = field.link("evil-a")
    settings = [f"net.ipv4.conf.{each}.rp_filter" for each in ("all", link)]
    before = [f"{each}={on_node(field, 'sysctl', '-n', each).strip()}" for each in settings]
    on_node(field, "sysctl", "-qw", *(f"{each}={rp_filter}" for each in settings))
    node = field.address(NODE, six="ARP" not in flood)
    try:
        with field.world.inside("evil-a", _wire) as made:
            for number in range(1, FLOOD):
                made.send(FLOODS[flood](number, node))
        known = json.loads(on_node(field, "ip", "-j", "neigh", "show", "dev", link, "nud", "all"))
    finally:
        on_node(field, "sysctl", "-qw", *before)
        on_node(field, "ip", "neigh", "flush", "dev", link, "nud", "stale")
    return len(known)


def _wire() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.bind(("eth0", 0))
    return made


GUARDS = {
    "edges": oddities.framed,
    "from-pod": oddities.announced,
    "pod-errors": oddities.about_others,
    "arriving": oddities.announced,
    "tunnels from-tunnel": shots.tunnelled,
    "forward": shots.by_service,
    "ingress-forward": shots.honest,
    "egress-forward": shots.honest,
}
"""Chains, and the attacks that they stop: a tunnel's packet is stopped by two, each alone."""
OF_TUNNELS = ("tunnels from-tunnel", "forward")


@pytest.mark.parametrize("chain", GUARDS)
def test_the_suite_hears_what_a_chain_stops_where_the_chain_is_empty(
    field: Field, chain: str
) -> None:
    """A suite that hears nothing whatever is done would prove nothing."""
    if chain in OF_TUNNELS and not field.has_tunnels:
        pytest.skip("this fabric has no tunnels")
    # Repair puts the chain back within milliseconds; so the agent is stopped meanwhile.
    with stopped(field.world.lab, AGENT):
        for name in chain.split():
            on_node(field, "nft", "flush", "chain", "inet", "steppe", name)
        assert heard(field, GUARDS[chain](field, full=False)) != []
    for name in chain.split():
        until(lambda name=name: _is_whole(field, name), 30, f"chain {name} is back")


def _is_whole(field: Field, chain: str) -> bool:
    return "drop" in on_node(field, "nft", "list", "chain", "inet", "steppe", chain)
