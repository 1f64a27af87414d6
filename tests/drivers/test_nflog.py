"""Packets that a real kernel logs, and headers as they may come."""

import socket
from pathlib import Path
from struct import pack

import pytest

from steppe.drivers.errors import KernelError
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nflog import Nflog, Sample, parse_packet
from steppe.net.address import parse_address
from tests.drivers.conftest import Namespace
from tests.waiting import until

GROUP = 1999
RULES = f"""
table inet t {{
    chain c {{
        type filter hook output priority 0
        udp dport 99 log prefix "told" group {GROUP}
    }}
}}
"""
A4, B4 = parse_address("10.0.0.1"), parse_address("10.0.0.2")
A6, B6 = parse_address("fd00::1"), parse_address("fd00::2")
PORTS = pack(">HH", 40000, 80)


def ipv4(protocol: int, rest: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    head = bytes((0x45 + len(options) // 4, 0, 0, 0, 0, 0))
    return head + pack(">HBBH", fragment, 64, protocol, 0) + A4.packed + B4.packed + options + rest


def ipv6(following: int, rest: bytes) -> bytes:
    return pack(">IHBB", 6 << 28, 0, following, 64) + A6.packed + B6.packed + rest


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ipv4(6, PORTS), Sample("p", A4, B4, "TCP", 80)),
        (ipv4(17, PORTS, bytes(8)), Sample("p", A4, B4, "UDP", 80)),
        (ipv4(17, PORTS, fragment=0x2000), Sample("p", A4, B4, "UDP", 80)),
        (ipv4(17, PORTS, fragment=0x0010), Sample("p", A4, B4, "UDP")),
        (ipv4(1, PORTS), Sample("p", A4, B4, "ICMP")),
        (ipv4(6, b""), Sample("p", A4, B4, "TCP")),
        (ipv4(47, PORTS), Sample("p", A4, B4, "47")),
        (ipv6(132, PORTS), Sample("p", A6, B6, "SCTP", 80)),
        (ipv6(58, PORTS), Sample("p", A6, B6, "ICMP")),
        (ipv6(0, b"\x3c" + bytes(7) + b"\x06\x01" + bytes(14) + PORTS),
         Sample("p", A6, B6, "TCP", 80)),
        (ipv6(44, b"\x11" + bytes(7) + PORTS), Sample("p", A6, B6, "UDP", 80)),
        (ipv6(44, b"\x11\0\0\x10" + bytes(4) + PORTS), Sample("p", A6, B6, "UDP")),
        (ipv6(0, b"\x06\xff" + bytes(6) + PORTS), Sample("p", A6, B6, "TCP")),
        (b"", None),
        (b"\x45", None),
        (bytes(60), None),
        (ipv6(6, PORTS)[:39], None),
    ],
)  # fmt: skip
def test_headers_are_read_as_far_as_they_go(data: bytes, expected: Sample | None) -> None:
    assert parse_packet("p", data) == expected


@pytest.fixture
def logging(pod: Namespace, tmp_path: Path) -> Namespace:
    rules = tmp_path / "rules"
    rules.write_text(RULES)
    pod.run("nft", "-f", str(rules))
    return pod


def _send(fd: int, family: int, address: str, port: int) -> None:
    def inside() -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"?", (address, port))

    call_in(fd, inside)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_what_a_rule_logs_is_reported(logging: Namespace, family: int, address: str) -> None:
    found: list[Sample] = []
    with Nflog(GROUP, logging.fd) as log:
        assert log.drain() == ()
        _send(logging.fd, family, address, 98)
        _send(logging.fd, family, address, 99)

        def told() -> bool:
            found.extend(log.drain())
            return bool(found)

        until(told, 5, "the packet is told of")
    here = parse_address(address)
    assert found == [Sample("told", here, here, "UDP", 99)]


@pytest.mark.kernel
def test_a_group_has_one_listener_at_a_time(logging: Namespace) -> None:
    with Nflog(GROUP, logging.fd):
        with pytest.raises(KernelError, match=f"log group {GROUP}"):
            Nflog(GROUP, logging.fd)
        Nflog(GROUP + 1, logging.fd).close()
    Nflog(GROUP, logging.fd).close()
