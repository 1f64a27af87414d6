"""What every fabric keeps, tried with packets; those that this kernel lacks run in `make test-vm`.

Every pair in both families · the walk, the spec and the packet agree · the largest packet, to the
byte · a node leaves and returns · an entry that is wrong is named.
"""

import contextlib
import errno
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from steppe.drivers.netlink.netns import call_in
from steppe.net.packet import Packet
from steppe.oracle.network import promise
from steppe.verify.plan import Check
from steppe.verify.stops import Differing, Tables
from steppe.walk.walk import Walker
from tests.fabrics.network import (
    FAMILIES,
    PORT,
    End,
    Network,
    capture,
    captured,
    is_fragment,
    received,
    size_of,
    unfragmented,
    without,
)
from tests.waiting import patience, until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]


def arrive(net: Network, pairs: list[tuple[End, End]]) -> None:
    """A packet between any two arrives at its end, with its sender's own address."""
    received(net.ends)
    waiting = {net.send(*pair): pair for pair in pairs}

    def all_there() -> bool:
        for token, (end, seen) in received(net.ends).items():
            sender, receiver = waiting.pop(token)
            assert (end.name, seen) == (receiver.name, sender.address)
        return not waiting

    until(all_there, 10, f"{[(a.name, a.address, b.name) for a, b in waiting.values()][:6]}")


def test_every_two_ends_reach_each_other_and_see_each_others_own_address(net: Network) -> None:
    pairs = list(net.pairs())
    assert len(pairs) >= 24
    arrive(net, pairs)


def test_the_walk_ends_where_the_spec_says_and_the_packet_does(net: Network) -> None:
    walker = Walker(net.cluster, net.compiled(net.cluster))
    kernels = Walker(net.cluster, {name: _actual(net, name) for name in net.nodes})
    for sender, receiver in net.pairs():
        packet = Packet(sender.address, receiver.address, "UDP", PORT, PORT)
        promised = promise(net.cluster, packet)
        for end in (walker.walk(packet).end, kernels.walk(packet).end):
            assert (end.kind, end.target) == (promised.kind, promised.target), end.reason
            assert end.source == promised.source == sender.address
        assert promised.target.rpartition("/")[2] == receiver.name


def _actual(net: Network, node: str) -> Any:
    wanted = net.compiled(net.cluster)[node]
    held = net.drivers[node].read(wanted.keys())
    return {key: msgspec.structs.replace(wanted[key], value=held[key]) for key in wanted}


@pytest.mark.parametrize("peer", ["node-b", "node-c"])
@pytest.mark.parametrize("version", FAMILIES)
def test_the_largest_packet_arrives_whole_and_one_byte_more_is_answered(
    net: Network, version: int, peer: str
) -> None:
    sender, receiver = net.end("node-a-pod-0", version), net.end(f"{peer}-pod-0", version)
    assert net.mtu == net.fabric.node_mtu
    direct = net.fabric.name.startswith("auto") and peer == "node-b"
    largest = 1500 if direct else net.fabric.path_mtu(version)
    until(lambda: _passes(net, sender, receiver, 0), 10, "the way is known")
    with contextlib.closing(capture(net.router)) as wire:
        until(lambda: _passes(net, sender, receiver, largest), 10, f"{largest} bytes pass")
        seen = [packet for packet in captured(wire) if size_of(packet) > 1000]
    assert max(map(size_of, seen)) == 1500, "the tunnel could carry more, or less"
    assert not any(map(is_fragment, seen))
    until(lambda: _answered(net, sender, receiver, largest + 1), 10, "it is answered")
    assert received([receiver]) == {}


def _passes(net: Network, sender: End, receiver: End, size: int) -> bool:
    token = net.send(sender, receiver, size)
    select.select([receiver.socket], [], [], patience(0.5))
    return token in received([receiver])


def _answered(net: Network, sender: End, receiver: End, size: int) -> bool:
    """Whether a packet of this size is refused: at once, or by a node on the way."""
    six = sender.address.version == 6
    with call_in(net.pods[sender.name].fd, lambda: unfragmented(six=six)) as asked:
        asked.connect((str(receiver.address), PORT))
        try:
            asked.send(b"." * (size - (48 if six else 28)))
            select.select([asked], [], [], patience(0.5))
        except OSError as error:
            return error.errno == errno.EMSGSIZE
        return asked.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EMSGSIZE


def test_a_node_leaves_and_returns_and_the_others_lose_no_packet(healed: Network) -> None:
    net = healed
    stays = [(net.end("node-a-pod-0", v), net.end("node-b-pod-0", v)) for v in FAMILIES]
    gone = without(net.cluster, "node-c")
    named = {*net.cluster.nodes["node-c"].addresses, *net.cluster.nodes["node-c"].networks}
    with _stream(net, stays) as lost:
        net.program(gone)
        left = [
            key for name in gone.nodes for key in net.drivers[name].read() if _names(key, named)
        ]
        assert left == []
        net.program(net.cluster)
    assert lost == []
    arrive(net, list(net.pairs()))


def _names(key: object, named: set[object]) -> bool:
    parts = [getattr(key, field, None) for field in ("prefix", "address", "key")]
    return any(part in named for part in parts) or bool(named & set(getattr(key, "key", ())))


@contextlib.contextmanager
def _stream(net: Network, pairs: list[tuple[End, End]]) -> Iterator[list[bytes]]:
    """Packets all the while; afterwards the list holds those that did not arrive."""
    lost: list[bytes] = []
    sent: set[bytes] = set()
    met: set[bytes] = set()
    ends = [receiver for _, receiver in pairs]
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.002):
            sent.update(net.send(*pair) for pair in pairs)
            met.update(received(ends))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield lost
    finally:
        stop.set()
        thread.join()
        with contextlib.suppress(AssertionError):
            until(lambda: met.update(received(ends)) or sent <= met, 2, "the last ones")
        lost += sorted(sent - met)
    assert len(sent) > 10


Break = Callable[[Network], tuple[str, tuple[str, ...]]]
"""On which node what is done, for the packets from node-a's pod to node-c's."""
FAULTS: dict[str, tuple[Break, str, str]] = {
    "a route": (
        lambda net: ("node-a", ("ip", "route", "del", _prefix(net, "node-c"))),
        "routes",
        "Node/node-c spec.podCIDRs[0]",
    ),
    "the tunnel's device": (
        lambda net: ("node-a", ("ip", "link", "del", net.fabric.tunnel)),
        "links",
        "Node/node-a status.addresses",
    ),
    "the device of the other end": (
        lambda net: ("node-c", ("ip", "link", "del", net.fabric.tunnel)),
        "links",
        "Node/node-c status.addresses",
    ),
    "a sender of tunnels": (
        lambda net: ("node-c", _without_element(net, "tunnel_from", "node-a")),
        "@tunnel_from",
        "Node/node-a status.addresses",
    ),
}


def _prefix(net: Network, node: str) -> str:
    return str(net.cluster.nodes[node].networks[0])


def _without_element(net: Network, name: str, node: str) -> tuple[str, ...]:
    address = net.cluster.nodes[node].addresses[0]
    return ("nft", f"delete element inet steppe {name}{address.version} {{ {address} }}")


@pytest.mark.parametrize("what", FAULTS)
def test_an_entry_that_is_gone_is_named_with_its_cause(healed: Network, what: str) -> None:
    net = healed
    fault, table, cause = FAULTS[what]
    if not net.fabric.tunnel and what != "a route":
        pytest.skip("this fabric has no tunnels")
    sender, receiver = net.end("node-a-pod-0", 4), net.end("node-c-pod-0", 4)
    until(lambda: _passes(net, sender, receiver, 0), 10, "it works before")
    node, command = fault(net)
    net.nodes[node].run(*command)
    until(lambda: not _passes_now(net, sender, receiver), 10, "the fault stops packets")
    packet = Packet(sender.address, receiver.address, "UDP", PORT, PORT)
    stops = Tables(net.cluster, net.held(net.cluster)).stops(Check("", "", packet))
    told = [one.stop if isinstance(one, Differing) else one for one in stops]
    found = [stop for stop in told if stop.node == node and stop.text.startswith(table)]
    assert any(cause in map(str, stop.because) for stop in found), told


def _passes_now(net: Network, sender: End, receiver: End) -> bool:
    try:
        return _passes(net, sender, receiver, 0)
    except OSError:
        return False  # the node says that there is no route
