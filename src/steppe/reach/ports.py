"""Sets of ports over all protocols, and how they read.

A set is a sorted tuple of ranges that neither touch nor overlap, so equal sets are equal values.
Protocols without ports, ICMP among them, are one: OTHER with port 0.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import get_args

import msgspec

from steppe.kube.policies import LAST_PORT, PortProtocol
from steppe.policy.guards import OTHER, Piece

PROTOCOLS: tuple[str, ...] = (*get_args(PortProtocol), OTHER)
_LAST = {protocol: 0 if protocol == OTHER else LAST_PORT for protocol in PROTOCOLS}
_TEXT = re.compile(r"(\d+)(?:-(\d+))?(?:/(\w+))?")


class Range(msgspec.Struct, frozen=True, order=True, gc=False):
    """Ports of one protocol, both ends included."""

    protocol: str
    first: int = 0
    last: int = LAST_PORT

    def __str__(self) -> str:
        if self.protocol == OTHER:
            return "ICMP"
        if (self.first, self.last) == (0, LAST_PORT):
            return f"all {self.protocol}"
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol} {ports}"


class PortSet(msgspec.Struct, frozen=True):
    """Some of all the ports there are."""

    ranges: tuple[Range, ...] = ()

    def __and__(self, other: "PortSet") -> "PortSet":
        return _combined(self, other, lambda here, there: here and there)

    def __or__(self, other: "PortSet") -> "PortSet":
        return _combined(self, other, lambda here, there: here or there)

    def __sub__(self, other: "PortSet") -> "PortSet":
        return _combined(self, other, lambda here, there: here and not there)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def holds(self, protocol: str, port: int) -> bool:
        wanted = protocol if protocol in PROTOCOLS else OTHER
        number = 0 if wanted == OTHER else port
        return any(r.protocol == wanted and r.first <= number <= r.last for r in self.ranges)

    def __str__(self) -> str:
        if self == EVERYTHING:
            return "everything"
        missing = (EVERYTHING - self).ranges
        if len(missing) < len(self.ranges):
            return f"everything but {', '.join(map(str, missing))}"
        return ", ".join(map(str, self.ranges)) or "nothing"


def _combined(here: PortSet, there: PortSet, keep: Callable[[bool, bool], bool]) -> PortSet:
    found: list[Range] = []
    for protocol in PROTOCOLS:
        mine = [r for r in here.ranges if r.protocol == protocol]
        theirs = [r for r in there.ranges if r.protocol == protocol]
        cuts = {0, _LAST[protocol] + 1}
        cuts |= {cut for r in (*mine, *theirs) for cut in (r.first, r.last + 1)}
        for first, beyond in pairwise(sorted(cuts)):
            if keep(_in(mine, first), _in(theirs, first)):
                found.append(Range(protocol, first, beyond - 1))
    return PortSet(tuple(_joined(found)))


def _in(ranges: Iterable[Range], port: int) -> bool:
    return any(r.first <= port <= r.last for r in ranges)


def _joined(ranges: Iterable[Range]) -> Iterator[Range]:
    """Neighbouring ranges made one."""
    before: Range | None = None
    for r in ranges:
        if before is None:
            before = r
        elif (before.protocol, before.last + 1) == (r.protocol, r.first):
            before = Range(r.protocol, before.first, r.last)
        else:
            yield before
            before = r
    if before is not None:
        yield before


NOTHING = PortSet()
EVERYTHING = PortSet(tuple(Range(protocol, 0, _LAST[protocol]) for protocol in PROTOCOLS))


def allowed_of(pieces: Iterable[Piece]) -> PortSet:
    """The ports that these pieces of the port space allow."""
    ranges = (Range(piece.protocol, piece.first, piece.last) for piece in pieces if piece.allowed)
    return PortSet(tuple(_joined(ranges)))


def one_port(protocol: str, port: int) -> PortSet:
    """A set of a single port; of OTHER for a protocol that has none."""
    if protocol in get_args(PortProtocol):
        return PortSet((Range(protocol, port, port),))
    return PortSet((Range(OTHER, 0, 0),))


def parse_ports(text: str) -> PortSet:
    """`80`, `53/udp`, `8000-8080/tcp` or `icmp`; ValueError says what is wrong."""
    if text.lower() in ("icmp", OTHER):
        return PortSet((Range(OTHER, 0, 0),))
    found = _TEXT.fullmatch(text)
    protocol = (found[3] or "TCP").upper() if found else ""
    if found is None or protocol not in get_args(PortProtocol):
        raise ValueError(f"{text!r} is no port such as 80, 53/udp, 8000-8080/tcp or icmp")
    first = int(found[1])
    last = int(found[2] or found[1])
    if not 1 <= first <= last <= LAST_PORT:
        raise ValueError(f"{text!r} is not between 1 and {LAST_PORT}")
    return PortSet((Range(protocol, first, last),))
