"""Walks a packet through one node's nft chains: all possible outcomes with their probabilities.

The rules are values (state/nft.py). They are executed one by one, without knowledge of their
purpose. If a rule chooses at random, the walk continues with each choice.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

from steppe.dataplane.nft.edges import RAW, STRAY
from steppe.kube.cause import Cause
from steppe.net.address import IPAddress, IPNetwork, parse_prefix
from steppe.net.packet import Packet
from steppe.state.nft import (
    Action,
    Atom,
    Chain,
    Choose,
    Clear,
    Count,
    Dispatch,
    Dnat,
    Forget,
    Go,
    Log,
    Marked,
    Match,
    Recall,
    Reject,
    Remember,
    Rule,
    Set,
    SetMark,
    Skeleton,
)
from steppe.walk.trace import Applied, Met, Redirected, What
from steppe.walk.view import NodeView

Ending = Literal["accept", "drop", "return", "masquerade", "reject"]


class State(msgspec.Struct, frozen=True):
    """A packet during the walk: its current fields, their probability, and the elements it met.

    `local`: its source is an address of the node. `established`: it belongs to a connection that
    conntrack knows. `link` and `group`: the link it came in by and its group, if that is Steppe's.
    """

    packet: Packet
    link: str = ""
    group: int = 0
    local: bool = False
    established: bool = False
    mark: int = 0
    priority: int = 0
    share: Fraction = Fraction(1)
    met: tuple[tuple[What, tuple[Cause, ...]], ...] = ()

    def meeting(self, what: What, because: tuple[Cause, ...]) -> "State":
        return msgspec.structs.replace(self, met=(*self.met, (what, because)))


Outcome = tuple[State, Ending | None]
"""The verdict of a rule or chain; None if it has none."""


class Ruleset:
    """Executes the fixed rules of a data plane over the elements of one node.

    Invariant: the shares of all outcomes of a hook add up to the share of the incoming packet.
    """

    def __init__(self, skeleton: Skeleton, view: NodeView) -> None:
        self._skeleton = skeleton
        self._sets: Mapping[str, Set] = {spec.name: spec for spec in skeleton.sets}
        self._view = view

    def hook(self, point: str, state: State, *, raw: bool = False) -> tuple[Outcome, ...]:
        """The outcomes of the base chains at a hook; without a verdict a packet is accepted.

        `raw`: those of `prerouting` that come before conntrack, and no others.
        """
        states = [state]
        ended: list[Outcome] = []
        chains = [
            chain
            for chain in self._skeleton.chains
            if chain.hook is not None
            and chain.hook.point == point
            and (chain.hook.priority <= RAW) == raw
        ]
        for chain in sorted(chains, key=lambda c: c.hook.priority if c.hook is not None else 0):
            outcomes = [outcome for each in states for outcome in self._chain(chain, each)]
            ended += [(each, ending) for each, ending in outcomes if ending not in _GOING]
            states = [each for each, ending in outcomes if ending in _GOING]
        return (*ended, *((each, "accept") for each in states))

    def _chain(self, chain: Chain, state: State) -> Iterator[Outcome]:
        states = [state]
        for rule in chain.rules:
            still: list[State] = []
            for each in states:
                for outcome in self._rule(rule, each):
                    if outcome[1] is None:
                        still.append(outcome[0])
                    else:
                        yield outcome
            states = still
        for each in states:
            yield each, None

    def _rule(self, rule: Rule, state: State) -> Iterator[Outcome]:
        because: list[Cause] = []
        for match in rule.matches:
            found = self._matched(match, state)
            if found is None:
                yield state, None
                return
            because += found
        if because or isinstance(rule.action, str | Reject):
            state = state.meeting(Applied(rule), tuple(dict.fromkeys(because)))
        yield from self._act(rule.action, state)

    def _matched(self, match: Match | Marked, state: State) -> tuple[Cause, ...] | None:
        """The causes of the element that matched, () if the match looks up none.

        None for no match.
        """
        if isinstance(match, Marked):
            return () if state.mark & match.bits == match.bits else None
        if match.field == STRAY:
            return self._strayed(state)
        values = _values(match.field, state)
        if values is None:
            return None
        if not match.set:
            # nft's name for priority 0.
            literal = "0" if match.literal == "none" else match.literal
            return () if _is(values[0], literal) != match.negate else None
        found = self._view.find(self._sets[match.set], values)
        if (found is None) != match.negate:
            return None
        return found[1].because if found is not None else ()

    def _strayed(self, state: State) -> tuple[Cause, ...] | None:
        """The causes of a link by which the packet's sender is not reached; None where it is."""
        packet = state.packet
        found = self._view.route(packet.destination, packet.source)
        if found is not None and any(hop.link == state.link for hop in found[1].hops):
            return None
        return self._view.link_causes(state.link)

    def _act(self, action: Action, state: State) -> Iterator[Outcome]:
        match action:
            case SetMark(bits):
                yield msgspec.structs.replace(state, mark=state.mark | bits), None
            case Choose(of):
                for number in range(of):
                    share = state.share / of
                    yield msgspec.structs.replace(state, priority=number, share=share), None
            case Clear():
                yield msgspec.structs.replace(state, priority=0), None
            case Recall(field, name):
                yield self._recall(field, name, state), None
            case Remember() | Forget() | Count() | Log():  # no effect on this packet
                yield state, None
            case Reject():
                yield state, "reject"
            case Go(how, name):
                yield from self._go(how, name, state)
            case Dispatch(field, name):
                yield from self._dispatch(field, name, state)
            case Dnat():
                yield self._dnat(action, state)
            case _:
                yield state, action

    def _go(self, how: str, name: str, state: State) -> Iterator[Outcome]:
        chain = self._skeleton.chain(name)
        if chain is None:
            return
        for each, ending in self._chain(chain, state):
            if ending in (None, "return"):
                # After a jump the next rule follows; after a goto the calling chain ends too.
                yield each, None if how == "jump" else "return"
            else:
                yield each, ending

    def _dispatch(self, field: str, name: str, state: State) -> Iterator[Outcome]:
        values = _values(field, state)
        found = self._view.find(self._sets[name], values) if values is not None else None
        if found is None:
            yield state, None
            return
        key, entry = found
        (verdict,) = getattr(entry.value, "data", ("drop",))
        state = state.meeting(Met(key, entry.value), entry.because)
        if verdict == "drop":
            yield state, "drop"
        else:
            yield from self._go("goto", str(verdict), state)

    def _recall(self, field: str, name: str, state: State) -> State:
        values = _values(field, state)
        found = self._view.find(self._sets[name], values) if values is not None else None
        if found is None:
            return state
        key, entry = found
        (number,) = getattr(entry.value, "data", (0,))
        state = state.meeting(Met(key, entry.value), entry.because)
        return msgspec.structs.replace(state, priority=int(number))

    def _dnat(self, action: Dnat, state: State) -> Outcome:
        values = _values(action.field, state)
        found = self._view.find(self._sets[action.map], values) if values is not None else None
        if found is None:
            return state, None
        key, entry = found
        address, port = getattr(entry.value, "data", (None, None))
        if not isinstance(address, IPAddress) or not isinstance(port, int):
            return state, None
        packet = msgspec.structs.replace(state.packet, destination=address, destination_port=port)
        state = state.meeting(Redirected(key, entry.value), entry.because)
        return msgspec.structs.replace(state, packet=packet), "accept"


_GOING = (None, "accept", "return")


def _is(value: Atom, literal: str) -> bool:
    """Whether a value equals a literal: a word, a number, a range of numbers or a prefix."""
    if isinstance(value, IPv4Address | IPv6Address):
        return value in _prefix(literal)
    first, dash, last = literal.partition("-")
    if dash and first.isdecimal():
        return isinstance(value, int) and int(first) <= value <= int(last)
    return str(value) == literal


@lru_cache
def _prefix(literal: str) -> IPNetwork:
    return parse_prefix(literal)


def _values(field: str, state: State) -> tuple[Atom, ...] | None:
    """The packet's values in these fields; None if it lacks one of them."""
    found: list[Atom] = []
    for part in field.split(" . "):
        value = _value(part, state)
        if value is None:
            return None
        found.append(value)
    return tuple(found)


def _value(field: str, state: State) -> Atom | None:
    packet = state.packet
    protocol, _, name = field.partition(" ")
    if protocol in ("ip", "ip6"):
        if packet.source.version != (4 if protocol == "ip" else 6):
            return None
        own: dict[str, Atom] = {
            "saddr": packet.source,
            "daddr": packet.destination,
            "protocol": packet.protocol.lower(),
            "nexthdr": packet.protocol.lower(),
        }
        return own[name]
    if field == "tcp flags":
        return "syn" if packet.protocol == "TCP" else None
    if protocol in ("tcp", "udp", "sctp"):
        return packet.destination_port if packet.protocol.lower() == protocol else None
    is_icmp = packet.protocol == "ICMP"
    fields: dict[str, Atom | None] = {
        "icmp type": "echo-request" if is_icmp and packet.source.version == 4 else None,
        "icmpv6 type": "echo-request" if is_icmp and packet.source.version == 6 else None,
        "meta iifgroup": state.group,
        "meta iifname": state.link,
        "meta nfproto": f"ipv{packet.source.version}",
        "meta l4proto": packet.protocol.lower(),
        "th dport": packet.destination_port,
        "meta priority": state.priority,
        "ct state": "established" if state.established else "new",
        # Nobody in the tables has a broadcast address.
        "fib daddr type": "unicast",
        "fib saddr type": "local" if state.local else "unicast",
    }
    return fields[field]
