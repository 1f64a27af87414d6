"""Ranges and sets of destination ports of all protocols, and their text form.

A set is a sorted tuple of ranges that neither touch nor overlap, so equal sets are equal values.
All protocols without ports, such as ICMP, are represented by one: OTHER, with port 0.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Literal, Self, get_args

import msgspec

PortProtocol = Literal["TCP", "UDP", "SCTP"]
LAST_PORT = 65535
OTHER = "other"
"""Stands for every protocol without ports, such as ICMP."""
PROTOCOLS: tuple[str, ...] = (*get_args(PortProtocol), OTHER)
_LAST = {protocol: 0 if protocol == OTHER else LAST_PORT for protocol in PROTOCOLS}
_TEXT = re.compile(r"(\d+)(?:-(\d+))?(?:/(\w+))?")


class PortRange(msgspec.Struct, frozen=True, order=True, gc=False):
    """Ports of one protocol, both ends included."""

    protocol: str
    first: int = 0
    last: int = LAST_PORT

    @property
    def whole(self) -> bool:
        """Whether this is every port of the protocol: 1 to 65535, or 0 for OTHER."""
        return self.first <= 1 and self.last == LAST_PORT

    def holds(self, protocol: str, port: int) -> bool:
        return self.protocol == protocol and self.first <= port <= self.last

    def __str__(self) -> str:
        if self.protocol == OTHER:
            return "ICMP"
        if (self.first, self.last) == (0, LAST_PORT):
            return f"all {self.protocol}"
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol} {ports}"


class PortSet(msgspec.Struct, frozen=True):
    """A set of ports over all protocols."""

    ranges: tuple[PortRange, ...] = ()

    def __and__(self, other: "PortSet") -> "PortSet":
        return _combined(self, other, lambda here, there: here and there)

    def __or__(self, other: "PortSet") -> "PortSet":
        return _combined(self, other, lambda here, there: here or there)

    def __sub__(self, other: "PortSet") -> "PortSet":
        return _combined(self, other, lambda here, there: here and not there)

    @classmethod
    def of(cls, ranges: Iterable[PortRange]) -> Self:
        """The set of ranges that are in order and do not overlap; neighbours may touch."""
        return cls(tuple(_joined(ranges)))

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def holds(self, protocol: str, port: int) -> bool:
        wanted = protocol if protocol in PROTOCOLS else OTHER
        number = 0 if wanted == OTHER else port
        return any(range_.holds(wanted, number) for range_ in self.ranges)

    def __str__(self) -> str:
        if self == EVERYTHING:
            return "everything"
        missing = (EVERYTHING - self).ranges
        if len(missing) < len(self.ranges):
            return f"everything but {', '.join(map(str, missing))}"
        return ", ".join(map(str, self.ranges)) or "nothing"


def _combined(here: PortSet, there: PortSet, keep: Callable[[bool, bool], bool]) -> PortSet:
    found: list[PortRange] = []
    for protocol in PROTOCOLS:
        mine = [r for r in here.ranges if r.protocol == protocol]
        theirs = [r for r in there.ranges if r.protocol == protocol]
        cuts = {0, _LAST[protocol] + 1}
        cuts |= {cut for r in (*mine, *theirs) for cut in (r.first, r.last + 1)}
        for first, beyond in pairwise(sorted(cuts)):
            if keep(_in(mine, first), _in(theirs, first)):
                found.append(PortRange(protocol, first, beyond - 1))
    return PortSet(tuple(_joined(found)))


def _in(ranges: Iterable[PortRange], port: int) -> bool:
    return any(r.first <= port <= r.last for r in ranges)


def _joined(ranges: Iterable[PortRange]) -> Iterator[PortRange]:
    """The ranges with neighbours joined."""
    before: PortRange | None = None
    for r in ranges:
        if before is None:
            before = r
        elif (before.protocol, before.last + 1) == (r.protocol, r.first):
            before = PortRange(r.protocol, before.first, r.last)
        else:
            yield before
            before = r
    if before is not None:
        yield before


NOTHING = PortSet()
EVERYTHING = PortSet(tuple(PortRange(protocol, 0, _LAST[protocol]) for protocol in PROTOCOLS))


def one_port(protocol: str, port: int) -> PortSet:
    """The set of this one port; of OTHER if the protocol has no ports."""
    if protocol in get_args(PortProtocol):
        return PortSet((PortRange(protocol, port, port),))
    return PortSet((PortRange(OTHER, 0, 0),))


def parse_ports(text: str) -> PortSet:
    """`80`, `53/udp`, `8000-8080/tcp` or `icmp`; ValueError says what is wrong."""
    if text.lower() in ("icmp", OTHER):
        return PortSet((PortRange(OTHER, 0, 0),))
    found = _TEXT.fullmatch(text)
    protocol = (found[3] or "TCP").upper() if found else ""
    if found is None or protocol not in get_args(PortProtocol):
        raise ValueError(f"{text!r} is no port such as 80, 53/udp, 8000-8080/tcp or icmp")
    first = int(found[1])
    last = int(found[2] or found[1])
    if not (1 <= first <= LAST_PORT and 1 <= last <= LAST_PORT):
        raise ValueError(f"{text!r} is not between 1 and {LAST_PORT}")
    if first > last:
        raise ValueError(f"{text!r} begins after its end; write the smaller port first")
    return PortSet((PortRange(protocol, first, last),))
