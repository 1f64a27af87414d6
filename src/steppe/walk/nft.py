"""Walks a packet through one node's nft chains: all possible outcomes with their probabilities.

The rules are values (state/nft.py). They are executed one by one, without knowledge of their
purpose. If a rule chooses at random, the walk continues with each choice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

from steppe.dataplane.nft.edges import RAW, STRAY
from steppe.kube.cause import Cause
from steppe.net.address import IPAddress, parse_prefix
from steppe.net.packet import Packet, Protocol
from steppe.state.nft import (
    Action,
    Atom,
    Chain,
    Choose,
    Clear,
    Count,
    Dispatch,
    Dnat,
    ElementKey,
    Forget,
    Go,
    Log,
    Marked,
    Match,
    Recall,
    Reject,
    Remember,
    Rule,
    SetMark,
    Skeleton,
)
from steppe.state.node import NodeEntry
from steppe.walk.trace import Applied, Met, Redirected, What
from steppe.walk.view import NodeView

Ending = Literal["accept", "drop", "return", "masquerade", "reject"]


class State(msgspec.Struct, frozen=True):
    """A packet during the walk: its current fields, their probability, and the elements it met.

    `local`: its source is an address of the node. `established`: it belongs to a connection that
    conntrack knows. `link` and `group`: the link it came in by and its group, if that is Steppe's.
    `carried_by`: of a tunnel's outer packet its IP protocol, in nft's words; else "".
    `came`: the source it came in with, where conntrack gives it another one as it leaves.
    """

    packet: Packet
    link: str = ""
    group: int = 0
    local: bool = False
    established: bool = False
    mark: int = 0
    priority: int = 0
    carried_by: str = ""
    share: Fraction = Fraction(1)
    met: tuple[tuple[What, tuple[Cause, ...]], ...] = ()
    came: IPAddress | None = None

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
        self._view = view

    def hook(self, point: str, state: State, *, raw: bool = False) -> tuple[Outcome, ...]:
        """The outcomes of the base chains at a hook; without a verdict a packet is accepted.

        `raw`: those of `prerouting` that come before conntrack, and no others.
        """
        states = [state]
        ended: list[Outcome] = []
        for chain in self._skeleton.base_chains(point):
            if chain.hook is None or (chain.hook.priority <= RAW) != raw:
                continue
            outcomes = [outcome for each in states for outcome in self._chain(chain, each)]
            ended += [(each, ending) for each, ending in outcomes if ending not in _GOING]
            states = [each for each, ending in outcomes if ending in _GOING]
        return (*ended, *((each, "accept") for each in states))

    def _chain(self, chain: Chain, state: State, at: int = 0) -> Iterator[Outcome]:
        """The outcomes of a chain's rules from this one on; None as the ending: at its end."""
        for number in range(at, len(chain.rules)):
            rule = chain.rules[number]
            because = self._matching(rule, state)
            if because is None:
                continue
            for then, ending in self._applied(rule, state, because):
                if ending is None:
                    yield from self._chain(chain, then, number + 1)
                else:
                    yield then, ending
            return
        yield state, None

    def _matching(self, rule: Rule, state: State) -> tuple[Cause, ...] | None:
        """The causes of the elements that matched; None if the rule does not match the packet."""
        because: tuple[Cause, ...] = ()
        for match in rule.matches:
            found = _condition(match)(self, state)
            if found is None:
                return None
            because += found
        return because

    def _applied(self, rule: Rule, state: State, because: tuple[Cause, ...]) -> Iterable[Outcome]:
        if because or isinstance(rule.action, str | Reject):
            state = state.meeting(Applied(rule), tuple(dict.fromkeys(because)))
        return self._act(rule.action, state)

    def find(self, name: str, values: tuple[Atom, ...]) -> tuple[ElementKey, NodeEntry] | None:
        """The element of a set or map for these values."""
        return self._view.find(self._skeleton.sets_by_name[name], values)

    def _element(self, name: str, field: str, state: State) -> tuple[ElementKey, NodeEntry] | None:
        """The element of a map for the packet's values in these fields."""
        values = _values(field)(state)
        if values is None:
            return None
        return self.find(name, values)

    def strayed(self, state: State) -> tuple[Cause, ...] | None:
        """The causes of a link by which the packet's sender is not reached; None where it is."""
        packet = state.packet
        found = self._view.route(packet.destination, packet.source)
        if found is not None and any(hop.link == state.link for hop in found.route.hops):
            return None
        return self._view.link_causes(state.link)

    def _act(self, action: Action, state: State) -> Iterable[Outcome]:
        found: Iterable[Outcome] = ((state, None),)
        match action:
            case SetMark(bits):
                found = ((msgspec.structs.replace(state, mark=state.mark | bits), None),)
            case Choose(of):
                share = state.share / of
                found = [
                    (msgspec.structs.replace(state, priority=number, share=share), None)
                    for number in range(of)
                ]
            case Clear():
                found = ((msgspec.structs.replace(state, priority=0), None),)
            case Recall(field, name):
                found = ((self._recall(field, name, state), None),)
            case Remember() | Forget() | Count() | Log():
                pass  # no effect on this packet
            case Reject():
                found = ((state, "reject"),)
            case Go(how, name):
                found = self._go(how, name, state)
            case Dispatch(field, name):
                found = self._dispatch(field, name, state)
            case Dnat():
                found = (self._dnat(action, state),)
            case _:
                found = ((state, action),)
        return found

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
        found = self._element(name, field, state)
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
        found = self._element(name, field, state)
        if found is None:
            return state
        key, entry = found
        (number,) = getattr(entry.value, "data", (0,))
        state = state.meeting(Met(key, entry.value), entry.because)
        return msgspec.structs.replace(state, priority=int(number))

    def _dnat(self, action: Dnat, state: State) -> Outcome:
        found = self._element(action.map, action.field, state)
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


Condition = Callable[[Ruleset, State], tuple[Cause, ...] | None]
"""The causes of the element that matched, () if the match looks up none; None for no match."""


@cache
def _condition(match: Match | Marked) -> Condition:
    if isinstance(match, Marked):
        bits = match.bits
        return lambda _, state: () if state.mark & bits == bits else None
    if match.field == STRAY:
        return Ruleset.strayed
    return _in_set(match) if match.set else _literal(match)


def _literal(match: Match) -> Condition:
    """Whether a packet has this value; never if it has no such field."""
    (read,), negate = _readers(match.field), match.negate
    is_it = _is(match.literal)

    def matched(_: Ruleset, state: State) -> tuple[Cause, ...] | None:
        value = read(state)
        return () if value is not None and is_it(value) != negate else None

    return matched


def _in_set(match: Match) -> Condition:
    name, read, negate = match.set, _values(match.field), match.negate

    def matched(rules: Ruleset, state: State) -> tuple[Cause, ...] | None:
        values = read(state)
        if values is None:
            return None
        found = rules.find(name, values)
        if (found is None) != negate:
            return None
        return found[1].because if found is not None else ()

    return matched


def _is(literal: str) -> Callable[[Atom], bool]:
    """Whether a value equals a literal: a word, a number, a range of numbers or a prefix."""
    first, dash, last = literal.partition("-")
    if "/" in literal:
        return parse_prefix(literal).__contains__
    if dash and first.isdecimal():
        return range(int(first), int(last) + 1).__contains__
    # nft's name for priority 0.
    word = "0" if literal == "none" else literal
    return {word, int(word) if word.isdecimal() else word}.__contains__


@cache
def _values(field: str) -> Callable[[State], tuple[Atom, ...] | None]:
    """The packet's values in these fields; None if it lacks one of them."""
    readers = _readers(field)

    def values(state: State) -> tuple[Atom, ...] | None:
        found: tuple[Atom, ...] = ()
        for read in readers:
            value = read(state)
            if value is None:
                return None
            found = (*found, value)
        return found

    return values


Reader = Callable[[State], Atom | None]
"""The packet's value in one field; None if it has no such field."""


@cache
def _readers(field: str) -> tuple[Reader, ...]:
    """One for each of the fields that nft's syntax joins with dots; KeyError for an unknown one."""
    return tuple(_READERS[part] for part in field.split(" . "))


def _protocol(state: State) -> str:
    return state.carried_by or state.packet.protocol.lower()


def _of_version(version: int, read: Reader) -> Reader:
    kind = IPv4Address if version == 4 else IPv6Address
    return lambda state: read(state) if type(state.packet.source) is kind else None


def _of_protocol(protocol: Protocol, read: Reader) -> Reader:
    word = protocol.lower()
    return lambda state: read(state) if _protocol(state) == word else None


def _port(state: State) -> int:
    return state.packet.destination_port


def _echo_request(_: State) -> str:
    return "echo-request"


_ADDRESSES: Mapping[str, Reader] = {
    "saddr": lambda state: state.packet.source,
    "daddr": lambda state: state.packet.destination,
}
_READERS: Mapping[str, Reader] = {
    **{f"ip {name}": _of_version(4, read) for name, read in _ADDRESSES.items()},
    **{f"ip6 {name}": _of_version(6, read) for name, read in _ADDRESSES.items()},
    "ip protocol": _of_version(4, _protocol),
    "ip6 nexthdr": _of_version(6, _protocol),
    "tcp flags": _of_protocol("TCP", lambda _: "syn"),
    "tcp dport": _of_protocol("TCP", _port),
    "udp dport": _of_protocol("UDP", _port),
    "sctp dport": _of_protocol("SCTP", _port),
    "th dport": _port,
    "icmp type": _of_version(4, _of_protocol("ICMP", _echo_request)),
    "icmpv6 type": _of_version(6, _of_protocol("ICMP", _echo_request)),
    "meta iifgroup": lambda state: state.group,
    "meta iifname": lambda state: state.link,
    "meta nfproto": lambda state: f"ipv{state.packet.source.version}",
    "meta l4proto": _protocol,
    "meta priority": lambda state: state.priority,
    # A walked packet is never an error in another connection, so nothing is asked of one.
    **{
        f"ct {way} {family} saddr": lambda _: None
        for way in ("original", "reply")
        for family in ("ip", "ip6")
    },
    "ct state": lambda state: "established" if state.established else "new",
    # Nobody in the tables has a broadcast address.
    "fib daddr type": lambda _: "unicast",
    "fib saddr type": lambda state: "local" if state.local else "unicast",
}
