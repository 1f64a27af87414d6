"""The attacks, as a table: each row is a kind of packet, made for every sender and receiver.

What policy forbids: anything that claims another's address; anything to `echo` pods but from
friends, and to `narrow` pods but datagrams to port 53; anything that `caged-a` sends; any tunnel's
packet but a node's.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from tests.attack import frames
from tests.attack.bodies import Body, bodies
from tests.attack.frames import ICMP, ICMP6, UDP
from tests.attack.world import GUARDED, RECEIVERS, Field, Shot

FAMILIES = (False, True)
CLAIMED = ("friend-b", "open-a", "node-b", "node-a", "outside", "unused")
"""Whose address is claimed; `unused` is one of the sender's node that no pod has."""
VNI = 7473


def _shot(name: str, who: tuple[str, str], body: Body, source: str, to: str) -> Shot:
    sender, receiver = who
    return Shot(name, sender, receiver, lambda mark: body(source, to, mark))


def forged(field: Field, *, full: bool) -> Iterator[Shot]:
    """Packets with another's address, from a pod under no policy and from a caged one."""
    for six in FAMILIES:
        for claimed in CLAIMED:
            source = unused(field, six) if claimed == "unused" else field.address(claimed, six)
            for name, body in bodies(six, full=full).items():
                for sender in ("evil-a", "caged-a"):
                    for receiver in RECEIVERS:
                        to = field.address(receiver, six)
                        if source != to:
                            what = f"{name} as {claimed}, IPv{6 if six else 4}"
                            yield _shot(what, (sender, receiver), body, source, to)


def unused(field: Field, six: bool) -> str:
    head, mark, _ = field.address("evil-a", six).rpartition(":" if six else ".")
    return f"{head}{mark}{'f0' if six else '240'}"


def honest(field: Field, *, full: bool) -> Iterator[Shot]:
    """Packets with the sender's own address, where a policy says no."""
    for six in FAMILIES:
        for name, body in bodies(six, full=full).items():
            for sender in ("evil-a", "caged-a"):
                for receiver in RECEIVERS:
                    if sender == "caged-a" or receiver in GUARDED:
                        source, to = field.address(sender, six), field.address(receiver, six)
                        what = f"{name}, IPv{6 if six else 4}"
                        yield _shot(what, (sender, receiver), body, source, to)


def tunnelled(field: Field, *, full: bool) -> Iterator[Shot]:
    """Packets in VXLAN to a node, from a pod and from outside, as if another node had sent them."""
    del full
    for outer in FAMILIES:
        for inner in FAMILIES:
            for sender in ("evil-a", "outside"):
                for node in ("node-a", "node-b"):
                    yield _tunnel(field, (outer, inner), sender, node)


def by_service(field: Field, *, full: bool) -> Iterator[Shot]:
    """The same to a Service, or its node port, that leads to where node-b's tunnels end."""
    del full
    number = field.service["spec"]["ports"][0]["nodePort"]
    for outer in FAMILIES:
        ip = next(each for each in field.service["spec"]["clusterIPs"] if (":" in each) == outer)
        for inner in FAMILIES:
            ways = (("evil-a", ip, 4789),)
            nodes = [field.address(node, outer) for node in ("node-a", "node-b")]
            ways += tuple((who, a, number) for who in ("evil-a", "outside") for a in nodes)
            for sender, address, port in ways:
                yield _tunnel(field, (outer, inner), sender, "node-b", (address, port))


def _tunnel(
    field: Field,
    families: tuple[bool, bool],
    sender: str,
    node: str,
    dialled: tuple[str, int] | None = None,
) -> Shot:
    outer, inner = families
    address, port = dialled or (field.address(node, outer), 4789)
    receiver = f"echo-{node[-1]}"
    claimed = "friend-b" if node == "node-a" else "friend-a"
    source, to = field.address(claimed, inner), field.address(receiver, inner)
    ends = field.address(sender, outer), address
    mac = field.tunnel_macs[node]

    def build(mark: bytes) -> Iterable[bytes]:
        packet = frames.ip(source, to, UDP, frames.udp(source, to, mark, 9))
        body = frames.udp(*ends, frames.vxlan(packet, VNI, mac), port)
        return [frames.ip(*ends, UDP, body)]

    how = f"to {address} {port}"
    what = f"VXLAN {how}, IPv{6 if outer else 4}, inside {claimed}, IPv{6 if inner else 4}"
    return Shot(what, sender, receiver, build)


def neighbourly(field: Field, *, full: bool) -> Iterator[Shot]:
    """What only routers say, and what fills a node's tables, to the node's own ears."""
    del full
    own = field.address("evil-a", True)
    friend, node = field.address("friend-b", True), field.address("node-a", True)
    local, every = "fe80::66", "ff02::1"
    for source in (own, local, "fe80::1"):
        for to in (node, every, "ff02::2"):
            for kind, name in ((133, "RS"), (134, "RA"), (137, "redirect")):
                yield _discovery(f"{name} from {source}", kind, source, to, friend)
    for to in (node, every):
        yield _discovery("advertisement from a link-local address", 136, local, to, friend)
        yield _discovery("advertisement as a friend", 136, friend, to, friend)
        yield _discovery("solicitation from a link-local address", 135, local, to, node)
    for host in ("node-a", "outside"):
        yield _ipv4_redirect(field, host)


def _discovery(name: str, kind: int, source: str, to: str, about: str) -> Shot:
    def build(mark: bytes) -> Iterable[bytes]:
        target = b"" if kind in (133, 134) else ip_address(about).packed
        target = b"\0" * 8 if kind == 134 else target
        target += ip_address(source).packed if kind == 137 else b""
        rest = frames.option(1 if kind in (133, 135) else 2, b"\x02\0\0\0\0\x66")
        rest += frames.option(253, mark)
        return [
            frames.ip(source, to, ICMP6, frames.icmp(source, to, target + rest, kind), hops=255)
        ]

    return Shot(f"{name} to {to}", "evil-a", "node-a", build)


def _ipv4_redirect(field: Field, claimed: str) -> Shot:
    own, to = field.address("evil-a", False), field.address("node-a", False)
    source = own if claimed == "node-a" else field.address(claimed, False)

    def build(mark: bytes) -> Iterable[bytes]:
        about = frames.ip(to, field.address("friend-b", False), UDP, frames.udp(to, own, mark, 9))
        return [frames.ip(source, to, ICMP, frames.icmp(source, to, about, 5, 1))]

    return Shot(f"ICMP redirect from {source}", "evil-a", "node-a", build)
