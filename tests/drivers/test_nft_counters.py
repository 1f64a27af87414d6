"""Packets counted by a real kernel, by address."""

import socket
from collections import Counter
from pathlib import Path

import pytest

from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.counters import Counters
from steppe.net.address import parse_address
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

RULES = """
table inet t {
    set told4 { type ipv4_addr; size 65535; flags dynamic; }
    set told6 { type ipv6_addr; size 65535; flags dynamic; }
    chain c {
        type filter hook output priority 0
        udp dport 99 update @told4 { ip daddr counter }
        udp dport 99 update @told6 { ip6 daddr counter }
    }
}
"""
SENT = Counter(
    {
        (socket.AF_INET, "127.0.0.1", 99): 3,
        (socket.AF_INET, "127.0.0.2", 99): 1,
        (socket.AF_INET, "127.0.0.1", 98): 5,
        (socket.AF_INET6, "::1", 99): 2,
    }
)


def test_packets_are_counted_by_address(pod: Namespace, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text(RULES)
    pod.run("nft", "-f", str(rules))

    def send() -> None:
        for family, address, port in SENT.elements():
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"?", (address, port))

    with Counters("t", pod.fd) as counters:
        assert counters.packets("told4") == {}
        call_in(pod.fd, send)
        assert counters.packets("told4") == {
            parse_address("127.0.0.1"): 3,
            parse_address("127.0.0.2"): 1,
        }
        assert counters.packets("told6") == {parse_address("::1"): 2}
        assert counters.packets("absent") == {}
