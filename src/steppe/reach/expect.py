"""Checks expectations: whether flows between some ends are all allowed, or all denied.

An expectation is about every sender with every receiver. One pair represents all pairs of two
groups. Only exceptions for single ends (a node and its own pods) are checked separately.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from steppe.judge.classes import VERSIONS
from steppe.judge.judge import is_own_node
from steppe.judge.pieces import ALL, allowed_of, piece_at
from steppe.kube.cause import Cause
from steppe.kube.objects import Node, Pod
from steppe.net.ports import NOTHING, PortSet
from steppe.policy.guards import Piece
from steppe.reach.doubts import doubts_of
from steppe.reach.ends import Chosen
from steppe.reach.flows import deciding
from steppe.reach.groups import Member
from steppe.reach.matrix import bits
from steppe.reach.names import member_name
from steppe.reach.outside import Outside
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, OfferRow, Offers, mask_of, node_of


class Failure(msgspec.Struct, frozen=True):
    """A pair with another result than expected: its result, and the objects that decide it.

    `unknown`: it is not known whether the result is another, for the reasons in `doubts`.
    """

    sender: str
    receiver: str
    found: str
    because: tuple[Cause, ...]
    unknown: bool = False
    doubts: tuple[str, ...] = ()


def failures(
    reach: Reach, senders: Chosen, receivers: Chosen, ports: PortSet, *, allowed: bool
) -> Iterator[Failure]:
    """One failure for each pair of groups that has any.

    The expectation is about all these ports.
    """
    offers = Offers(reach)
    groups = {member_name(m): i for i, p in enumerate(reach.groups) for m in p.members}
    sending = _by_group(groups, senders.members)
    yield from _at_services(offers, receivers, sending, allowed=allowed)
    for there, receiving in _by_group(groups, receivers.members).items():
        for here, sending_here in sending.items():
            for sender, receiver in _examples(sending_here, receiving):
                found: list[_Bounds] = [(ALL, ALL)]
                if not is_own_node(sender, receiver):
                    found = [_pieces(reach, here, there, version) for version in VERSIONS]
                failure = _judged(sender, receiver, found, ports, allowed=allowed)
                if failure is not None:
                    doubts = _doubts_of(reach, sender, receiver) if failure.unknown else ()
                    yield msgspec.structs.replace(failure, doubts=doubts)


_Bounds = tuple[tuple[Piece, ...], tuple[Piece, ...]]
"""What policies say at least, and at most."""


def _pieces(reach: Reach, here: int, there: int, version: int) -> _Bounds:
    least = reach.pieces(here, there, version)
    return least, least if reach.certain else reach.pieces(here, there, version, "most")


def _judged(
    sender: Member,
    receiver: Member,
    found: Iterable[_Bounds],
    ports: PortSet,
    *,
    allowed: bool,
) -> Failure | None:
    shared = [bounds for bounds in found if bounds[0]]
    ends = (member_name(sender), member_name(receiver))
    if not shared:
        return Failure(*ends, "they share no address family", ()) if allowed else None
    wanted = ports if allowed else NOTHING
    doubtful: Failure | None = None
    for least, most in shared:
        open_, perhaps = allowed_of(least) & ports, allowed_of(most) & ports
        if (perhaps if allowed else open_) != wanted:
            because = deciding(most if allowed else least, ports, allowed=not allowed)
            own = " to its own pods, always" if is_own_node(sender, receiver) else ""
            return Failure(*ends, f"{open_} allowed{own}", because)
        if open_ != perhaps:
            text = f"not known for {perhaps - open_}"
            doubtful = doubtful or Failure(*ends, text, (), unknown=True)
    return doubtful


def _doubts_of(reach: Reach, sender: Member, receiver: Member) -> tuple[str, ...]:
    doubts = (*doubts_of(reach, (sender,), "egress"), *doubts_of(reach, (receiver,), "ingress"))
    return tuple(dict.fromkeys(map(str, doubts)))


def _at_services(
    offers: Offers, receivers: Chosen, sending: Mapping[int, list[Member]], *, allowed: bool
) -> Iterator[Failure]:
    """Failures at Services, for senders inside and outside."""
    outside, senders = Outside(offers), mask_of(sending)
    rows = [(offer, row) for offer in receivers.offers for row in offers.rows(offer, senders)]
    for offer in (*receivers.ways, *receivers.dialled):
        rows += ((offer, row) for row in outside.rows(offer, senders))
    for offer in receivers.dialled:
        rows += ((offer, row) for row in outside.inside_rows(offer, senders))
    for offer, row in rows:
        said = row.outcome
        if (said.said == "allowed") if allowed else (said.open == 0 and said.said != "unknown"):
            continue
        for group in bits(row.senders):
            sender = next((m for m in sending[group] if _is_in(row, m)), None)
            if sender is not None:
                yield _at_service(offers, offer, row, sender, allowed=allowed)


def _is_in(row: OfferRow, member: Member) -> bool:
    """Whether the row is about this one of its groups' members."""
    inside = isinstance(member, Pod | Node)
    if inside and row.view.nodes and node_of(member) not in row.view.nodes:
        return False
    name = member_name(member)
    return name not in row.but and (not row.only or name in row.only)


def _at_service(
    offers: Offers, offer: Offer, row: OfferRow, sender: Member, *, allowed: bool
) -> Failure:
    said, because, doubts = row.outcome, tuple[Cause, ...](), tuple[str, ...]()
    unknown = said.said == "unknown" and (said.open == 0 or allowed)
    if said.said == "barred":
        because = (Cause(offer.service.ref, "spec.loadBalancerSourceRanges"),)
    elif isinstance(sender, Pod | Node) and offer.kind == "cluster":
        because = _because(offers, offer, sender, allowed=not allowed)
    if unknown:
        doubts = tuple(map(str, offers.doubts(offer, sender)))
    at = f" at {offer.address}" if offer.address is not None else ""
    counted = f"{said.said}, {said.open} of {said.endpoints} endpoints"
    where = f"{offer}{at}"
    return Failure(member_name(sender), where, counted, because, unknown, doubts)


def _because(
    offers: Offers, offer: Offer, sender: Pod | Node, *, allowed: bool
) -> tuple[Cause, ...]:
    found: dict[Cause, None] = {}
    for backend, pieces in offers.between(sender, offer):
        piece = piece_at(pieces, offer.port.protocol, backend.port)
        if piece is not None and piece.allowed == allowed:
            found |= dict.fromkeys(piece.because)
    return tuple(found)


def _by_group(groups: Mapping[str, int], members: Iterable[Member]) -> Mapping[int, list[Member]]:
    found: dict[int, list[Member]] = {}
    for member in members:
        found.setdefault(groups[member_name(member)], []).append(member)
    return found


def _examples(
    senders: Sequence[Member], receivers: Sequence[Member]
) -> Iterator[tuple[Member, Member]]:
    """A pair that represents all others of its groups, and a pair of a node and its own pod."""
    pairs = ((here, there) for here in senders for there in receivers)
    ordinary = (p for p in pairs if member_name(p[0]) != member_name(p[1]) and not is_own_node(*p))
    yield from islice(ordinary, 1)
    nodes = {here.name: here for here in senders if isinstance(here, Node)}
    own = ((nodes[p.node], p) for p in receivers if isinstance(p, Pod) and p.node in nodes)
    yield from islice(own, 1)
