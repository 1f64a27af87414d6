"""A lab to attack: pods that send what they like, and an ear at every receiver.

    evil-a    no policy; sends from node-a          caged-a   may send to nobody
    echo-X    takes only what friends send          open-X    no policy
    friend-X  whom echo-X lets in                   narrow-X  takes only datagrams to port 53

Every packet carries a mark of its own. A pod's ear is a packet socket on its link; a node's are raw
sockets, which hear what the node itself would take in, behind all its rules.
"""

import itertools
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from steppe.client.resources import NETWORKPOLICIES, PODS
from steppe.net.mac import derived_mac
from steppe.state.workload import host_mac, link_name
from tests.attack import frames
from tests.lab.conftest import Lab
from tests.lab.service_lab import NODES, World, pod
from tests.waiting import patience, until

PAUSE = {"name": "pause", "image": "pause"}
GUARDED = ("echo-a", "echo-b", "narrow-a", "narrow-b")
RECEIVERS = (*GUARDED, "open-a", "open-b", "node-a", "node-b")
PODS_HERE = (
    *("evil-a", "caged-a", "friend-a", "friend-b"),
    *(name for name in RECEIVERS if name not in NODES),
)
_ALL_PROTOCOLS = 0x0003
_WHOLE = socket.IPPROTO_RAW
_NODES_PROTOCOLS = (
    *(frames.UDP, frames.TCP, frames.SCTP, frames.UDPLITE, frames.GRE, frames.IPIP),
    *(frames.IP6IP6, frames.AUTHENTICATION, frames.NO_NEXT, frames.EXPERIMENT),
)
_TOKEN = b"mark-%08d"
_TUNNEL_PORT = (4789).to_bytes(2, "big")
_SIZE = len(_TOKEN % 0)


def pods() -> list[dict[str, Any]]:
    return [pod(name, f"node-{name[-1]}", PAUSE) for name in PODS_HERE]


def plain_frame(to: bytes, packet: bytes) -> bytes:
    return frames.ethernet(to, frames.STRANGER, frames.kind_of(packet), packet)


class Shot(msgspec.Struct, frozen=True):
    """One attack: frames that a sender puts on its wire, and who must not hear of them.

    `build` gets the mark and gives whole IP packets; `wire` puts one into a frame, to the MAC
    address of the node's end. `may_hear`: besides the sender, who may.
    """

    name: str
    sender: str
    receiver: str
    build: Callable[[bytes], Iterable[bytes]]
    wire: Callable[[bytes, bytes], bytes] = plain_frame
    may_hear: tuple[str, ...] = ()


class Ears:
    """Sockets that hear what arrives at each receiver."""

    def __init__(self, world: World) -> None:
        self._sockets: dict[socket.socket, str] = {}
        for name in RECEIVERS:
            for made in world.inside(name, _node_ears if name in NODES else _pod_ears):
                self._sockets[made] = name

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def heard(self, seconds: float) -> Iterator[tuple[str, bytes]]:
        """Receivers and marks, until it is silent for so long."""
        while ready := select.select(list(self._sockets), [], [], seconds)[0]:
            for each in ready:
                data, where = each.recvfrom(65536)
                if where[2:3] == (socket.PACKET_OUTGOING,):
                    continue
                at = data.find(_TOKEN[:5])
                if at >= 0 and not _is_tunnels(each, data):
                    yield self._sockets[each], data[at : at + _SIZE]


def _is_tunnels(ear: socket.socket, data: bytes) -> bool:
    """Whether it is a tunnel's outer packet: what its node makes of it, others hear."""
    if ear.family == socket.AF_PACKET or ear.proto != frames.UDP:
        return False
    head = 4 * (data[0] & 15) if ear.family == socket.AF_INET else 0
    return data[head + 2 : head + 4] == _TUNNEL_PORT


def _pod_ears() -> list[socket.socket]:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
    made.bind(("eth0", _ALL_PROTOCOLS))
    return [made]


def _node_ears() -> list[socket.socket]:
    return [
        socket.socket(family, socket.SOCK_RAW, protocol)
        for family, protocols in (
            (socket.AF_INET, (frames.ICMP, *_NODES_PROTOCOLS)),
            (socket.AF_INET6, (frames.ICMP6, *_NODES_PROTOCOLS)),
        )
        for protocol in protocols
    ]


class Field:
    """The lab with its policies in force."""

    def __init__(self, lab: Lab) -> None:
        self.world = World(lab)
        self._marks = itertools.count()
        self._wires: dict[str, socket.socket] = {}
        friends = {"podSelector": {"matchLabels": {"role": "friend"}}}
        self._policy("guarded", "echo", policyTypes=["Ingress"], ingress=[{"from": [friends]}])
        self._policy("caged", "caged", policyTypes=["Egress"])
        asked = {"ports": [{"protocol": "UDP", "port": 53}]}
        self._policy("narrow", "narrow", policyTypes=["Ingress"], ingress=[asked])
        found = self.world.api(lambda client: client.list(PODS, "default"))[0]
        self._uids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in found}
        self.tunnel_macs = {
            node: bytes.fromhex(derived_mac("vxlan", node).replace(":", "")) for node in NODES
        }
        self.service = self._tunnel_service()
        self.world.settle()
        until(self._is_guarded, 30, "the policies are in force")

    def close(self) -> None:
        for each in self._wires.values():
            each.close()

    @property
    def has_tunnels(self) -> bool:
        fabric: str = self.world.lab.record()["options"]["fabric"]
        return fabric != "direct"

    def link(self, name: str) -> str:
        """The node's link of a pod."""
        return link_name(self._uids[name])

    def address(self, name: str, six: bool) -> str:
        return next(each for each in self.world.addresses[name] if (":" in each) == six)

    def heard(self, shots: Iterable[Shot]) -> dict[Shot, set[str]]:
        """Who hears of each shot, besides its sender."""
        marks = {_TOKEN % next(self._marks): shot for shot in shots}
        found: dict[Shot, set[str]] = {shot: set() for shot in marks.values()}
        ears = Ears(self.world)
        try:
            for mark, shot in marks.items():
                self._shoot(shot, shot.build(mark))
                for name, seen in ears.heard(0):
                    found[marks[seen]].add(name)
            for name, seen in ears.heard(patience(0.5)):
                found[marks[seen]].add(name)
        finally:
            ears.close()
        return {shot: names - {shot.sender, *shot.may_hear} for shot, names in found.items()}

    def _shoot(self, shot: Shot, packets: Iterable[bytes]) -> None:
        if shot.sender in NODES:
            self._route(shot.sender, packets)
            return
        if shot.sender in self._uids:
            to = bytes.fromhex(host_mac(self.link(shot.sender)).replace(":", ""))
        else:
            # The router of the lab's outside network (lab topology: net-0, host 1).
            to = b"\x02\0\0\0\0\x01"
        if shot.sender not in self._wires:
            self._wires[shot.sender] = self.world.inside(shot.sender, _wire)
        for packet in packets:
            self._wires[shot.sender].send(shot.wire(to, packet))

    def _route(self, node: str, packets: Iterable[bytes]) -> None:
        """Whole packets, by the node's own routes."""
        for packet in packets:
            six = packet[0] >> 4 == 6
            family = socket.AF_INET6 if six else socket.AF_INET
            to = socket.inet_ntop(family, packet[24:40] if six else packet[16:20])
            made = self.world.inside(
                node, lambda family=family: socket.socket(family, socket.SOCK_RAW, _WHOLE)
            )
            with made:
                made.sendto(packet, (to, 0))

    def _tunnel_service(self) -> dict[str, Any]:
        """A Service, of node ports too, whose only endpoint is where node-b's tunnels end."""
        ports = [{"name": "udp", "port": 4789, "protocol": "UDP"}]
        made = self.world.service("tunnel", ports, type="NodePort")
        self.world.endpoints("tunnel", {"node-b": {}}, [("udp", "UDP", 4789)])
        return made

    def _policy(self, name: str, role: str, **spec: Any) -> None:
        body = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": {"role": role}}, **spec},
        }
        self.world.api(lambda client: client.create(NETWORKPOLICIES, body, "default"))

    def _is_guarded(self) -> bool:
        plain = [
            self.plain(sender, receiver, six)
            for sender, receiver in (
                ("evil-a", "echo-a"),
                ("evil-a", "echo-b"),
                ("evil-a", "narrow-a"),
                ("evil-a", "narrow-b"),
                ("caged-a", "open-b"),
            )
            for six in (False, True)
        ]
        return not any(self.heard(plain).values())

    def plain(self, sender: str, receiver: str, six: bool, port: int = 9) -> Shot:
        """An honest UDP packet."""
        source, to = self.address(sender, six), self.address(receiver, six)
        return Shot(
            f"plain IPv{6 if six else 4}",
            sender,
            receiver,
            lambda mark: [frames.ip(source, to, frames.UDP, frames.udp(source, to, mark, port))],
        )


def heard(field: Field, shots: Iterable[Shot]) -> list[str]:
    """Each shot that somebody hears who must not, in words."""
    return [
        f"{', '.join(sorted(names))}: {shot.name}, from {shot.sender} to {shot.receiver}"
        for shot, names in field.heard(shots).items()
        if names
    ]


def _wire() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.bind(("eth0", 0))
    return made
