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

import msgspec

from steppe.dataplane.nft.denied import denied_rules
from steppe.dataplane.nft.service_chains import FAMILIES
from steppe.dataplane.nft.sets import ITSELF, policy_sets
from steppe.kube.policies import Direction
from steppe.state.nft import Chain, Clear, Dispatch, Go, Hook, Match, Recall, Rule

NAME_LIMIT = 255
"""The longest name of a chain, in bytes (NFT_NAME_MAXLEN in nf_tables.h is 256, with the NUL)."""
LAST_PORT = 65535
OTHER = "other"
"""The span that stands for all protocols without ports."""
ACCEPTED = "policy-accepted"

_PROTOCOLS = ("tcp", "udp", "sctp")
_CHAIN = re.compile(
    r"(?:ingress|egress)-allow((?:-(?:tcp|udp|sctp)(?:-[0-9]{1,5}(?:_[0-9]{1,5})?)*)*)(-other)?"
)


class Span(msgspec.Struct, frozen=True, order=True):
    """A range of ports of one protocol (in nft's word for it), both ends included."""

    protocol: str
    first: int = 0
    last: int = LAST_PORT

    @property
    def whole(self) -> bool:
        return self.first <= 1 and self.last == LAST_PORT


EVERYTHING = (*(Span(protocol) for protocol in sorted(_PROTOCOLS)), Span(OTHER))


def denied(direction: str) -> str:
    """The name of the chain that denies everything."""
    return f"{direction}-denied"


def allowing(direction: str, spans: Iterable[Span]) -> tuple[str, tuple[Span, ...]]:
    """The name of the chain that allows these spans, and the spans that do not fit into a name."""
    found = merged(spans)
    if not found:
        return denied(direction), ()
    name = f"{direction}-allow"
    if {span.protocol for span in found if span.whole} == {*_PROTOCOLS, OTHER}:
        return name, ()
    left_out: list[Span] = []
    protocol = ""
    # The protocols without ports come last: their word is the shortest.
    for span in sorted(found, key=lambda span: (span.protocol == OTHER, span)):
        word = "" if span.protocol == protocol else f"-{span.protocol}"
        ports = str(span.first) if span.first == span.last else f"{span.first}_{span.last}"
        longer = name + word + ("" if span.whole else f"-{ports}")
        if len(longer) > NAME_LIMIT - (0 if span.protocol == OTHER else len(f"-{OTHER}")):
            left_out.append(span)
        else:
            name, protocol = longer, span.protocol
    return name, tuple(left_out)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same ports in the fewest possible spans, sorted."""
    found: list[Span] = []
    for span in sorted(spans):
        before = found[-1] if found else None
        if before and before.protocol == span.protocol and span.first <= before.last + 1:
            found[-1] = Span(span.protocol, before.first, max(before.last, span.last))
        else:
            found.append(span)
    return found


def ports_chain(name: str) -> Chain | None:
    """The chain of this name; None if it is not the name of a policy chain."""
    found = _CHAIN.fullmatch(name)
    if found is None:
        return None
    direction = name.partition("-")[0]
    accepted = Go("goto", ACCEPTED)
    if not found[1] and not found[2]:
        return Chain(name, (Rule((), accepted),))
    words = found[1].removeprefix("-").split("-") if found[1] else []
    rules = [Rule((match,), accepted) for match in _matches(words)]
    if found[2]:
        rules += (
            Rule((Match("meta l4proto", literal=protocol),), Go("goto", denied(direction)))
            for protocol in _PROTOCOLS
        )
    rules.append(Rule((), accepted if found[2] else Go("goto", denied(direction))))
    return Chain(name, tuple(rules))


def _matches(words: list[str]) -> Iterator[Match]:
    protocol = ""
    for word, following in pairwise((*words, "tcp")):
        if word not in _PROTOCOLS:
            yield Match(f"{protocol} dport", literal=word.replace("_", "-"))
            continue
        protocol = word
        if following in _PROTOCOLS:
            yield Match("meta l4proto", literal=protocol)


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
