"""Policies' maps, intervals among them, and their chains: the kernel tells what was written."""

from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.net.address import parse_address
from steppe.plan.diff import diff
from steppe.state.claim import Entry
from steppe.state.nft import Atom, Element, ElementKey
from steppe.state.node import Key, NodeState, Value
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

OWN = {4: parse_address("10.244.1.5"), 6: parse_address("fd00:244:1::5")}
PEER = {4: parse_address("10.244.2.7"), 6: parse_address("fd00:244:2::7")}
PARTS = {
    4: (ip_network("10.0.0.0/9"), ip_network("10.128.0.0/10")),
    6: (ip_network("::/1"), ip_network("fd00::/8")),
}
PORTS = "tcp-80-8000_8080-udp-53-other"


@pytest.fixture
def nft(node: Namespace) -> Iterator[Nft]:
    with call_in(node.fd, lambda: Nft(SKELETON)) as driver:
        assert driver.ensure()
        yield driver


def tables(peer: int = 0xDEADBEEF, low: int = 2, high: int = 0xFFFFFFFF) -> dict[Key, Value]:
    found: dict[Key, Value] = {}

    def put(name: str, key: tuple[Atom, ...], *data: Atom) -> None:
        found[ElementKey(name, key)] = Element(data)

    for number in (0, 0xFFFFFFFE):
        put("policed", (number,))
    for version in (4, 6):
        own = OWN[version]
        put(f"itself{version}", (own, own), 1)
        for direction in ("ingress", "egress"):
            put(f"{direction}_guarded{version}", (own,))
            put(f"{direction}_peer{version}", (PEER[version],), peer)
            for part, number in zip(PARTS[version], (low, high), strict=True):
                put(f"{direction}_block{version}", (part,), number)
            put(f"{direction}_allowed{version}", (peer, own), f"{direction}-allow-{PORTS}")
            put(f"{direction}_allowed{version}", (1, own), f"{direction}-denied")
            put(f"{direction}_anyone{version}", (own,), f"{direction}-allow-sctp")
    return found


def move(nft: Nft, before: dict[Key, Value], after: dict[Key, Value]) -> None:
    desired: NodeState = {key: Entry(value, ()) for key, value in after.items()}
    assert nft.apply(diff(desired, before)) == ()
    assert nft.read() == after


def test_what_is_written_is_read_back_and_can_be_replaced(nft: Nft) -> None:
    move(nft, {}, tables())
    assert not nft.ensure()
    other = tables(3, 4, 5)
    move(nft, tables(), other)
    move(nft, other, {})
    assert not nft.ensure()


def test_a_table_that_is_made_again_keeps_its_policies(nft: Nft) -> None:
    move(nft, {}, tables())
    nft._library.run("add chain inet steppe stranger")
    assert nft.ensure()
    assert nft.read() == tables()


def test_prefixes_change_places_in_one_transaction(nft: Nft) -> None:
    """A block that grows takes the place of those it covers, and one that is cut, of itself."""
    whole = ElementKey("ingress_block4", (ip_network("10.0.0.0/8"),))
    move(nft, {}, tables())
    parts = {k: v for k, v in tables().items() if getattr(k, "set", "") == "ingress_block4"}
    after = {k: v for k, v in tables().items() if k not in parts} | {whole: Element((7,))}
    move(nft, tables(), after)
    move(nft, after, tables())


def test_a_prefix_changes_its_number_beside_neighbours_that_do_not(nft: Nft) -> None:
    move(nft, {}, tables())
    move(nft, tables(), tables(low=8))
    move(nft, tables(low=8), tables(high=9))
