"""The chains that policies' verdict maps lead to: one chain for each set of ports, not for a
policy.

The name of a chain determines its rules. What a chain does not accept is denied.

    ingress-allow                              everything
    ingress-allow-tcp                          all of TCP
    ingress-allow-tcp-80-8000_8080-udp-53      these ports and ranges of ports
    egress-allow-udp-other                     all of UDP, and every protocol that has no ports
    ingress-denied                             nothing

The number of the peer's identity is stored in the packet's priority: nft has no other field for a
number from a map. It is cleared before the packet goes on.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import ClassVar, Self, get_args

import msgspec

from steppe.dataplane.nft.denied import denied_rules
from steppe.dataplane.nft.service_chains import FAMILIES
from steppe.dataplane.nft.sets import ITSELF, policy_sets
from steppe.kube.policies import Direction
from steppe.net.ports import OTHER, PortProtocol, PortRange
from steppe.state.nft import Chain, Clear, Dispatch, Go, Hook, Match, Recall, Rule

NAME_LIMIT = 255
"""The longest name of a chain, in bytes (NFT_NAME_MAXLEN in nf_tables.h is 256, with the NUL)."""
ACCEPTED = "policy-accepted"

_PROTOCOLS: tuple[str, ...] = get_args(PortProtocol)
_WORDS = {protocol.lower(): protocol for protocol in _PROTOCOLS}
_NO_PORTS = PortRange(OTHER, 0, 0)
EVERYTHING = (*map(PortRange, sorted(_PROTOCOLS)), _NO_PORTS)


class Allowed(msgspec.Struct, frozen=True):
    """The ports that a chain lets through, and its name, which says them all.

    Invariant: the ranges are in order, the protocols without ports last; none touch or overlap.
    """

    direction: str
    ports: tuple[PortRange, ...]

    _SHAPE: ClassVar = re.compile(
        r"(ingress|egress)-allow((?:-(?:tcp|udp|sctp)(?:-[0-9]{1,5}(?:_[0-9]{1,5})?)*)*)(-other)?"
    )

    @property
    def name(self) -> str:
        if not self.ports:
            return denied(self.direction)
        name = f"{self.direction}-allow"
        if {r.protocol for r in self.ports if r.whole or r == _NO_PORTS} == {*_PROTOCOLS, OTHER}:
            return name
        protocols = ("", *(r.protocol for r in self.ports))
        return name + "".join(map(_word, self.ports, protocols))

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """What a name says; None if it is not the name of a chain that lets anything through."""
        found = cls._SHAPE.fullmatch(name)
        if found is None:
            return None
        direction, words, others = found[1], found[2].split("-")[1:], found[3]
        if not words and not others:
            return cls(direction, EVERYTHING)
        return cls(direction, (*_ranges(words), *((_NO_PORTS,) if others else ())))


def _word(ports: PortRange, after: str) -> str:
    """A range in a chain's name, behind one of a protocol."""
    word = "" if ports.protocol == after else f"-{ports.protocol.lower()}"
    if ports.whole or ports == _NO_PORTS:
        return word
    last = "" if ports.first == ports.last else f"_{ports.last}"
    return f"{word}-{ports.first}{last}"


def _ranges(words: list[str]) -> Iterator[PortRange]:
    protocol = ""
    for word, following in pairwise((*words, _PROTOCOLS[0].lower())):
        if word in _WORDS:
            protocol = _WORDS[word]
            if following in _WORDS:
                yield PortRange(protocol)
            continue
        first, _, last = word.partition("_")
        yield PortRange(protocol, int(first), int(last or first))


def denied(direction: str) -> str:
    """The name of the chain that denies everything."""
    return f"{direction}-denied"


def allowing(direction: str, ports: Iterable[PortRange]) -> tuple[str, tuple[PortRange, ...]]:
    """The name of the chain that allows these ports, and the ports that do not fit into a name."""
    kept: list[PortRange] = []
    left_out: list[PortRange] = []
    found = merged(ports)
    if {r.protocol for r in found if r.whole or r == _NO_PORTS} == {*_PROTOCOLS, OTHER}:
        return Allowed(direction, EVERYTHING).name, ()
    room, after = NAME_LIMIT - len(f"{direction}-allow"), ""
    for r in found:
        word = _word(r, after)
        if len(word) > room - (0 if r == _NO_PORTS else len(f"-{OTHER}")):
            left_out.append(r)
        else:
            kept.append(r)
            room, after = room - len(word), r.protocol
    return Allowed(direction, tuple(kept)).name, tuple(left_out)


def merged(ports: Iterable[PortRange]) -> list[PortRange]:
    """The same ports in the fewest possible ranges, sorted."""
    found: list[PortRange] = []
    for r in sorted(ports):
        before = found[-1] if found else None
        if before and before.protocol == r.protocol and r.first <= before.last + 1:
            found[-1] = PortRange(r.protocol, before.first, max(before.last, r.last))
        else:
            found.append(r)
    return found


def ports_chain(name: str) -> Chain | None:
    """The chain of this name; None if it is not the name of a policy chain."""
    found = Allowed.parse(name)
    if found is None:
        return None
    accepted, closed = Go("goto", ACCEPTED), Go("goto", denied(found.direction))
    if found.ports == EVERYTHING:
        return Chain(name, (Rule((), accepted),))
    others = _NO_PORTS in found.ports
    rules = [Rule((_match(r),), accepted) for r in found.ports if r != _NO_PORTS]
    if others:
        rules += (
            Rule((Match("meta l4proto", literal=protocol.lower()),), closed)
            for protocol in _PROTOCOLS
        )
    rules.append(Rule((), accepted if others else closed))
    return Chain(name, tuple(rules))


def _match(ports: PortRange) -> Match:
    protocol = ports.protocol.lower()
    if ports.whole:
        return Match("meta l4proto", literal=protocol)
    last = "" if ports.first == ports.last else f"-{ports.last}"
    return Match(f"{protocol} dport", literal=f"{ports.first}{last}")


def direction_chains(direction: Direction, own: str, peer: str) -> Iterator[Chain]:
    """The fixed chains of a direction, for packets of guarded pods.

    `own` and `peer` are the packet's fields with the pod's own address and with its peer's.
    """
    yield Chain(denied(direction), tuple(denied_rules(direction, own)))
    sets = policy_sets(direction)
    for version, p in FAMILIES:
        yield Chain(
            f"{direction}{version}",
            (
                Rule((), Clear()),
                Rule((), Recall(f"{p} {peer}", sets.block.name(version))),
                Rule((), Recall(f"{p} {peer}", sets.peer.name(version))),
                Rule((), Recall(f"{p} saddr . {p} daddr", ITSELF.name(version))),
                Rule((), Dispatch(f"meta priority . {p} {own}", sets.allowed.name(version))),
                Rule((), Dispatch(f"{p} {own}", sets.anyone.name(version))),
                Rule((), Go("goto", denied(direction))),
            ),
        )


def accepted() -> Chain:
    """The chain at the end of everything that a policy allows."""
    return Chain(ACCEPTED, (Rule((), Clear()), Rule((), "accept")))


def entry(name: str, hook: Hook, direction: Direction, own: str, peer: str) -> Chain:
    """The base chain that sends new connections of guarded pods to a direction's chain.

    "the reply traffic for those allowed connections will also be implicitly allowed"
    (kubernetes.io, Network Policies), and so are errors about them. Conntrack would take an answer
    of a connection that has been ended for the first packet of one in the other direction; the
    first packet of a TCP connection has no ACK flag.
    """
    guarded = policy_sets(direction).guarded
    known = (
        Rule((Match("ct state", literal=state),), "accept") for state in ("established", "related")
    )
    answers = (
        Rule(
            (
                Match("tcp flags", literal="ack"),
                Match(f"{p} {peer}", set=guarded.name(version)),
            ),
            "drop",
            "answers in no connection that is known",
        )
        for version, p in FAMILIES
    )
    led = (
        Rule(
            (Match(f"{p} {own}", set=guarded.name(version)),),
            Go("goto", f"{direction}{version}"),
        )
        for version, p in FAMILIES
    )
    return Chain(name, (*known, *answers, *led), hook)
