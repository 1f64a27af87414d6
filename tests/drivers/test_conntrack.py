"""The connection table of a real kernel: what is ended is ended, and nothing else."""

import socket
import struct
import subprocess
from pathlib import Path

import pytest

from steppe.drivers.conntrack import Conntrack
from steppe.drivers.netlink.netns import call_in
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

TRACK = """
table inet t {
    chain c {
        type filter hook output priority 0
        ct state new accept
    }
}
"""


@pytest.fixture
def fd(pod: Namespace, tmp_path: Path) -> int:
    """A namespace whose kernel tracks connections over its loopback."""
    rules = tmp_path / "rules"
    rules.write_text(TRACK)
    pod.run("nft", "-f", str(rules))
    return pod.fd


def _exchange(fd: int, family: int, address: str, port: int) -> int:
    """One UDP question and answer over loopback; answers the asking port."""

    def inside() -> int:
        with (
            socket.socket(family, socket.SOCK_DGRAM) as server,
            socket.socket(family, socket.SOCK_DGRAM) as client,
        ):
            server.bind((address, port))
            client.settimeout(5)
            client.connect((address, port))
            client.send(b"?")
            _, asker = server.recvfrom(8)
            server.sendto(b"!", asker)
            client.recv(8)
            return int(client.getsockname()[1])

    return call_in(fd, inside)


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_one_flow_is_ended_and_its_neighbour_goes_on(fd: int, family: int, address: str) -> None:
    kept = _exchange(fd, family, address, 5353)
    ended = _exchange(fd, family, address, 5454)
    with Conntrack(fd) as table:
        flows = {flow.original.source_port: flow for flow in table.flows(("UDP",))}
        assert {kept, ended} <= flows.keys()
        assert str(flows[ended].reply.source) == address
        assert flows[ended].reply.source_port == 5454
        assert table.end([flows[ended]]) == 1
        assert table.end([flows[ended]]) == 0
        left = {flow.original.source_port for flow in table.flows(("UDP",))}
    assert kept in left
    assert ended not in left


def test_other_protocols_are_not_listed(fd: int) -> None:
    _exchange(fd, socket.AF_INET, "127.0.0.1", 5353)
    with Conntrack(fd) as table:
        assert table.flows(("SCTP",)) == ()


def test_connections_that_nobody_has_answered_are_told_from_those_that_go_on(fd: int) -> None:
    def inside() -> tuple[int, int]:
        with (
            socket.create_server(("127.0.0.1", 5656)) as server,
            socket.create_connection(server.getsockname()) as answered,
            socket.socket() as silent,
        ):
            silent.setblocking(False)
            silent.connect_ex(("127.0.0.1", 5757))
            return int(answered.getsockname()[1]), int(silent.getsockname()[1])

    rules = "add table ip d; add chain ip d c { type filter hook input priority 10; }"
    call_in(fd, lambda: subprocess.run(["nft", rules], check=True))
    call_in(fd, lambda: subprocess.run(["nft", "add rule ip d c tcp dport 5757 drop"], check=True))
    answered, silent = call_in(fd, inside)
    with Conntrack(fd) as table:
        found = {flow.original.source_port for flow in table.flows((), ("TCP",))}
        assert silent in found
        assert answered not in found
        assert answered in {flow.original.source_port for flow in table.flows(("TCP",))}


def _ping(fd: int, family: int, address: str, identifier: int) -> None:
    """One echo request and its answer over loopback."""

    def inside() -> None:
        kind, number, answer = (
            (8, socket.IPPROTO_ICMP, 0)
            if family == socket.AF_INET
            else (128, socket.IPPROTO_ICMPV6, 129)
        )
        with socket.socket(family, socket.SOCK_RAW, number) as sock:
            sock.settimeout(5)
            head = struct.pack("!BBHHH", kind, 0, 0, identifier, 1)
            total = sum(struct.unpack("!4H", head))
            # The kernel fills in ICMPv6's.
            summed = struct.pack("!BBHHH", kind, 0, ~total & 0xFFFF, identifier, 1)
            sock.sendto(summed, (address, 0))
            while True:
                data = sock.recv(2048)
                message = data[20:] if family == socket.AF_INET else data
                if message[0] == answer:
                    return

    call_in(fd, inside)


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_ping_is_told_and_can_be_ended_as_any_flow(fd: int, family: int, address: str) -> None:
    _ping(fd, family, address, 77)
    _ping(fd, family, address, 78)
    with Conntrack(fd) as table:
        flows = {flow.original.source_port: flow for flow in table.flows(("ICMP",))}
        assert flows.keys() == {77, 78}
        assert flows[77].reply.destination_port == 77
        assert (flows[77].original.destination_port, flows[77].reply.source_port) == (0, 0)
        assert table.end([flows[77]]) == 1
        assert {flow.original.source_port for flow in table.flows(("ICMP",))} == {78}
