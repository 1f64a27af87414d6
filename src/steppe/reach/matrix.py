"""The matrix of groups: who may send to whom on which ports, for all pairs.

An egress guard divides all receivers, and an ingress guard all senders, into the few parts that its
rules distinguish; a part is a bit mask. A pair is allowed what both ends allow:

    sender's egress guard:     receivers  ▓▓▓▓░░░░    each part with its ports
    receiver's ingress guard:  senders    ░▓▓░░░▓▓

So nothing is computed pair by pair: a row of the matrix is the intersection of a few masks with
others. Exceptions for single ends (a pod and itself, a pod and its own node) are made in reach.py.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from steppe.judge.classes import (
    DIRECTIONS,
    VERSIONS,
    Numbered,
    PolicyClass,
    PolicyClasses,
    Unsure,
    pieces_of,
)
from steppe.judge.pieces import allowed_of
from steppe.kube.cause import Cause
from steppe.kube.policies import Direction, PortName
from steppe.net.ports import EVERYTHING, NOTHING, PortSet
from steppe.policy.guards import Guard

Mask = int
"""A set of numbers, one bit each."""


class Row(msgspec.Struct, frozen=True):
    """Senders that reach the same ports of one receiver; None for a family they do not share.

    `unknown`: further ports, of which it is not known whether they reach them. `always`: no policy
    can keep them out (a pod and itself, a node and its own pods).
    """

    senders: Mask
    v4: PortSet | None
    v6: PortSet | None
    unknown: PortSet = NOTHING
    always: bool = False

    @property
    def ports(self) -> PortSet:
        """The ports that work in all families that the ends have in common."""
        both = [found for found in (self.v4, self.v6) if found is not None]
        return both[0] & both[-1]

    def version(self, version: int) -> PortSet | None:
        return self.v4 if version == 4 else self.v6


class _Part(msgspec.Struct, frozen=True):
    """Identities that one guard treats equally, and the number of the port set it allows them."""

    identities: Mask
    ports: int


class _Egress(msgspec.Struct, frozen=True):
    """What senders' egress guards allow, in one family.

    `usual`: port set → senders, for receivers that no rule of the senders distinguishes.
    `unusual`: receiver → senders whose port set for this receiver is another one.
    """

    usual: Mapping[int, Mask]
    unusual: Mapping[int, Sequence[tuple[Mask, int, int]]]


def bits(mask: Mask) -> Iterator[int]:
    """The numbers in a mask, in order."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


class Matrix:
    """The matrix over these ends; None is an end that does not exist.

    Invariant: it depends on the classes alone; computed rows are cached and never change.
    """

    def __init__(self, classes: PolicyClasses, ends: Sequence[PolicyClass | None]) -> None:
        self._classes = classes
        self._ends = tuple(ends)
        self._sets: Numbered[PortSet] = Numbered()
        self._both: dict[tuple[int, int], int] = {}
        self._taking = {d: _taking(classes, d) for d in DIRECTIONS}
        self._unsure = {d: _unsure(classes, d) for d in DIRECTIONS}
        self._parts_of: dict[tuple[Direction, int], tuple[_Part, ...]] = {}
        self._holding = {
            (direction, version): self._holders(direction, version)
            for direction in DIRECTIONS
            for version in VERSIONS
        }
        self._present = {
            version: _mask(i for i, end in enumerate(self._ends) if end and end.side(version))
            for version in VERSIONS
        }
        self._egress = {version: self._all_egress(version) for version in VERSIONS}
        self._ingress: dict[tuple[int, int], Mapping[int, Mask]] = {}
        self._senders_to: dict[tuple[int, int, str, int], Mask] = {}

    def towards(self, receiver: int, version: int) -> Mapping[PortSet, Mask]:
        """Port set → the senders that reach it on a receiver.

        Every end of this family is in one mask.
        """
        end = self._ends[receiver]
        if end is None or end.side(version) is None:
            return {}
        egress = self._egress_towards(receiver, version)
        found: dict[int, Mask] = {}
        for ports, senders in self._ingress_parts(end.ingress, version).items():
            for own, allowed in egress.items():
                together = senders & allowed
                if together:
                    number = self._intersection(ports, own)
                    found[number] = found.get(number, 0) | together
        return {self._sets.values[number]: senders for number, senders in found.items()}

    def rows(self, receiver: int, senders: Mask, wanted: PortSet = EVERYTHING) -> Iterator[Row]:
        """The rows of a receiver for both families together, for some senders and ports."""
        four, six = (self._with_absent(receiver, version, wanted) for version in VERSIONS)
        for v4, some in four.items():
            for v6, others in six.items():
                together = some & others & senders
                if together and (v4 is not None or v6 is not None):
                    yield Row(together, v4, v6)

    def senders_to(self, receiver: int, version: int, protocol: str, port: int) -> Mask:
        """The senders that reach one port of a receiver."""
        key = (receiver, version, protocol, port)
        if key not in self._senders_to:
            self._senders_to[key] = _union(
                senders
                for ports, senders in self.towards(receiver, version).items()
                if ports.holds(protocol, port)
            )
        return self._senders_to[key]

    def present(self, version: int) -> Mask:
        """The ends that have an address of this family."""
        return self._present[version]

    def _with_absent(
        self, receiver: int, version: int, wanted: PortSet
    ) -> dict[PortSet | None, Mask]:
        """`towards`, with None for senders if they or the receiver lack this family."""
        found: dict[PortSet | None, Mask] = {None: ~0}
        for ports, senders in self.towards(receiver, version).items():
            cut = ports if wanted == EVERYTHING else ports & wanted
            found[cut] = found.get(cut, 0) | senders
            found[None] &= ~senders
        return found

    def _intersection(self, one: int, other: int) -> int:
        key = (one, other) if one <= other else (other, one)
        if key not in self._both:
            both = self._sets.values[one] & self._sets.values[other]
            self._both[key] = self._sets.number(both)
        return self._both[key]

    def _holders(self, direction: Direction, version: int) -> Mapping[int, Mask]:
        """Identity number → the ends that have this identity for guards of this direction."""
        found: dict[int, Mask] = {}
        for index, end in enumerate(self._ends):
            side = end.side(version) if end is not None else None
            if side is not None:
                identity = side.sender if direction == "ingress" else side.receiver
                found[identity] = found.get(identity, 0) | 1 << index
        return found

    def _parts(self, direction: Direction, guard: int) -> tuple[_Part, ...]:
        """The parts into which a guard divides identities, the largest first."""
        key = (direction, guard)
        if key not in self._parts_of:
            value = self._classes.guards[direction].values[guard]
            identities = self._classes.identities[direction].values
            found: dict[int, Mask] = {}
            for mask in self._told_apart(direction, value):
                alike = identities[(mask & -mask).bit_length() - 1]
                ports = self._sets.number(allowed_of(pieces_of(value, alike)))
                found[ports] = found.get(ports, 0) | mask
            parts = (_Part(mask, ports) for ports, mask in found.items())
            self._parts_of[key] = tuple(sorted(parts, key=lambda p: -p.identities.bit_count()))
        return self._parts_of[key]

    def _told_apart(self, direction: Direction, guard: Guard) -> list[Mask]:
        masks = [(1 << len(self._classes.identities[direction].values)) - 1]
        entries = (*guard.admin, *guard.allowing, *guard.baseline)
        for cause in dict.fromkeys(entry.cause for entry in entries if not entry.for_anyone):
            masks = _split(masks, self._taking[direction].get(cause, 0))
        if direction == "egress" and any(isinstance(p, PortName) for e in entries for p in e.ports):
            for mask in _by_ports(self._classes):
                masks = _split(masks, mask)
        for mask in self._unsure[direction]:
            masks = _split(masks, mask)
        return masks

    def _lifted(self, direction: Direction, guard: int, version: int) -> Iterator[tuple[int, Mask]]:
        """A guard's parts as port sets and masks of ends; the largest is the rest of all others."""
        holding = self._holding[direction, version]
        usual, *others = self._parts(direction, guard)
        left = self._present[version]
        for part in others:
            ends = _union(holding.get(identity, 0) for identity in bits(part.identities))
            left &= ~ends
            yield part.ports, ends
        yield usual.ports, left

    def _ingress_parts(self, guard: int, version: int) -> Mapping[int, Mask]:
        key = (guard, version)
        if key not in self._ingress:
            self._ingress[key] = dict(self._lifted("ingress", guard, version))
        return self._ingress[key]

    def _all_egress(self, version: int) -> _Egress:
        by_guard: dict[int, Mask] = {}
        for index, end in enumerate(self._ends):
            if end is not None and end.side(version) is not None:
                by_guard[end.egress] = by_guard.get(end.egress, 0) | 1 << index
        usual: dict[int, Mask] = {}
        unusual: dict[int, list[tuple[Mask, int, int]]] = {}
        for guard, senders in by_guard.items():
            *others, (normal, _) = self._lifted("egress", guard, version)
            usual[normal] = usual.get(normal, 0) | senders
            for ports, receivers in others:
                for receiver in bits(receivers):
                    unusual.setdefault(receiver, []).append((senders, normal, ports))
        return _Egress(usual, unusual)

    def _egress_towards(self, receiver: int, version: int) -> Mapping[int, Mask]:
        known = self._egress[version]
        found = dict(known.usual)
        for senders, normal, ports in known.unusual.get(receiver, ()):
            found[normal] &= ~senders
            found[ports] = found.get(ports, 0) | senders
        return found


def _taking(classes: PolicyClasses, direction: Direction) -> Mapping[Cause, Mask]:
    """Rule → the identities that it matches."""
    found: dict[Cause, Mask] = {}
    for index, identity in enumerate(classes.identities[direction].values):
        for cause in identity.rules:
            found[cause] = found.get(cause, 0) | 1 << index
    return found


def _unsure(classes: PolicyClasses, direction: Direction) -> tuple[Mask, ...]:
    """Masks of the identities that are not sure, by what they are not sure of."""
    found: dict[object, Mask] = {}
    for index, identity in enumerate(classes.identities[direction].values):
        if isinstance(identity, Unsure):
            key = (identity.passing, identity.bound)
            found[key] = found.get(key, 0) | 1 << index
    return tuple(found.values())


def _by_ports(classes: PolicyClasses) -> Iterable[Mask]:
    """Masks of receivers' identities with equal named ports."""
    found: dict[object, Mask] = {}
    for index, identity in enumerate(classes.identities["egress"].values):
        found[identity.ports] = found.get(identity.ports, 0) | 1 << index
    return found.values()


def _split(masks: Iterable[Mask], by: Mask) -> list[Mask]:
    return [part for mask in masks for part in (mask & by, mask & ~by) if part]


def _union(masks: Iterable[Mask]) -> Mask:
    found = 0
    for mask in masks:
        found |= mask
    return found


def _mask(numbers: Iterable[int]) -> Mask:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found
