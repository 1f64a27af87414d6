"""Three nodes with a pod each as network namespaces, with the tables that a fabric compiles to.

    node-a ─┬─ 192.0.2.0/24 ── router ── 192.0.3.0/24 ── node-c
    node-b ─┘

The tables are put into the kernel by the agent's own drivers; there is no agent and no API. All
packets are sent and received by sockets of this process, so that nothing hides what became of them.
"""

import itertools
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Self

import msgspec

from steppe.compile.node import compile_cluster
from steppe.compile.pod import pod_claims
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.scope import pod as inside
from steppe.fabric.registry import FABRICS
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Underlay, Workload
from steppe.net.address import IPAddress
from steppe.plan.diff import diff
from steppe.plan.order import ordered
from steppe.settings import Settings
from steppe.state.device import Veth
from steppe.state.document import KeyState
from steppe.state.link import Link
from steppe.state.node import NodeState, settle
from steppe.state.workload import POD_GROUP, alias, host_mac, pod_mac, workload_of
from tests.drivers.conftest import Namespace
from tests.worlds import node_at, pod_on

FAMILIES = (4, 6)
PORT = 9999
ROUTER_LOCAL = ip_address("fe80::1")
_DONT_FRAGMENT = 2  # IP_PMTUDISC_DO
_MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_BUFFER = 1 << 22


class Fabric(msgspec.Struct, frozen=True):
    """A fabric over an underlay (4: of both families, 6: IPv6 only), and the bytes that its headers
    take. `own`: each family travels in its own, and `own` is what the headers of IPv6 take.
    """

    name: str
    underlay: int
    overhead: int
    own: int = 0

    def __str__(self) -> str:
        return f"{self.name} over IPv{self.underlay}"

    @property
    def tunnel(self) -> str:
        """The name of the device that IPv4 takes; "" if there is none."""
        links = FABRICS[self.name].links
        return "" if not links else links[-1 if self.underlay == 6 else 0]

    @property
    def node_mtu(self) -> int:
        """Of pods' links."""
        plain = self.name in ("direct", "bgp") or self.name.startswith("auto")
        return 1500 if plain else 1500 - self.overhead

    def path_mtu(self, version: int) -> int:
        """The largest packet of this family that a tunnel carries."""
        return 1500 - (self.own if self.own and version == 6 else self.overhead)

    def outer(self, version: int) -> int:
        """In which family packets of this one travel."""
        return version if self.own else self.underlay


class End(msgspec.Struct, frozen=True):
    """Who sends and receives: a pod or a node, in its namespace, at one of its addresses."""

    name: str
    address: IPAddress
    node: str
    is_pod: bool
    socket: socket.socket


class Network:
    """The nodes, their pods, and sockets at all ends."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.settings = Settings(fabric=fabric.name)
        self._stack = ExitStack()
        racks = (0, 0, 0) if fabric.name in ("direct", "bgp") else (0, 0, 1)
        nodes = [_node(index, rack, fabric.underlay) for index, rack in enumerate(racks)]
        self.cluster = cluster_of(nodes, [pod_on(node, 0) for node in nodes])
        self.router = self.namespace()
        self.nodes: dict[str, Namespace] = {}
        self.drivers: dict[str, KernelDriver] = {}
        self.pods: dict[str, Namespace] = {}
        self.router.run("ip", "-batch", "-", stdin=_ROUTER)
        for node in nodes:
            self._join(node)
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for workload in filter(None, map(workload_of, self.cluster.pods.values())):
            self._attach(workload)
        self.program(self.cluster)
        self.ends = tuple(self._ends())
        self._tokens = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def namespace(self) -> Namespace:
        made = Namespace()
        self._stack.callback(made.close)
        return made

    @property
    def mtu(self) -> int:
        """Of pods' links."""
        return FABRICS[self.fabric.name].mtu(self.settings, self.cluster.nodes["node-a"])

    def compiled(self, cluster: Cluster) -> dict[str, NodeState]:
        states, problems = compile_cluster(self.settings, cluster)
        assert problems == ()
        return states

    def program(self, cluster: Cluster) -> None:
        """Give every node of the cluster the tables that it should have, and nothing else."""
        for name, state in self.compiled(cluster).items():
            driver = self.drivers[name]
            driver.ensure({key: entry.value for key, entry in state.items()})
            changes = ()
            # What the kernel adds to a new device by itself is seen, and removed, the second time.
            for _ in range(3):
                changes = ordered(diff(state, driver.read(state.keys())))
                assert driver.apply(changes) == ()
                if not changes:
                    break
            assert changes == ()

    def held(self, cluster: Cluster) -> dict[str, list[KeyState]]:
        """What each node's agent would answer of all its entries."""
        return {
            name: _key_states(state, self.drivers[name].read(state.keys()))
            for name, state in self.compiled(cluster).items()
        }

    def end(self, name: str, version: int) -> End:
        return next(e for e in self.ends if (e.name, e.address.version) == (name, version))

    def pairs(self) -> Iterator[tuple[End, End]]:
        """Every two ends of one family."""
        for sender, receiver in itertools.permutations(self.ends, 2):
            if sender.address.version == receiver.address.version and sender.node != receiver.node:
                yield sender, receiver

    def token(self) -> bytes:
        return f"token-{next(self._tokens):08}".encode()

    def send(self, sender: End, receiver: End, size: int = 0) -> bytes:
        """One UDP packet of so many bytes, its IP header included; OSError if it does not go."""
        token = self.token()
        headers = 28 if sender.address.version == 4 else 48
        data = token.ljust(size - headers, b".")
        sender.socket.sendto(data, (str(receiver.address), PORT))
        return token

    def _join(self, node: Node) -> None:
        made = self.nodes[node.name] = self.namespace()
        own, port = node.underlay.addresses, f"p-{node.name}"
        on_router = [f"link add {port} type veth peer name eth0 netns {made.path}"]
        on_router += [f"link set {port} addrgenmode none up"]
        if own[0].network in _RACK_0:
            on_router += [f"link set {port} master br0"]
        else:
            on_router += [_address(each.network[1], each.network.prefixlen, port) for each in own]
            on_router += [_address(ROUTER_LOCAL, 64, port)]
        self.router.run("ip", "-batch", "-", stdin="\n".join(on_router))
        on_node = ["link set eth0 addrgenmode none up"]
        on_node += [_address(each.ip, each.network.prefixlen, "eth0") for each in own]
        # Who forwards asks for neighbours from its link-local address, and without one not at all.
        on_node += [_address(ROUTER_LOCAL + len(self.nodes), 64, "eth0")]
        on_node += [f"route add default via {each.network[1]}" for each in own]
        made.run("ip", "-batch", "-", stdin="\n".join(on_node))
        nft = call_in(made.fd, lambda: Nft(SKELETON))
        self.drivers[node.name] = self._stack.enter_context(KernelDriver(made.fd, more=(nft,)))

    def _attach(self, workload: Workload) -> None:
        made = self.pods[workload.name] = self.namespace()
        link = Link(Veth(), self.mtu, host_mac(workload.link), alias(workload), group=POD_GROUP)
        own = pod_mac(workload.link)
        self.drivers[workload.node].create_veth(workload.link, link, "eth0", own, made.fd)
        state, _ = settle(pod_claims(workload, self.mtu))
        with KernelDriver(made.fd, inside()) as driver:
            assert driver.apply(ordered(diff(state, driver.read(state.keys())))) == ()

    def _ends(self) -> Iterator[End]:
        for pod in self.cluster.pods.values():
            for address in pod.addresses:
                yield self._listening(pod.name, address, pod.node, self.pods[pod.name])
        for node in self.cluster.nodes.values():
            for address in node.addresses:
                yield self._listening(node.name, address, node.name, self.nodes[node.name])

    def _listening(self, name: str, address: IPAddress, node: str, where: Namespace) -> End:
        def bound() -> socket.socket:
            made = unfragmented(six=address.version == 6)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            made.bind((str(address), PORT))
            made.setblocking(False)
            return made

        made = self._stack.enter_context(call_in(where.fd, bound))
        return End(name, address, node, name != node, made)


def without(cluster: Cluster, node: str) -> Cluster:
    """The cluster once a node and its pods are gone."""
    nodes = [each for each in cluster.nodes.values() if each.name != node]
    return cluster_of(nodes, [pod for pod in cluster.pods.values() if pod.node != node])


def unfragmented(*, six: bool) -> socket.socket:
    """A UDP socket whose packets nobody may cut."""
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(*_MTU_DISCOVER[6 if six else 4], _DONT_FRAGMENT)
    return made


def received(ends: Iterable[End]) -> dict[bytes, tuple[End, IPAddress]]:
    """What has arrived: by token, where, and the sender as seen there."""
    found: dict[bytes, tuple[End, IPAddress]] = {}
    for end in ends:
        while True:
            try:
                data, peer = end.socket.recvfrom(65536)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of an earlier packet, reported once
            found[data[:14]] = end, ip_address(peer[0])
    return found


def capture(where: Namespace) -> socket.socket:
    """A socket that sees every IP packet on every link of a namespace, without link headers."""
    kinds = socket.htons(0x0003)  # ETH_P_ALL
    made = call_in(where.fd, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, kinds))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    made.setblocking(False)
    return made


def captured(ear: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(ear.recv(65536))
        except BlockingIOError:
            return [packet for packet in found if packet[0] >> 4 in (4, 6)]


def is_fragment(packet: bytes) -> bool:
    """Whether it is a part of an IP packet only (MF or an offset; or a fragment header)."""
    if packet[0] >> 4 == 6:
        return packet[6] == 44
    flags: int = struct.unpack_from("!H", packet, 6)[0]
    return bool(flags & 0x3FFF)


def size_of(packet: bytes) -> int:
    six = packet[0] >> 4 == 6
    length: int = struct.unpack_from("!H", packet, 4 if six else 2)[0]
    return length + (40 if six else 0)


def _key_states(state: NodeState, actual: Mapping[object, object]) -> list[KeyState]:
    found = []
    for key in state.keys() | actual.keys():
        entry = state.get(key)
        wanted, why = (entry.value, entry.because) if entry is not None else (None, ())
        found.append(KeyState(key, actual.get(key), wanted, why))
    return found


def _node(index: int, rack: int, underlay: int) -> Node:
    """A node with prefixes of both families, and addresses of the underlay's or of both."""
    node = node_at(index, rack)
    if underlay == 4:
        return node
    held = tuple(each for each in node.underlay.addresses if each.version == 6)
    only = Underlay("eth0", node.underlay.mtu, held)
    return msgspec.structs.replace(node, addresses=tuple(e.ip for e in held), underlay=only)


def _address(address: IPAddress, length: int, link: str) -> str:
    """A command of `ip -batch`."""
    at_once = " nodad" if address.version == 6 else ""
    return f"address add {address}/{length} dev {link}{at_once}"


_RACK_0 = tuple(each.network for each in node_at(0).underlay.addresses)
_ROUTER = """
link add br0 type bridge
link set br0 addrgenmode none up
address add 192.0.2.1/24 dev br0
address add 2001:db8::1/64 dev br0 nodad
address add fe80::1/64 dev br0 nodad
"""
