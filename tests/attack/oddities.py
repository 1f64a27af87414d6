"""Attacks that are no plain packet to one receiver: odd sources and ways, everybody's addresses,
frames, and errors about connections of others.
"""

from collections.abc import Iterable, Iterator

from tests.attack import frames
from tests.attack.bodies import ROUTER_ALERT, Body, icmp, udp
from tests.attack.frames import ICMP, ICMP6, ROUTING, UDP
from tests.attack.shots import FAMILIES
from tests.attack.world import GUARDED, RECEIVERS, Field, Shot

STRANGE_SOURCES = {
    False: (
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "192.0.2.255", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "10.96.0.1"),
    ),
    True: (
        *("::", "::1", "fe80::1", "fe80::66", "ff02::1", "ff05::1", "fd00:10:96::1"),
        *("::ffff:10.244.1.2", "::10.244.1.2", "64:ff9b::10.244.1.2", "2001:db8:0:1::"),
    ),
}
EVERYBODY = {
    False: ("224.0.0.1", "224.0.0.2", "224.0.0.251", "239.1.2.3"),
    # The last one is what all routers of the nodes' network have (RFC 4291, section 2.6.1).
    True: (
        "ff01::1",
        "ff02::1",
        "ff02::2",
        "ff02::16",
        "ff02::fb",
        "ff05::2",
        "ff0e::1",
        "2001:db8:0:1::",
    ),
}
BROADCAST = ("255.255.255.255", "192.0.2.255", "10.244.1.255", "0.0.0.0")
DHCP = {False: ((67, 68), (68, 67)), True: ((547, 546), (546, 547))}
"""Source and destination port: of a server, of a client."""


def _shot(name: str, who: tuple[str, str], body: Body, ends: tuple[str, str]) -> Shot:
    return Shot(name, *who, lambda mark: body(*ends, mark))


def strange(field: Field, *, full: bool) -> Iterator[Shot]:
    """From addresses that nobody can have, and from the receiver's own."""
    del full
    for six in FAMILIES:
        for receiver in RECEIVERS:
            to = field.address(receiver, six)
            for source in (*STRANGE_SOURCES[six], to):
                for name, body in (("UDP", udp), ("ICMP echo", icmp())):
                    for sender in ("evil-a", "caged-a"):
                        yield _shot(f"{name} from {source}", (sender, receiver), body, (source, to))
    for to in EVERYBODY[True]:
        for source in STRANGE_SOURCES[True]:
            yield _shot(f"ICMP echo from {source}", ("evil-a", to), icmp(), (source, to))


def detoured(field: Field, *, full: bool) -> Iterator[Shot]:
    """By source routes through a node, and to addresses that every node has for itself."""
    del full
    for sender in ("evil-a", "caged-a"):
        for receiver in RECEIVERS:
            for node in ("node-a", "node-b"):
                for kind in (131, 137):
                    yield _routed(field, (sender, receiver), node, kind, False)
                for kind in (0, 2, 3, 4):
                    yield _routed(field, (sender, receiver), node, kind, True)
        for six, own in ((False, "127.0.0.1"), (False, "127.9.9.9"), (True, "::1")):
            for name, body in (("UDP", udp), ("ICMP echo", icmp())):
                ends = field.address(sender, six), own
                yield _shot(f"{name} to {own}", (sender, "node-a"), body, ends)


def _routed(field: Field, who: tuple[str, str], node: str, kind: int, six: bool) -> Shot:
    source, via, to = (field.address(name, six) for name in (who[0], node, who[1]))

    def build(mark: bytes) -> Iterable[bytes]:
        data = frames.udp(source, to, mark, 9)
        if six:
            return [frames.ip(source, via, ROUTING, frames.routing(to, UDP, data, kind))]
        return [frames.ip(source, via, UDP, data, options=frames.source_route(to, kind))]

    # What is not forwarded the node may well take for its own.
    may = ("node-a", "node-b") if who[0] == "evil-a" else ()
    return Shot(f"by {node}, routing type {kind}", *who, build, may_hear=may)


def announced(field: Field, *, full: bool) -> Iterator[Shot]:
    """To everybody: only the pod's own node may hear it, and of a caged pod nobody."""
    del full
    for sender in ("evil-a", "caged-a"):
        may = ("node-a",) if sender == "evil-a" else ()
        for six in FAMILIES:
            source = field.address(sender, six)
            for to in EVERYBODY[six]:
                for name, body in (("UDP", udp), ("ICMP echo", icmp()), ("report", _report)):
                    shot = _shot(f"{name} to {to}", (sender, to), body, (source, to))
                    yield Shot(shot.name, sender, to, shot.build, may_hear=may)
            for ports in DHCP[six]:
                yield from _dhcp(field, sender, ports, six)
        for to in BROADCAST:
            yield _shot(f"UDP to {to}", (sender, to), udp, (field.address(sender, False), to))


def _report(source: str, to: str, mark: bytes) -> Iterable[bytes]:
    """That somebody listens to a group, as switches and multicast routers take it (IGMP, MLD)."""
    if ":" in source:
        return [frames.ip(source, to, ICMP6, frames.icmp(source, to, mark, 131), hops=1)]
    body = b"\x16\0\0\0" + mark
    return [frames.ip(source, to, 2, body, hops=1, options=ROUTER_ALERT)]


def _dhcp(field: Field, sender: str, ports: tuple[int, int], six: bool) -> Iterator[Shot]:
    """As a server to the node, and as a client that looks for one; broadcast where there is one."""
    own, node = field.address(sender, six), field.address("node-a", six)
    is_server = ports[1] in (68, 546)
    ways = [(own, node)] if is_server else []
    if six:
        ways += [(own, "ff02::1:2"), ("::", "ff02::1:2"), ("fe80::66", "ff02::1:2")]
    else:
        ways += [(own, "255.255.255.255"), ("0.0.0.0", "255.255.255.255")]
    for source, to in ways:
        name = f"DHCP {ports[0]} to {ports[1]}, {source} to {to}"
        # A client's question to a group is heard by a node like any packet to that group.
        may = ("node-a",) if to == "ff02::1:2" and source == own and sender == "evil-a" else ()

        def build(mark: bytes, source: str = source, to: str = to) -> Iterable[bytes]:
            return [frames.ip(source, to, UDP, frames.udp(source, to, mark, ports[1], ports[0]))]

        yield Shot(name, sender, "node-a", build, may_hear=() if is_server else may)


WIRES = {
    "in VLAN 0": lambda to, packet: _tagged(to, packet, (frames.VLAN, 0)),
    "in VLAN 5": lambda to, packet: _tagged(to, packet, (frames.VLAN, 5)),
    "in VLAN 0 twice": lambda to, packet: _tagged(to, packet, (frames.VLAN, 0), (frames.VLAN, 0)),
    "in VLAN 5 of VLAN 0": lambda to, packet: _tagged(
        to, packet, (frames.QINQ, 0), (frames.VLAN, 5)
    ),
    "to everybody's MAC address": lambda _, packet: _tagged(b"\xff" * 6, packet),
    "to a stranger's MAC address": lambda _, packet: _tagged(frames.STRANGER, packet),
    "from the node's own MAC address": lambda to, packet: frames.ethernet(
        to, to, frames.kind_of(packet), packet
    ),
    "as the other family": lambda to, packet: frames.ethernet(
        to,
        frames.STRANGER,
        frames.IPV4 if frames.kind_of(packet) == frames.IPV6 else frames.IPV6,
        packet,
    ),
}


def _tagged(to: bytes, packet: bytes, *tags: tuple[int, int]) -> bytes:
    return frames.ethernet(to, frames.STRANGER, frames.kind_of(packet), packet, *tags)


def framed(field: Field, *, full: bool) -> Iterator[Shot]:
    """In frames that are none of a pod's: tagged, or to and from others."""
    del full
    for six in FAMILIES:
        for name, wire in WIRES.items():
            for receiver in RECEIVERS:
                to = field.address(receiver, six)
                ways = [("evil-a", "friend-b"), ("caged-a", "caged-a")]
                ways += [("evil-a", "evil-a")] if receiver in GUARDED else []
                for sender, claimed in ways:
                    shot = _shot(
                        f"UDP as {claimed} {name}",
                        (sender, receiver),
                        udp,
                        (field.address(claimed, six), to),
                    )
                    yield Shot(shot.name, sender, receiver, shot.build, wire=wire)


ERRORS = {False: ((3, 3), (3, 4), (11, 0), (12, 0)), True: ((1, 4), (2, 0), (3, 0), (4, 0))}
"""Types and codes: port unreachable, too big, hops exceeded, parameter."""
FLOWS = (("friend-b", "echo-a"), ("friend-a", "echo-b"), ("friend-a", "echo-a"))


def about_others(field: Field, *, full: bool) -> Iterator[Shot]:
    """Errors about a connection that there is, by pods that are neither of its ends.

    They go by conntrack's word that they belong to it, past what policies say of their sender.
    """
    for six in FAMILIES:
        made = [field.plain(*flow, six) for flow in FLOWS]
        field.heard(made)
        for first, second in FLOWS:
            for sender in ("evil-a", "caged-a"):
                for to, other in ((first, second), (second, first)):
                    if sender == "evil-a" and to not in GUARDED:
                        continue
                    for error in ERRORS[six] if full else ERRORS[six][:1]:
                        yield _about(field, sender, (to, other), error, six=six)


def _about(
    field: Field, sender: str, flow: tuple[str, str], error: tuple[int, int], *, six: bool
) -> Shot:
    own, to, other = (field.address(name, six) for name in (sender, *flow))
    # plain() asks port 9 from port 40000; the error quotes what `to` has sent.
    ports = (9, 40000) if flow[1].startswith("friend") else (40000, 9)

    def build(mark: bytes) -> Iterable[bytes]:
        about = frames.ip(to, other, UDP, frames.udp(to, other, mark, ports[1], ports[0]))
        return [frames.ip(own, to, ICMP6 if six else ICMP, frames.icmp(own, to, about, *error))]

    return Shot(f"ICMP error {error} about {flow[0]} to {flow[1]}", sender, flow[0], build)
