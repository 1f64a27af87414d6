"""One node with pods and the world outside as namespaces, and single packets sent between them.

    pods ── veth ── node ── eth0 ── outside

What is probed is who answers, and which sender it sees; nothing is asked of the rules.
"""

import contextlib
import errno
import itertools
import select
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from ipaddress import ip_address, ip_interface
from typing import Self

import msgspec

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.net.address import IPAddress, IPInterface, of_version
from steppe.net.packet import Packet
from steppe.oracle.service import Backend
from steppe.plan.diff import diff
from steppe.state.node import NodeState
from tests.drivers.conftest import Namespace

NODE_MAC, POD_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
GATEWAYS = {4: ip_interface("192.0.2.1/24"), 6: ip_interface("2001:db8::1/64")}
"""What the node calls its router, by family: the world outside."""
SILENCE_SECONDS = 0.8
"""How long nothing must come back for a packet to count as dropped."""


class Probe(msgspec.Struct, frozen=True):
    """`answered` by a backend that saw this sender; else `refused`, or `silent`."""

    result: str
    backend: Backend | None = None
    seen: IPAddress | None = None


class ServiceLab:
    """`pods`: the addresses of each pod of the node; `outside`: those of everyone else."""

    def __init__(
        self,
        node: Iterable[IPAddress],
        pods: Mapping[str, Iterable[IPAddress]],
        outside: Iterable[IPAddress],
    ) -> None:
        self._stack = ExitStack()
        self.node = self._namespace()
        self._outside = self._namespace()
        self._where: dict[IPAddress, Namespace] = {}
        self._listening: list[socket.socket] = []
        self._join(self._outside, "eth0", "eth0")
        own = tuple(node)
        for address in own:
            self._add(self.node, "eth0", address, GATEWAYS[address.version].network.prefixlen)
        for version in sorted({address.version for address in own}):
            self._route(GATEWAYS[version], of_version(own, version))
        for address in outside:
            self._add(self._outside, "lo", address)
        for index, (_, addresses) in enumerate(sorted(pods.items())):
            self._pod(f"pod{index}", addresses)
        for setting in (
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.icmp_ratelimit=0",
            "net.ipv6.icmp.ratelimit=0",
        ):
            self.node.run("sysctl", "-qw", setting)
        self.nft = self._stack.enter_context(call_in(self.node.fd, lambda: Nft(SKELETON)))
        self.nft.ensure()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listening:
            listener.close()
        self._stack.close()

    def program(self, state: NodeState) -> None:
        """Make the node's elements these."""
        failures = self.nft.apply(diff(state, self.nft.read()))
        assert failures == ()

    def serve(self, backends: Iterable[tuple[IPAddress, str, int]]) -> None:
        """Listen on these addresses, protocols and ports, in place of what was served before."""
        for listener in self._listening:
            listener.close()
        self._listening = [
            call_in(self._where[address].fd, lambda a=address, p=protocol, n=port: _server(a, p, n))
            for address, protocol, port in sorted(set(backends), key=str)
        ]

    def send(self, packet: Packet) -> Probe:
        """The fate of one connection attempt, or of one datagram."""
        sender = call_in(self._where[packet.source].fd, lambda: _client(packet))
        with sender:
            target = (str(packet.destination), packet.destination_port)
            if packet.protocol == "TCP":
                return self._connect(sender, target)
            return self._datagram(sender, target)

    def _connect(self, sender: socket.socket, target: tuple[str, int]) -> Probe:
        sender.setblocking(False)
        error = sender.connect_ex(target)
        if error == errno.EINPROGRESS:
            _, writable, _ = select.select([], [sender], [], SILENCE_SECONDS)
            error = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            error = error if writable else errno.ETIMEDOUT
        if error:
            return Probe("refused" if error == errno.ECONNREFUSED else "silent")
        ready, _, _ = select.select(self._listening, [], [], SILENCE_SECONDS)
        connection, peer = ready[0].accept()
        with connection:
            return _answered(connection, peer)

    def _datagram(self, sender: socket.socket, target: tuple[str, int]) -> Probe:
        sender.connect(target)
        with contextlib.suppress(PermissionError):
            # What the node's own rules stop fails at once; whether it was refused or dropped is
            # told by the ICMP error that follows or does not.
            sender.send(b"?")
        ready, _, _ = select.select([*self._listening, sender], [], [], SILENCE_SECONDS)
        if not ready:
            return Probe("silent")
        if sender in ready:
            error = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return Probe("refused" if error == errno.ECONNREFUSED else f"error {error}")
        _, peer = ready[0].recvfrom(16)
        ready[0].sendto(b"!", peer)
        # Connected, so only an answer from the address it has asked will do.
        sender.settimeout(SILENCE_SECONDS)
        assert sender.recv(16) == b"!"
        return _answered(ready[0], peer)

    def _namespace(self) -> Namespace:
        namespace = Namespace()
        self._stack.callback(namespace.close)
        return namespace

    def _join(self, other: Namespace, link: str, name: str) -> None:
        self.node.run("ip", "link", "add", link, "address", NODE_MAC, "type", "veth",
                      "peer", "name", name, "address", POD_MAC, "netns", other.path)  # fmt: skip
        for namespace, end in ((self.node, link), (other, name)):
            namespace.run("ip", "link", "set", end, "addrgenmode", "none", "up")

    def _route(self, gateway: IPInterface, node: IPAddress | None) -> None:
        text, family = str(gateway), f"-{gateway.version}"
        self._outside.run("ip", "address", "add", text, "dev", "eth0", *_nodad(text))
        self._outside.run("ip", family, "route", "add", "default", "via", str(node))
        self.node.run("ip", family, "route", "add", "default", "via", str(gateway.ip))
        # A new link takes up to a second to be of use to IPv6's neighbour discovery.
        self.node.run("ping", "-q", "-c", "1", "-i", "0.1", "-w", "10", str(gateway.ip))

    def _add(self, there: Namespace, link: str, address: IPAddress, length: int = 0) -> None:
        text = f"{address}/{length or address.max_prefixlen}"
        there.run("ip", "address", "add", text, "dev", link, *_nodad(text))
        self._where[address] = there

    def _pod(self, link: str, addresses: Iterable[IPAddress]) -> None:
        pod = self._namespace()
        self._join(pod, link, "eth0")
        for gateway in ("169.254.1.1", "fe80::1"):
            pod.run("ip", "neighbour", "add", gateway, "lladdr", NODE_MAC, "dev", "eth0")
        for address in addresses:
            self._add(pod, "eth0", address)
            text = str(address)
            self.node.run("ip", "neighbour", "add", text, "lladdr", POD_MAC, "dev", link)
            self.node.run("ip", "route", "add", text, "dev", link)
        pod.run("ip", "route", "add", "default", "via", "169.254.1.1", "dev", "eth0", "onlink")
        pod.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0", "onlink")


def _nodad(text: str) -> tuple[str, ...]:
    return ("nodad",) if ":" in text else ()


def _socket(address: IPAddress, protocol: str) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    return socket.socket(family, kind)


def _server(address: IPAddress, protocol: str, port: int) -> socket.socket:
    made = _socket(address, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((str(address), port))
    if protocol == "TCP":
        made.listen()
    return made


_SOURCE_PORTS = itertools.cycle(range(10000, 30000))
"""Below the kernel's own choices, and none twice: the kernel may well choose the port of a flow
that conntrack still follows, which then goes where that flow went."""


def _client(packet: Packet) -> socket.socket:
    made = _socket(packet.source, packet.protocol)
    made.bind((str(packet.source), next(_SOURCE_PORTS)))
    return made


def _answered(server: socket.socket, peer: tuple[str, int]) -> Probe:
    address, port, *_ = server.getsockname()
    return Probe("answered", (ip_address(address), port), ip_address(peer[0]))
