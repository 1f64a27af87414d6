"""What a change of the cluster does to who reaches whom: reach(after) - reach(before).

Groups are ends that no policy distinguishes in either state. So a mask means the same ends before
and after, and the two matrices are compared row by row, not pair by pair. An end that exists in one
state only gains or loses everything that it reaches.

What is not known in one state is no change, and not none: it is told apart.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec

from steppe.judge.classes import EGRESS, INGRESS, VERSIONS, PolicyClass
from steppe.judge.judge import DEFAULTS, Judge, judge_of
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.doubt import Doubt
from steppe.net.ports import EVERYTHING, NOTHING, PortSet
from steppe.reach.doubts import doubts_of, service_doubts
from steppe.reach.flows import deciding
from steppe.reach.groups import Group, Kind, Member, classed_members, named_prefixes
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import member_name
from steppe.reach.offer_changes import OfferChange, offer_changes
from steppe.reach.reach import Reach
from steppe.reach.touched import Touched
from steppe.settings import Settings

_ASKED = 16
"""Causes are collected for this many senders of a change."""


class Gain(msgspec.Struct, frozen=True):
    """The ports that a change opens and closes, in one family, and those that it may open or close:
    in one of the states it is not known what policies say of them.
    """

    opened: PortSet = NOTHING
    closed: PortSet = NOTHING
    may_open: PortSet = NOTHING
    may_close: PortSet = NOTHING

    def __bool__(self) -> bool:
        return bool(self.opened or self.closed or self.unknown)

    @property
    def unknown(self) -> PortSet:
        return self.may_open | self.may_close


class Because(msgspec.Struct, frozen=True):
    """The causes of a change: the objects that decide after it, or that decided before it."""

    now: tuple[Cause, ...] = ()
    before: tuple[Cause, ...] = ()


class FlowChange(msgspec.Struct, frozen=True):
    """The change for some senders to one receiver, for each family."""

    receiver: int
    senders: Mask
    v4: Gain
    v6: Gain

    @property
    def opened(self) -> PortSet:
        return self.v4.opened | self.v6.opened

    @property
    def closed(self) -> PortSet:
        return self.v4.closed | self.v6.closed

    @property
    def may_open(self) -> PortSet:
        return self.v4.may_open | self.v6.may_open

    @property
    def may_close(self) -> PortSet:
        return self.v4.may_close | self.v6.may_close

    @property
    def unknown(self) -> PortSet:
        return self.may_open | self.may_close


class _Bounds(NamedTuple):
    """What policies allow in one state: at least, and at most."""

    least: PortSet
    most: PortSet


class Difference:
    """Compares two states of one cluster, with the same groups in both.

    Invariant: a group has the same index in both states, so a mask means the same ends before and
    after.
    """

    def __init__(
        self,
        before: Cluster,
        after: Cluster,
        wanted: PortSet = EVERYTHING,
        settings: Settings = DEFAULTS,
        mark: Callable[[Member], object] = lambda _: None,
    ) -> None:
        """`settings` say what objects may claim; `mark` keeps members apart although no policy
        does.
        """
        joined = _joined(judge_of(before, settings), judge_of(after, settings), mark)
        self.before = Reach(joined.before, joined.old, wanted)
        self.after = Reach(joined.after, joined.new, wanted)
        self.groups = joined.groups
        self.wanted = wanted
        self.certain = self.before.certain and self.after.certain
        self.touched = Touched(self.before, self.after)
        self._known: dict[tuple[_Bounds, _Bounds, bool], Gain] = {}

    def flows(self) -> Iterator[FlowChange]:
        """Everything that opens or closes, except flows without a pod at either end."""
        steady, pods = self._steady(), self.after.of_kind("pods")
        for receiver in bits(steady):
            four, six = (self._gains(receiver, version) for version in VERSIONS)
            senders = pods if self.groups[receiver].kind != "pods" else steady
            for v4, some in four.items():
                for v6, others in six.items():
                    together = some & others & senders
                    if together and (v4 or v6):
                        yield FlowChange(receiver, together, v4, v6)

    def because(self, change: FlowChange, *, opened: bool) -> Because:
        """The objects that decide so after the change, or else those that decided before."""
        ports = change.opened if opened else change.closed
        now = self._causes(self.after, change, ports, allowed=opened)
        if now:
            return Because(now)
        return Because((), self._causes(self.before, change, ports, allowed=not opened))

    def _causes(
        self, reach: Reach, change: FlowChange, ports: PortSet, *, allowed: bool
    ) -> tuple[Cause, ...]:
        found: dict[Cause, None] = {}
        for sender in islice(bits(change.senders), _ASKED):
            for version in VERSIONS:
                pieces = reach.pieces(sender, change.receiver, version)
                found |= dict.fromkeys(deciding(pieces, ports, allowed=allowed))
        return tuple(found)

    def families(self, change: FlowChange) -> frozenset[str]:
        """The families that any of the senders has in common with the receiver, in either state."""
        return frozenset(
            f"IPv{version}"
            for version in VERSIONS
            if any(
                known.matrix.present(version) >> change.receiver & 1
                and known.matrix.present(version) & change.senders
                for known in (self.before, self.after)
            )
        )

    def doubts(self, change: FlowChange) -> tuple[Doubt, ...]:
        """What it hangs on whether this changes: the doubts about its ends, in either state."""
        found: dict[Doubt, None] = {}
        for reach in (self.before, self.after):
            for sender in islice(bits(change.senders), _ASKED):
                found |= dict.fromkeys(doubts_of(reach, reach.groups[sender].members[:1], EGRESS))
            receivers = reach.groups[change.receiver].members[:1]
            found |= dict.fromkeys(doubts_of(reach, receivers, INGRESS))
        return tuple(found)

    def offer_doubts(self, change: OfferChange) -> tuple[Doubt, ...]:
        """The same for a Service's port."""
        found: dict[Doubt, None] = {}
        namespace, _, name = change.service.partition("/")
        for reach in (self.before, self.after):
            service = reach.cluster.services.get((namespace, name))
            if service is not None:
                found |= dict.fromkeys(service_doubts(reach, service))
            for sender in islice(bits(change.senders), _ASKED):
                found |= dict.fromkeys(doubts_of(reach, reach.groups[sender].members[:1], EGRESS))
        return tuple(found)

    def is_new(self, group: int) -> bool:
        return self.before.class_of_group[group] is None

    def is_gone(self, group: int) -> bool:
        return self.after.class_of_group[group] is None

    def offers(self) -> Iterator[OfferChange]:
        """Every Service port at which some sender's result changes."""
        yield from offer_changes(self.before, self.after, self.groups, self.touched)

    @property
    def _everyone(self) -> Mask:
        return (1 << len(self.groups)) - 1

    def _steady(self) -> Mask:
        """All groups except prefixes that are outside in only one of the states."""
        states = zip(
            self.groups, self.before.class_of_group, self.after.class_of_group, strict=True
        )
        return sum(
            1 << number
            for number, (group, was, will) in enumerate(states)
            if group.kind != "outside" or (was is not None and will is not None)
        )

    def _gains(self, receiver: int, version: int) -> Mapping[Gain, Mask]:
        old, new = (self._bounds(reach, receiver, version) for reach in (self.before, self.after))
        touched = 0 if self.certain else self.touched.senders
        if not self.certain and self.touched.receivers >> receiver & 1:
            touched = self._everyone
        found: dict[Gain, Mask] = {}
        for before, some in old.items():
            for after, others in new.items():
                for is_touched, these in ((True, touched), (False, ~touched)):
                    together = some & others & these
                    if together:
                        gain = self._gain(before, after, touched=is_touched)
                        found[gain] = found.get(gain, 0) | together
        return found

    def _bounds(self, reach: Reach, receiver: int, version: int) -> Mapping[_Bounds, Mask]:
        """What policies allow at least and at most → the senders of which this is true."""
        least = _complete(reach.matrix.towards(receiver, version), self._everyone)
        if reach.certain:
            return {_Bounds(ports, ports): senders for ports, senders in least.items()}
        most = _complete(reach.possible.towards(receiver, version), self._everyone)
        return {
            _Bounds(ports, perhaps): some & others
            for ports, some in least.items()
            for perhaps, others in most.items()
            if some & others
        }

    def _gain(self, before: _Bounds, after: _Bounds, *, touched: bool) -> Gain:
        key = (before, after, touched)
        if key not in self._known:
            opened, closed = after.least - before.most, before.least - after.most
            still = NOTHING  # what is not known in both states, and stays as it is
            if not touched:
                still = (before.most - before.least) & (after.most - after.least)
            may_open = after.most - before.least - opened - still
            may_close = before.most - after.least - closed - still
            self._known[key] = Gain(
                *(ports & self.wanted for ports in (opened, closed, may_open, may_close))
            )
        return self._known[key]


class _Joined(msgspec.Struct, frozen=True):
    """The same groups before, after, and joined; a member is in each state in which it exists."""

    before: Judge
    after: Judge
    groups: tuple[Group, ...]
    old: tuple[tuple[Group, PolicyClass | None], ...]
    new: tuple[tuple[Group, PolicyClass | None], ...]


_Side = Mapping[str, tuple[Kind, Member, PolicyClass]]


def _joined(before: Judge, after: Judge, mark: Callable[[Member], object]) -> _Joined:
    """The ends of both states, grouped by their classes in both."""
    judges = (before, after)
    prefixes = frozenset().union(*(named_prefixes(j.cluster, j.classes) for j in judges))
    old, new = (
        {member_name(known[1]): known for known in classed_members(j.cluster, j.classes, prefixes)}
        for j in judges
    )
    found: dict[tuple[Kind, PolicyClass | None, PolicyClass | None, object], list[str]] = {}
    either = {**old, **new}
    for name, (kind, member, _) in either.items():
        was, will = (side[name][2] if name in side else None for side in (old, new))
        found.setdefault((kind, was, will, mark(member)), []).append(name)
    return _Joined(
        *judges,
        tuple(_group(kind, either, names) for (kind, *_), names in found.items()),
        tuple((_group(kind, old, names), was) for (kind, was, *_), names in found.items()),
        tuple((_group(kind, new, names), will) for (kind, _, will, _), names in found.items()),
    )


def _group(kind: Kind, side: _Side, names: Iterable[str]) -> Group:
    return Group(kind, tuple(side[name][1] for name in names if name in side))


def _complete(towards: Mapping[PortSet, Mask], everyone: Mask) -> Mapping[PortSet, Mask]:
    """The row with absent senders added: those without an address of this family reach nothing."""
    left = everyone
    for senders in towards.values():
        left &= ~senders
    return {**towards, NOTHING: towards.get(NOTHING, 0) | left}
