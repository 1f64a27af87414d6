"""What a change of the cluster does to the results at Services' ports, from inside and outside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from steppe.net.ports import one_port
from steppe.reach.groups import Group, Member
from steppe.reach.matrix import Mask
from steppe.reach.names import member_name
from steppe.reach.outside import Outside
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, OfferRow, Offers, Outcome, mask_of, node_of
from steppe.reach.touched import Touched

ABSENT = Outcome("absent")
OUTSIDE = "from outside"


class OfferChange(msgspec.Struct, frozen=True):
    """The results of some senders at a Service's port, on these nodes; on all nodes if empty.

    `way` is "" for senders inside, at the cluster IP, and OUTSIDE for senders outside, at the
    Service's first way in; with an address, at a further one. `nodes` are where senders inside are,
    and where packets from outside come in. `only` and `but` as in OfferRow.
    """

    service: str
    protocol: str
    port: int
    version: int
    way: str
    senders: Mask
    nodes: frozenset[str]
    before: Outcome
    after: Outcome
    only: frozenset[str] = frozenset()
    but: frozenset[str] = frozenset()

    @property
    def opens(self) -> bool:
        return not self.unknown and share(self.after) > share(self.before)

    @property
    def closes(self) -> bool:
        return not self.unknown and share(self.after) < share(self.before)

    @property
    def unknown(self) -> bool:
        """Whether the result is not known in one of the states, and so what becomes of it."""
        return "unknown" in (self.before.said, self.after.said)

    @property
    def may_open(self) -> bool:
        return self.unknown and _may_be_less(self.before) and _may_be_open(self.after)

    @property
    def may_close(self) -> bool:
        return self.unknown and _may_be_open(self.before) and _may_be_less(self.after)


class _Same(msgspec.Struct, frozen=True):
    """Senders with the same result, on these nodes; on all nodes if empty."""

    senders: Mask
    nodes: frozenset[str]
    outcome: Outcome


class _State(msgspec.Struct, frozen=True):
    """The results at one port: of groups, and of members that differ from their groups."""

    groups: tuple[_Same, ...]
    apart: Mapping[str, Outcome] = {}


_Offered = tuple[str, str, int, int, str]
"""A Service, the protocol, the port, the IP version and the way."""


def offer_changes(
    before: Reach, after: Reach, groups: Sequence[Group], touched: Touched
) -> Iterator[OfferChange]:
    """Every Service port at which some sender's result changes, or may; the groups are those of
    both.
    """
    everyone = (1 << len(groups)) - 1
    old, new = (_outcomes(reach, everyone) for reach in (before, after))
    nobody = _State((_Same(everyone, frozenset(), ABSENT),))
    known = _Members(groups)
    for offered in sorted(old.keys() | new.keys()):
        was, will = old.get(offered, nobody), new.get(offered, nobody)
        sides = (was, will)
        yield from _of_groups(offered, *sides, known)
        yield from _of_members(offered, *sides, known)
        if _is_doubtful(was) and _is_doubtful(will):
            namespace, _, name = offered[0].partition("/")
            senders = everyone if touched.service((namespace, name)) else touched.senders
            yield from _still_unknown(offered, *sides, known, senders)


class _Members:
    """The members of the groups, by name."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._known: dict[str, tuple[int, Member]] = {}

    def find(self, name: str) -> tuple[int, Member]:
        if not self._known:
            self._known = {
                member_name(m): (i, m)
                for i, group in enumerate(self._groups)
                for m in group.members
            }
        return self._known[name]

    def within(self, names: Iterable[str], senders: Mask) -> frozenset[str]:
        """Those of the names that are in groups of the mask."""
        return frozenset(name for name in names if senders >> self.find(name)[0] & 1)


def _of_groups(
    offered: _Offered, was: _State, will: _State, known: _Members
) -> Iterator[OfferChange]:
    for here in was.groups:
        for there in will.groups:
            senders, nodes = here.senders & there.senders, here.nodes & there.nodes
            apart = here.nodes and there.nodes and not nodes
            if senders and not apart and _otherwise(here.outcome, there.outcome):
                where = nodes or here.nodes | there.nodes
                but = known.within((*was.apart, *will.apart), senders)
                ends = (senders, where, here.outcome, there.outcome)
                yield OfferChange(*offered, *ends, but=but)


def _of_members(
    offered: _Offered, was: _State, will: _State, known: _Members
) -> Iterator[OfferChange]:
    found: dict[tuple[Outcome, Outcome], dict[str, int]] = {}
    for name in sorted(was.apart.keys() | will.apart.keys()):
        number, member = known.find(name)
        before, after = (_outcome_in(state, name, number, member) for state in (was, will))
        if _otherwise(before, after):
            found.setdefault((before, after), {})[name] = number
    for (before, after), names in found.items():
        senders = mask_of(names.values())
        yield OfferChange(*offered, senders, frozenset(), before, after, only=frozenset(names))


def _is_doubtful(state: _State) -> bool:
    return any(same.outcome.said == "unknown" for same in state.groups)


def _still_unknown(
    offered: _Offered, was: _State, will: _State, known: _Members, touched: Mask
) -> Iterator[OfferChange]:
    """Senders whose result is not known before and after, though the change touches it."""
    for here in was.groups:
        for there in will.groups:
            senders = here.senders & there.senders & touched
            nodes = here.nodes & there.nodes
            apart = here.nodes and there.nodes and not nodes
            same = here.outcome.said == there.outcome.said == "unknown"
            if senders and not apart and same and here.outcome == there.outcome:
                where = nodes or here.nodes | there.nodes
                but = known.within((*was.apart, *will.apart), senders)
                yield OfferChange(*offered, senders, where, here.outcome, there.outcome, but=but)


def _outcome_in(state: _State, name: str, number: int, member: Member) -> Outcome:
    if name in state.apart:
        return state.apart[name]
    for same in state.groups:
        if same.senders >> number & 1 and (not same.nodes or node_of(member) in same.nodes):
            return same.outcome
    return ABSENT


def _outcomes(reach: Reach, everyone: Mask) -> Mapping[_Offered, _State]:
    found: dict[_Offered, _State] = {}
    offers = Offers(reach)
    outside = Outside(offers)
    known: list[tuple[Offer, str]] = [(offer, "") for offer in offers.all]
    known += ((offer, OUTSIDE) for offer in outside.all)
    for offer, way in known:
        name = f"{offer.service.namespace}/{offer.service.name}"
        offered = (name, offer.port.protocol, offer.port.port, offer.version, way)
        if not one_port(offer.port.protocol, offer.port.port) & reach.wanted:
            continue
        if offered in found and way:
            offered = (*offered[:4], f"{way} at {offer.address}")
        if offered not in found:
            rows = outside.rows(offer) if way else offers.rows(offer)
            found[offered] = _state(tuple(rows), everyone)
    return found


def _state(rows: Sequence[OfferRow], everyone: Mask) -> _State:
    groups = [_Same(r.senders, r.view.nodes, r.outcome) for r in rows if not r.only]
    apart = {name: row.outcome for row in rows for name in row.only}
    seen = 0
    for same in groups:
        seen |= same.senders
    # Groups of which every member is apart are in rows of their own.
    for row in rows:
        seen |= row.senders
    return _State((*groups, _Same(everyone & ~seen, frozenset(), ABSENT)), apart)


def _otherwise(before: Outcome, after: Outcome) -> bool:
    """Whether the result changes for senders.

    The number of endpoints does not matter if all are open.
    """
    counted = {"partly", "unknown"}
    return before != after if counted & {before.said, after.said} else before.said != after.said


def _may_be_open(outcome: Outcome) -> bool:
    return outcome.said == "unknown" or share(outcome) > 0


def _may_be_less(outcome: Outcome) -> bool:
    """Whether some of the connections may not get through."""
    return outcome.said == "unknown" or share(outcome) < 1


def share(outcome: Outcome) -> float:
    """The share of connections that get through, at least."""
    return outcome.open / outcome.endpoints if outcome.endpoints else 0.0
