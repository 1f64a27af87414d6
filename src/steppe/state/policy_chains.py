"""The chains that policies' verdict maps lead to: a chain a set of ports, not a policy.

A chain's name is all there is to it. What it does not accept goes on behind the jump to it.

    allow                              everything
    allow-tcp                          all of TCP
    allow-tcp-80-8000_8080-udp-53      these ports and ranges of ports
"""

import re
from collections.abc import Iterable

import msgspec

from steppe.state.denied import denied_rules
from steppe.state.nft import Chain, Dispatch, Go, Hook, Match, Rule
from steppe.state.service_chains import FAMILIES

NAME_LIMIT = 255
"""Bytes in a chain's name (NFT_NAME_MAXLEN in linux/netfilter/nf_tables.h is 256 with its end)."""
ALLOW = "allow"
LAST_PORT = 65535

_PORTS = re.compile(r"(?:-(?:tcp|udp|sctp)(?:-[0-9]{1,5}(?:_[0-9]{1,5})?)*)+")
_PROTOCOLS = ("tcp", "udp", "sctp")


class Span(msgspec.Struct, frozen=True, order=True):
    """Ports of one protocol, in nft's word for it, both ends included."""

    protocol: str
    first: int = 0
    last: int = LAST_PORT

    @property
    def whole(self) -> bool:
        return self.first <= 1 and self.last == LAST_PORT


def allowing(spans: Iterable[Span]) -> tuple[str, tuple[Span, ...]]:
    """The chain that lets these spans through, and those that its name has no room for."""
    name, left_out = ALLOW, []
    protocol = ""
    for span in merged(spans):
        word = "" if span.protocol == protocol else f"-{span.protocol}"
        ports = str(span.first) if span.first == span.last else f"{span.first}_{span.last}"
        longer = name + word + ("" if span.whole else f"-{ports}")
        if len(longer) > NAME_LIMIT:
            left_out.append(span)
        else:
            name, protocol = longer, span.protocol
    return name, tuple(left_out)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same ports in as few spans as there can be, in order."""
    found: list[Span] = []
    for span in sorted(spans):
        before = found[-1] if found else None
        if before and before.protocol == span.protocol and span.first <= before.last + 1:
            found[-1] = Span(span.protocol, before.first, max(before.last, span.last))
        else:
            found.append(span)
    return found


def ports_chain(name: str) -> Chain | None:
    """The chain of this name; None if the name is none of a policy chain."""
    if name == ALLOW:
        return Chain(name, (Rule((), "accept"),))
    if not name.startswith(ALLOW) or not _PORTS.fullmatch(name.removeprefix(ALLOW)):
        return None
    words = name.removeprefix(f"{ALLOW}-").split("-")
    return Chain(name, tuple(Rule((match,), "accept") for match in _matches(words)))


def _matches(words: list[str]) -> Iterable[Match]:
    protocol = ""
    for word, following in zip(words, [*words[1:], "tcp"], strict=True):
        if word not in _PROTOCOLS:
            yield Match(f"{protocol} dport", literal=word.replace("_", "-"))
            continue
        protocol = word
        if following in _PROTOCOLS:
            yield Match("meta l4proto", literal=protocol)


def direction_chains(direction: str, own: str, peer: str) -> tuple[Chain, ...]:
    """The fixed chains of a direction, from where a packet of an isolated pod comes in.

    `own` and `peer` are the fields that hold the pod's own address and its peer's.
    """
    pods, blocks = f"{direction}-pods", f"{direction}-blocks"
    return (
        *(
            Chain(
                f"{direction}-{kind}s",
                tuple(
                    Rule((), Dispatch(f"{p} {peer} . {p} {own}", f"{direction}_{kind}{version}"))
                    for version, p, _ in FAMILIES
                ),
            )
            for kind in ("pod", "block")
        ),
        Chain(
            direction,
            (
                Rule((), Go("jump", pods)),
                Rule((), Go("jump", blocks)),
                *denied_rules(direction, own),
            ),
        ),
    )


def entry(name: str, hook: Hook, direction: str, own: str) -> Chain:
    """The base chain that leads new connections of isolated pods to a direction's chain.

    "the reply traffic for those allowed connections will also be implicitly allowed"
    (kubernetes.io, Network Policies), and so are errors about them.
    """
    known = (
        Rule((Match("ct state", literal=state),), "accept") for state in ("established", "related")
    )
    isolated = (
        Rule((Match(f"{p} {own}", set=f"{direction}_isolated{version}"),), Go("goto", direction))
        for version, p, _ in FAMILIES
    )
    return Chain(name, (*known, *isolated), hook)
