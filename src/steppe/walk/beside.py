"""What stops a packet at a node, or leads it astray, beside Steppe's tables.

These are settings of links, other programs' routes and rules, addresses and neighbours.

Each function answers why the packet ends there, "" if it goes on.
"""

from steppe.net.address import IPAddress
from steppe.state.route import Route
from steppe.state.surroundings import Surroundings
from steppe.walk.routing import Answer, Asked, Routing

DROPPING = ("blackhole", "unreachable", "prohibit")
_ALL = "net/ipv4/conf/all/rp_filter"


def not_forwarded(around: Surroundings, asked: Asked) -> str:
    """A link that lets nothing be forwarded which comes in by it.

    IPv4 only: IPv6 is forwarded on all links or on none (ip-sysctl, conf/all/forwarding).
    """
    path = f"net/ipv4/conf/{asked.iif}/forwarding"
    if asked.destination.version == 4 and around.value(path) == "0":
        return f"does not forward what comes in by {asked.iif}: {path} is 0"
    return ""


def path_filtered(around: Surroundings | None, routing: Routing, asked: Asked) -> str:
    """The kernel's check of a packet's source, which is for IPv4 only.

    "The max value from conf/{all,interface}/rp_filter is used when doing source validation on the
    {interface}" (ip-sysctl). A source that is the machine's own is dropped in any case.
    """
    if around is None or asked.source.version != 4 or asked.iif in ("", "lo"):
        return ""
    back = Asked(asked.destination, asked.source, "lo", asked.protocol)
    found = routing.answer(back)
    if found is not None and found.route.kind == "local":
        return f"takes the sender's address {asked.source} for its own: {found.entry}"
    own = f"net/ipv4/conf/{asked.iif}/rp_filter"
    mode = max(_number(around.value(_ALL)), _number(around.value(own)))
    if mode == 0:
        return ""
    ways = found.route.links if found is not None and found.route.kind == "unicast" else ()
    if ways and (mode == 2 or asked.iif in ways):
        return ""
    setting = _ALL if _number(around.value(_ALL)) == mode else own
    where = f"answers would leave by {', '.join(ways)}" if ways else "there is no way to answer"
    return f"drops what {asked.source} sends by {asked.iif}, for {where}: {setting} is {mode}"


def led_astray(found: Answer | None, destination: IPAddress, *, ours: bool) -> str:
    """A route or rule of another program's that keeps the packet, or none at all.

    `ours`: the destination is a pod's address, or another node's.
    """
    if found is None:
        return f"has no route to {destination}" if ours else ""
    if not found.foreign:
        return ""
    if found.route.kind in DROPPING:
        return f"drops it, by another program's {found.entry}"
    if found.route.kind == "local" and ours:
        return f"takes {destination} for its own: {found.entry}"
    return ""


def is_down(around: Surroundings | None, name: str) -> str:
    """How a link fails to carry packets."""
    link = around.link(name) if around is not None else None
    if link is None or (link.up and link.carrier):
        return ""
    return "is down" if not link.up else "has no carrier"


def routing_inside(inside: Surroundings) -> Routing | None:
    """The rules and routes of a pod's own namespace; None where not all of it was read."""
    return None if inside.unread else Routing({}, inside)


def stays_inside(inside: Routing | None, asked: Asked, interface: str) -> tuple[str, str] | None:
    """Why what a pod sends does not leave it by its link: what its kernel has, and what follows.

    None if it leaves, and where nobody has looked.
    """
    if inside is None:
        return None
    found = inside.answer(asked)
    if found is None:
        return f"no route to {asked.destination}", "it cannot be sent"
    if found.route.kind in DROPPING:
        return f"a {found.entry}", "it is dropped there"
    if not _leaves(found.route, interface):
        return f"a {found.entry}", f"it does not leave by {interface}"
    return None


def wrong_neighbour(around: Surroundings | None, link: str, address: IPAddress, mac: str) -> str:
    """A permanent entry for a node's address with another MAC than the node's; "" if unknown."""
    if around is None or not mac:
        return ""
    for entry in around.neighbours:
        if (entry.link, entry.address) == (link, address) and entry.mac != mac:
            return (
                f"has a neighbour {address} dev {link} lladdr {entry.mac} PERMANENT, "
                f"and that address is at {mac}"
            )
    return ""


def _leaves(route: Route, interface: str) -> bool:
    return route.kind == "unicast" and interface in route.links


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
