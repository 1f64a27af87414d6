"""Which route a node's kernel takes for a packet: its rules in order, and in each table the longest
prefix with the lowest metric (ip-rule(8), ip-route(8)).

Steppe's own rules and routes come from the tables. Where it was read what others have put beside
them, that is looked up too, as the kernel does.
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress, IPNetwork
from steppe.net.lpm import LongestPrefix
from steppe.state.nft import ElementKey
from steppe.state.node import NodeState
from steppe.state.route import MAIN, Route, RouteKey, Rule, RuleKey
from steppe.state.surroundings import RoutingRule, Surroundings

Value = tuple[int, Route, tuple[Cause, ...], bool]
"""Metric, route, its causes, and whether another program made it."""


class Asked(msgspec.Struct, frozen=True):
    """What a look-up depends on. `iif`: the link by which the packet came, `lo` for the node's own.

    With "" for `iif` and `protocol`, and a mark of 0, no rule that asks for these matches.
    """

    source: IPAddress
    destination: IPAddress
    iif: str = ""
    protocol: str = ""
    source_port: int = 0
    destination_port: int = 0
    mark: int = 0


class Answer(msgspec.Struct, frozen=True):
    """The route that is taken, or the rule that ends the search (`key` is None then).

    `foreign`: the route is another program's. `rule`: by which rule it was found; None without
    surroundings.
    """

    key: RouteKey | None
    route: Route
    because: tuple[Cause, ...] = ()
    foreign: bool = False
    rule: RoutingRule | None = None

    @property
    def entry(self) -> str:
        """The route or the rule, as its command would show it."""
        if self.key is None:
            return f"ip rule {self.rule}"
        return f"route {self.key} {self.route}"


class Routing:
    """The rules and routes of one node."""

    def __init__(self, state: NodeState, around: Surroundings | None = None) -> None:
        routes, own = _own(state)
        self._tables = _tables(routes, around)
        rules = sorted(_rules(own, around), key=lambda rule: rule.priority)
        self._rules = {version: [r for r in rules if r.version == version] for version in (4, 6)}

    def answer(self, asked: Asked) -> Answer | None:
        """The route that the rules select; None if there is none.

        If a table has no match, or a `throw` route, the next rule is tried.
        """
        return self.to_any(asked)(asked.destination)

    def to_any(self, asked: Asked) -> Callable[[IPAddress], Answer | None]:
        """The answers for packets that differ from this one in their destination alone, for less:
        what else rules ask for is looked at once. All are of one family.
        """
        rules = [
            rule
            for rule in self._rules[asked.destination.version]
            if rule.destination is not None or matches(rule, asked)
        ]

        def answer(to: IPAddress) -> Answer | None:
            least = -1
            for rule in rules:
                if rule.priority < least or not _takes(rule, asked, to):
                    continue
                if rule.action == "goto":
                    least = rule.target
                elif rule.action == "lookup":
                    found = self._in_table(rule, to)
                    if found is not None:
                        return found
                elif rule.action != "nop":
                    return Answer(None, Route(rule.action), foreign=True, rule=rule)
            return None

        return answer

    def _in_table(self, rule: RoutingRule, destination: IPAddress) -> Answer | None:
        table = self._tables.get(rule.routing_table)
        found = table.lookup(destination) if table is not None else None
        if found is None:
            return None
        prefix, (metric, route, because, foreign) = found
        if route.kind == "throw" or prefix.prefixlen <= rule.suppress:
            return None
        key = RouteKey(prefix, rule.routing_table, metric)
        return Answer(key, route, because, foreign, rule)


def matches(rule: RoutingRule, asked: Asked) -> bool:
    """Whether a rule takes a packet of its family; one with unknown selectors does not."""
    if rule.unknown:
        return False
    selected = (
        (rule.source is None or asked.source in rule.source)
        and (rule.destination is None or asked.destination in rule.destination)
        and (not rule.iif or rule.iif == asked.iif)
        and not rule.oif  # only sockets that are bound to a link ask for one
        and asked.mark & rule.mask == rule.mark
        and (not rule.protocol or rule.protocol == asked.protocol.lower())
        and _within(rule.source_ports, asked.source_port)
        and _within(rule.destination_ports, asked.destination_port)
    )
    return selected != rule.inverted


def _takes(rule: RoutingRule, asked: Asked, to: IPAddress) -> bool:
    """Whether a rule takes the packet to this destination, if it takes one to any."""
    return rule.destination is None or matches(rule, replace(asked, destination=to))


def _within(ports: tuple[int, int] | None, port: int) -> bool:
    return ports is None or ports[0] <= port <= ports[1]


_Routes = list[tuple[RouteKey, Route, tuple[Cause, ...]]]
_Rules = list[tuple[RuleKey, Rule]]


def _own(state: NodeState) -> tuple[_Routes, _Rules]:
    """Steppe's own routes and rules, found in one pass over the tables."""
    routes: _Routes = []
    rules: _Rules = []
    for key, entry in state.items():
        if isinstance(key, ElementKey):  # as nearly all are
            continue
        if isinstance(key, RouteKey) and isinstance(entry.value, Route):
            routes.append((key, entry.value, entry.because))
        elif isinstance(key, RuleKey) and isinstance(entry.value, Rule):
            rules.append((key, entry.value))
    return routes, rules


def _rules(own: _Rules, around: Surroundings | None) -> Iterator[RoutingRule]:
    for key, rule in own:
        yield RoutingRule(
            key.source.version,
            key.priority,
            routing_table=rule.routing_table,
            source=key.source if key.source.prefixlen else None,
        )
    if around is not None and around.rules:
        yield from around.rules
    else:
        # What the kernel begins with: "priority: 32766, … lookup of table main" (ip-rule(8)).
        yield from (RoutingRule(version, 32766, routing_table=MAIN) for version in (4, 6))


def _tables(own: _Routes, around: Surroundings | None) -> Mapping[int, LongestPrefix[Value]]:
    tables: dict[int, dict[IPNetwork, Value]] = {}
    for key, value in _values(own, around):
        table = tables.setdefault(key.routing_table, {})
        known = table.get(key.prefix)
        # Of several routes to one prefix the kernel uses the one with the lowest metric.
        if known is None or value[0] < known[0]:
            table[key.prefix] = value
    return {number: LongestPrefix(table.items()) for number, table in tables.items()}


def _values(own: _Routes, around: Surroundings | None) -> Iterator[tuple[RouteKey, Value]]:
    for key, route, because in own:
        yield key, (key.metric, route, because, False)
    for other in around.routes if around is not None else ():
        yield other.key, (other.key.metric, other.route, other.because, True)
