"""Look-ups in one node's tables, as the kernel would make them."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress, IPNetwork
from steppe.net.lpm import LongestPrefix
from steppe.state.link import Forwarding, ForwardingKey, Link, LinkKey, Neighbour, NeighbourKey
from steppe.state.nft import Atom, ElementKey, Set
from steppe.state.node import NodeEntry, NodeState
from steppe.state.route import MAIN, Route, RouteKey, Rule, RuleKey
from steppe.state.sysctl import Sysctl, SysctlKey

_FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}

Found = tuple[RouteKey, Route, tuple[Cause, ...]]


class NodeView:
    """Look-ups in a NodeState; each returns the causes of what it finds."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        routes, members, rules = _sorted_out(state)
        self._routes = {table: LongestPrefix(found) for table, found in routes.items()}
        self._members = members
        self._intervals: dict[_SetPart, LongestPrefix[NodeEntry]] = {}
        self._rules = sorted(rules, key=lambda rule: rule[0])

    def route(self, source: IPAddress, destination: IPAddress) -> Found | None:
        """The route that the routing rules select.

        If a table has no match, the next rule is tried.
        """
        chosen = [table for _, prefix, table in self._rules if source in prefix]
        for table in (*chosen, MAIN):
            routes = self._routes.get(table)
            found = routes.lookup(destination) if routes is not None else None
            if found is not None:
                prefix, (metric, entry) = found
                if isinstance(entry.value, Route):
                    return RouteKey(prefix, table, metric), entry.value, entry.because
        return None

    def link(self, name: str) -> Link | None:
        """A link in the tables; None for others, such as the underlay's."""
        entry = self._state.get(LinkKey(name))
        return entry.value if entry is not None and isinstance(entry.value, Link) else None

    def link_causes(self, name: str) -> tuple[Cause, ...]:
        """The objects that ask for a link of ours; () for any other."""
        entry = self._state.get(LinkKey(name))
        return entry.because if entry is not None else ()

    def is_down(self, name: str) -> bool:
        """Whether a link in the tables is down: its routes and neighbours are not usable."""
        link = self.link(name)
        return link is not None and not link.up

    def refuses_to_forward(self, version: int) -> str:
        """The sysctl that stops the node from forwarding this family; "" if none does."""
        path = _FORWARDING[version]
        entry = self._state.get(SysctlKey(path))
        return path if entry is not None and entry.value != Sysctl("1") else ""

    def neighbour(self, link: str, address: IPAddress) -> tuple[Neighbour, NodeEntry] | None:
        entry = self._state.get(NeighbourKey(link, address))
        if entry is None or not isinstance(entry.value, Neighbour):
            return None
        return entry.value, entry

    def forwarding(self, link: str, mac: str) -> tuple[Forwarding, NodeEntry] | None:
        entry = self._state.get(ForwardingKey(link, mac))
        if entry is None or not isinstance(entry.value, Forwarding):
            return None
        return entry.value, entry

    def find(self, spec: Set, values: tuple[Atom, ...]) -> tuple[ElementKey, NodeEntry] | None:
        """The element of a set or map for these values."""
        if not spec.interval:
            key = ElementKey(spec.name, values)
            entry = self._state.get(key)
            return (key, entry) if entry is not None else None
        address, *rest = values
        if not isinstance(address, IPv4Address | IPv6Address):
            return None
        found = self._interval((spec.name, tuple(rest))).lookup(address)
        return (ElementKey(spec.name, (found[0], *rest)), found[1]) if found is not None else None

    def _interval(self, part: "_SetPart") -> LongestPrefix[NodeEntry]:
        """The prefixes of a set, made for look-ups at the first one: most sets are never asked."""
        found = self._intervals.get(part)
        if found is None:
            found = self._intervals[part] = LongestPrefix(self._members.get(part, {}))
        return found


_SetPart = tuple[str, tuple[Atom, ...]]
"""A set's name, and the values of a key after its prefix."""
_Routes = dict[int, dict[IPNetwork, tuple[int, NodeEntry]]]
"""By routing table and prefix: the route with the lowest metric."""
_Members = dict[_SetPart, dict[IPNetwork, NodeEntry]]
_Rules = list[tuple[int, IPNetwork, int]]
"""Priority, source and routing table of each rule."""


def _sorted_out(state: NodeState) -> tuple[_Routes, _Members, _Rules]:
    """The entries that are found by prefix."""
    routes: _Routes = {}
    members: _Members = {}
    rules: _Rules = []
    for key, entry in state.items():
        if isinstance(key, ElementKey):
            first = key.key[0]
            if isinstance(first, IPv4Network | IPv6Network):
                members.setdefault((key.set, key.key[1:]), {})[first] = entry
        elif isinstance(key, RouteKey):
            table = routes.setdefault(key.routing_table, {})
            known = table.get(key.prefix)
            # Of several routes to one prefix the kernel uses the one with the lowest metric.
            if known is None or key.metric < known[0]:
                table[key.prefix] = (key.metric, entry)
        elif isinstance(key, RuleKey) and isinstance(entry.value, Rule):
            rules.append((key.priority, key.source, entry.value.routing_table))
    return routes, members, rules
