"""Links that are down, do not forward, have no IPv6, or drop by the sender's address."""

from collections.abc import Iterator

from steppe.findings.finding import Affected, Finding
from steppe.findings.known import Known, first_of
from steppe.kube.objects import Node
from steppe.net.address import IPAddress, IPNetwork, host_prefix, of_version
from steppe.state.surroundings import Surroundings
from steppe.walk.beside import is_down, path_filtered
from steppe.walk.routing import Asked, Routing

_STRICT = "strict: what comes in by another link than its answers would take is dropped"


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    yield from _down(around, known)
    for link in known.links:
        yield from _forwarding(around, known, link)
    for link in ("all", *known.links):
        yield from _no_ipv6(around, known, link)
    for link in dict.fromkeys((known.uplink, *known.tunnels)):
        yield from _path_filter(around, known, link)


def _down(around: Surroundings, known: Known) -> Iterator[Finding]:
    link = known.uplink
    if how := is_down(around, link):
        cure = f"`ip link set {link} up`" if how == "is down" else f"look at {link}'s cable or peer"
        yield Finding(
            "link",
            f"link {link} {how}",
            "nothing goes to other nodes and their pods, or comes from them",
            cure,
            sure=True,
            walked=True,
            affects=_through(known, link, 4) + _through(known, link, 6),
        )


def _through(known: Known, link: str, version: int) -> tuple[Affected, ...]:
    """The flows that come in by a link: a pod's own, or those for all pods here."""
    pod = next((pod for pod in known.pods if pod.link == link), None)
    if pod is not None:
        own = tuple(host_prefix(a) for a in pod.addresses if a.version == version)
        return (Affected(sources=own),) if own else ()
    here = tuple(n for n in known.here.networks if n.version == version)
    return (Affected(destinations=here),) if here else ()


def _whose(known: Known, link: str, family: str) -> str:
    pod = next((pod for pod in known.pods if pod.link == link), None)
    if pod is not None:
        return f"{family} of pod {pod.namespace}/{pod.name} gets no farther than this node"
    how = "out of the tunnel" if link in known.tunnels else f"by {link}"
    return (
        f"{family} that comes in {how} from other nodes, their pods and outside "
        f"does not reach the pods of {known.here.name}"
    )


def _forwarding(around: Surroundings, known: Known, link: str) -> Iterator[Finding]:
    path = f"net/ipv4/conf/{link}/forwarding"
    # Where all of IPv4 is not forwarded, the tables tell it: it is Steppe's own setting.
    on = around.value("net/ipv4/conf/all/forwarding") != "0"
    if on and around.value(path) == "0":
        yield Finding(
            "forwarding",
            f"{path} = 0",
            _whose(known, link, "IPv4"),
            f"`sysctl -w {path}=1`, and stop what sets it to 0",
            sure=True,
            walked=True,
            affects=_through(known, link, 4),
        )


def _no_ipv6(around: Surroundings, known: Known, link: str) -> Iterator[Finding]:
    path = f"net/ipv6/conf/{link}/disable_ipv6"
    uses = any(network.version == 6 for network in known.here.networks)
    if not uses or around.value(path) != "1":
        return
    if link == "all":
        whose, affects = "nothing of this node and its pods has IPv6", _through(known, "", 6)
    else:
        whose, affects = _whose(known, link, "IPv6"), _through(known, link, 6)
    cure = f"`sysctl -w {path}=0`; Steppe's entries come back by themselves"
    yield Finding("ipv6", f"{path} = 1", whose, cure, sure=True, walked=True, affects=affects)


def _path_filter(around: Surroundings, known: Known, link: str) -> Iterator[Finding]:
    """Strict checking of senders' addresses, with the flows between nodes that are lost by it."""
    own, every = f"net/ipv4/conf/{link}/rp_filter", "net/ipv4/conf/all/rp_filter"
    path = every if around.value(every) == "1" else own
    if around.value(path) != "1" or (path == every and around.value(own) == "2"):
        return
    lost = tuple(_filtered(around, known, link))
    text = f"{_STRICT}; of the flows between this cluster's nodes none is, now"
    if lost:
        names = "; ".join(dict.fromkeys(who for who, _, _ in lost))
        text = f"{_STRICT}: {names}"
    yield Finding(
        "rp_filter",
        f"{path} = 1",
        text,
        f"`sysctl -w {path}=0`, or 2 (loose); /etc/sysctl.d may set it",
        sure=bool(lost),
        walked=True,
        affects=tuple(Affected((host_prefix(of),), (to,)) for _, of, to in lost),
    )


def _filtered(
    around: Surroundings, known: Known, link: str
) -> Iterator[tuple[str, IPAddress, IPNetwork]]:
    """The packets of other nodes that come in by the link and are dropped: in words, source, and
    destination.
    """
    routing, here = Routing(known.state, around), known.here
    pods = of_version(here.networks, 4)
    node = of_version(here.addresses, 4)
    for peer in known.peers:
        if not _comes_by(routing, here, peer, link):
            continue
        theirs = of_version(peer.networks, 4)
        senders = [("pods of " + peer.name, first_of(theirs))] if theirs is not None else []
        senders += [(peer.name, a) for a in peer.addresses if a.version == 4]
        ends = [(f"pods of {here.name}", pods)] if pods is not None else []
        ends += [(here.name, host_prefix(node))] if node is not None else []
        for who, source in senders:
            for whom, end in ends:
                asked = Asked(source, first_of(end), link)
                both_nodes = who == peer.name and whom == here.name
                if not both_nodes and path_filtered(around, routing, asked):
                    yield f"from {who} to {whom}", source, end


def _comes_by(routing: Routing, here: Node, peer: Node, link: str) -> bool:
    """Whether the peer's packets come in by the link: by the one that leads to its pods."""
    ours, theirs = of_version(here.networks, 4), of_version(peer.networks, 4)
    if ours is None or theirs is None:
        return False
    found = routing.answer(Asked(first_of(ours), first_of(theirs)))
    return found is not None and link in found.route.links
