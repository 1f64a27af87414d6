"""A change to a table, as the netlink requests that make it.

Not for links: their requests depend on the existing link (links.py). Every request, except those
for routes and rules, replaces an existing entry under its key: on our own links all entries are
ours.
"""

from errno import EINVAL, ENODEV

from steppe.drivers.errors import KernelError
from steppe.drivers.netlink import address as addr
from steppe.drivers.netlink import neighbour as neigh
from steppe.drivers.netlink import route as routes
from steppe.drivers.netlink import rule as rules
from steppe.drivers.netlink.message import Request
from steppe.drivers.netlink.route import Index
from steppe.plan.diff import Change
from steppe.state.link import AddressKey, Forwarding, ForwardingKey, Neighbour, NeighbourKey
from steppe.state.node import Value
from steppe.state.route import Route, RouteKey, Rule, RuleKey

_METRIC = "give it one: the families differ in what they make of none"


def requests(change: Change, index: Index, nexthop: int = 0) -> tuple[Request, ...]:
    """The requests for one change; none if it is about something on a link that is gone.

    `nexthop` is the id of the object that stands for a route's next hop, or 0.
    """
    key, old, new = change.key, change.old, change.new
    if isinstance(key, RouteKey):
        return _route(change, key, index, nexthop)
    if isinstance(key, RuleKey):
        return _rule(key, old, new)
    if not isinstance(key, AddressKey | NeighbourKey | ForwardingKey):
        raise TypeError(f"{change}: not a table of rtnetlink's")
    where = index(key.link)
    if where:
        return (_on_link(key, new, where),)
    if new is None:
        return ()  # gone with its link
    raise KernelError(str(change), ENODEV, f"link {key.link}")


def _on_link(
    key: AddressKey | NeighbourKey | ForwardingKey, new: Value | None, where: int
) -> Request:
    if isinstance(key, AddressKey):
        make = addr.delete_address if new is None else addr.add_address
        return make(key.address, where)
    if isinstance(key, NeighbourKey):
        if isinstance(new, Neighbour):
            return neigh.set_neighbour(key.address, new.mac, where)
        return neigh.delete_neighbour(key.address, where)
    if isinstance(new, Forwarding):
        return neigh.set_forwarding(key.mac, new.destination, where)
    return neigh.delete_forwarding(key.mac, where)


def _route(change: Change, key: RouteKey, index: Index, nexthop: int) -> tuple[Request, ...]:
    old, new, what = change.old, change.new, str(change)
    if isinstance(new, Route):
        if not key.metric:
            raise KernelError(what, EINVAL, "a route without a metric", _METRIC)
        missing = next((name for name in new.links if not index(name)), None)
        if missing is not None:
            raise KernelError(what, ENODEV, f"link {missing}")
        if isinstance(old, Route) and blocks(key, old, new):
            leave = routes.delete_route(key, old, index)
            return (leave, routes.add_route(key, new, index))
        replace = old is not None
        return (routes.add_route(key, new, index, replace=replace, nexthop=nexthop),)
    if isinstance(old, Route):
        return (routes.delete_route(key, old, index),)
    raise TypeError(f"{what}: not a route")


def blocks(key: RouteKey, old: Route, new: Route) -> bool:
    """Whether a route must be deleted before the new one can be added (no replacing in one step).

    IPv6 looks an on-link next hop up all the same, and to find it by another link is "Nexthop
    has invalid gateway or device mismatch" (ip6_route_check_nh_onlink in net/ipv6/route.c).
    """
    return (
        old.kind == "unicast"
        and old.links != new.links
        and any(
            hop.onlink and hop.via is not None and hop.via.version == 6 and hop.via in key.prefix
            for hop in new.hops
        )
    )


def _rule(key: RuleKey, old: Value | None, new: Value | None) -> tuple[Request, ...]:
    """The kernel cannot replace a rule: add the new one after the old one, then delete that."""
    made: list[Request] = []
    if isinstance(new, Rule):
        made.append(rules.add_rule(key, new))
    if isinstance(old, Rule):
        made.append(rules.delete_rule(key, old))
    return tuple(made)
