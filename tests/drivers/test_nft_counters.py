"""Denied packets, counted by a real kernel by address, and samples of them."""

import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from steppe.dataplane.nft.denied import LOG_GROUP, denied_rules
from steppe.dataplane.nft.sets import EGRESS
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nflog import Nflog, Sample
from steppe.drivers.nftables.counters import Counters
from steppe.drivers.nftables.driver import Nft
from steppe.net.address import parse_address
from steppe.state.nft import Chain, Hook, Skeleton
from tests.drivers.conftest import Namespace
from tests.waiting import until

pytestmark = pytest.mark.kernel

DENYING = Skeleton(
    table="t",
    sets=tuple(EGRESS.denied.declaration(version) for version in (4, 6)),
    chains=(Chain("c", tuple(denied_rules("egress", "daddr")), Hook("filter", "output", 0)),),
)
SENT = Counter({"127.0.0.1": 3, "127.0.0.2": 1, "::1": 2})


@pytest.fixture
def table(pod: Namespace) -> Iterator[Nft]:
    nft = call_in(pod.fd, lambda: Nft(DENYING))
    with nft:
        assert nft.ensure()
        yield nft


def _send(fd: int) -> None:
    def inside() -> None:
        for address in SENT.elements():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with (
                socket.socket(family, socket.SOCK_DGRAM) as sender,
                pytest.raises(PermissionError),
            ):
                sender.sendto(b"?", (address, 99))

    call_in(fd, inside)


def test_denied_packets_are_counted_by_address(pod: Namespace, table: Nft) -> None:
    with Counters("t", pod.fd) as counters:
        assert counters.packets("egress_denied4") == {}
        _send(pod.fd)
        assert counters.packets("egress_denied4") == {
            parse_address("127.0.0.1"): 3,
            parse_address("127.0.0.2"): 1,
        }
        assert counters.packets("egress_denied6") == {parse_address("::1"): 2}
        assert counters.packets("absent") == {}
    assert not table.ensure(), "to count is no reason to make the table anew"
    assert table.read() == {}


def test_denied_packets_are_sampled(pod: Namespace, table: Nft) -> None:
    found: list[Sample] = []
    with Nflog(LOG_GROUP, pod.fd) as log:
        _send(pod.fd)

        def told() -> bool:
            found.extend(log.drain())
            return len(found) == SENT.total()

        until(told, 5, "all packets are told of")
    assert Counter(str(sample.destination) for sample in found) == SENT
    assert {(s.prefix, s.protocol, s.port) for s in found} == {("egress", "UDP", 99)}
    assert not table.ensure()
