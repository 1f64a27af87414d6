"""Links between nodes that take less than what pods send by them."""

from collections.abc import Iterator

from steppe.findings.finding import Affected, Finding
from steppe.findings.known import Known, first_of
from steppe.kube.objects import Node
from steppe.net.address import IPNetwork, host_prefix, of_version
from steppe.state.surroundings import Surroundings
from steppe.walk.routing import Asked, Routing

_LEAST_IPV6 = 1280
"""Bytes that every link must carry for IPv6 (RFC 8200, section 5); Linux ends IPv6 on others."""


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    overhead = known.here.underlay.mtu - known.mtu
    yield from _uplink(around, known, overhead)
    yield from _route(around, known, overhead)
    if known.mtu < _LEAST_IPV6 and any(n.version == 6 for n in known.here.networks):
        yield Finding(
            "mtu",
            f"link {known.uplink} mtu {known.here.underlay.mtu}",
            f"pods are left with {known.mtu} bytes, and IPv6 needs {_LEAST_IPV6}: they have none",
            f"`ip link set {known.uplink} mtu {_LEAST_IPV6 + overhead}`, or more",
            sure=True,
            affects=(Affected(tuple(n for n in known.here.networks if n.version == 6)),),
        )
    least = min((peer.underlay.mtu for peer in known.peers), default=known.here.underlay.mtu)
    if least < known.here.underlay.mtu:
        small = tuple(peer for peer in known.peers if peer.underlay.mtu == least)
        names = ", ".join(peer.name for peer in small[:3]) + (" …" if len(small) > 3 else "")
        yield Finding(
            "mtu",
            f"link {known.uplink} mtu {known.here.underlay.mtu}",
            f"the links of {names} take {least} bytes: larger packets from here to them and their "
            "pods are lost unless the sender's path MTU discovery works (TCP agrees on less by "
            "itself)",
            "give all nodes' links one MTU",
            walked=True,
            affects=(Affected(destinations=tuple(n for p in small for n in _held(p))),),
        )


def _held(node: Node) -> tuple[IPNetwork, ...]:
    return (*node.networks, *map(host_prefix, node.addresses))


def _uplink(around: Surroundings, known: Known, overhead: int) -> Iterator[Finding]:
    """Pods' links, as they are, against the node's own."""
    uplink = around.link(known.uplink)
    sizes = [link.mtu for pod in known.pods if (link := around.link(pod.link)) is not None]
    if uplink is None or not sizes or max(sizes) + overhead <= uplink.mtu:
        return
    room = uplink.mtu - overhead
    yield Finding(
        "mtu",
        f"link {known.uplink} mtu {uplink.mtu}",
        _too_small(max(sizes), room, overhead),
        f"`ip link set {known.uplink} mtu {max(sizes) + overhead}`; or recreate the pods, which "
        f"then get {room}",
        sure=True,
        affects=_between(known),
    )


def _route(around: Surroundings, known: Known, overhead: int) -> Iterator[Finding]:
    """A route to another node with an `mtu` of its own: the tunnel's packets take it."""
    routing = Routing(known.state, around)
    for peer in known.peers:
        if not _is_tunnelled(routing, known, peer):
            continue
        for address in peer.addresses:
            source = known.here.address(address.version)
            found = routing.answer(Asked(source, address, "lo")) if source is not None else None
            if found is None or not found.foreign or not 0 < found.route.mtu < known.mtu + overhead:
                continue
            yield Finding(
                "mtu",
                found.entry,
                _too_small(known.mtu, found.route.mtu - overhead, overhead),
                "delete this route, or its mtu, and stop what made it",
                sure=True,
                affects=(Affected(destinations=peer.networks),),
            )


def _is_tunnelled(routing: Routing, known: Known, peer: Node) -> bool:
    for theirs in peer.networks:
        own = of_version(known.here.networks, theirs.version)
        found = routing.answer(Asked(first_of(own), first_of(theirs))) if own is not None else None
        if found is not None and not set(known.tunnels).isdisjoint(found.route.links):
            return True
    return False


def _too_small(sent: int, room: int, overhead: int) -> str:
    headers = f" (the tunnel's headers take {overhead})" if overhead else ""
    return (
        f"packets of {room + 1} to {sent} bytes from pods here to other nodes' pods "
        f"do not fit{headers}: they are lost, or fragmented, or sent again in smaller pieces"
    )


def _between(known: Known) -> tuple[Affected, ...]:
    theirs = tuple(n for peer in known.peers for n in peer.networks)
    return (Affected(known.here.networks, theirs),) if theirs else ()
