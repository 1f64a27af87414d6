"""Look-ups in one node's tables, as the kernel would make them."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress, IPNetwork
from steppe.net.lpm import LongestPrefix
from steppe.state.link import Forwarding, ForwardingKey, Link, LinkKey, Neighbour, NeighbourKey
from steppe.state.nft import Atom, ElementKey, Set
from steppe.state.node import Key, NodeEntry, NodeState
from steppe.state.route import RouteKey, RuleKey
from steppe.state.surroundings import Surroundings
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.walk.routing import Answer, Asked, Routing

_FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


class NodeView:
    """Look-ups in a NodeState; each returns the causes of what it finds.

    `around` is what the node has beside its tables; None where nobody has looked.
    """

    def __init__(self, state: NodeState, around: Surroundings | None = None) -> None:
        self._state = state
        self.around = around
        paths, members = _sorted_out(state)
        self.routing = Routing(paths, around)
        self._members = members
        self._intervals: dict[_SetPart, LongestPrefix[NodeEntry]] = {}

    def route(self, source: IPAddress, destination: IPAddress) -> Answer | None:
        """The route to an address for what the node itself asks, as nft's `fib` does."""
        return self.routing.answer(Asked(source, destination, "lo"))

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
            found = self._intervals[part] = LongestPrefix(self._members.get(part, ()))
        return found


_SetPart = tuple[str, tuple[Atom, ...]]
"""A set's name, and the values of a key after its prefix."""
_Members = dict[_SetPart, list[tuple[IPNetwork, NodeEntry]]]


def _sorted_out(state: NodeState) -> tuple[NodeState, _Members]:
    """The routes and rules, and the elements that are found by prefix."""
    paths: dict[Key, NodeEntry] = {}
    members: _Members = {}
    for key, entry in state.items():
        if isinstance(key, ElementKey):
            first = key.key[0]
            if isinstance(first, IPv4Network | IPv6Network):
                members.setdefault((key.set, key.key[1:]), []).append((first, entry))
        elif isinstance(key, RouteKey | RuleKey):
            paths[key] = entry
    return paths, members
