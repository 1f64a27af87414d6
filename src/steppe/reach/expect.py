"""Checks expectations: whether flows between some ends are all allowed, or all denied.

An expectation is about every sender with every receiver. One pair represents all pairs of two
groups. Only exceptions for single ends (a node and its own pods) are checked separately.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from steppe.judge.classes import VERSIONS
from steppe.judge.pieces import ALL, allowed_of, piece_at
from steppe.kube.cause import Cause
from steppe.kube.objects import Node, Pod
from steppe.net.ports import NOTHING, PortSet
from steppe.policy.guards import Piece
from steppe.reach.ends import Chosen
from steppe.reach.flows import deciding
from steppe.reach.groups import Member
from steppe.reach.matrix import bits
from steppe.reach.names import member_name
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, Offers, node_of


class Failure(msgspec.Struct, frozen=True):
    """A pair with another result than expected: its result, and the objects that decide it."""

    sender: str
    receiver: str
    found: str
    because: tuple[Cause, ...]


def failures(
    reach: Reach, senders: Chosen, receivers: Chosen, ports: PortSet, *, allowed: bool
) -> Iterator[Failure]:
    """One failure for each pair of groups that has any.

    The expectation is about all these ports.
    """
    offers = Offers(reach)
    groups = {member_name(m): i for i, p in enumerate(reach.groups) for m in p.members}
    sending = _by_group(groups, senders.members)
    for offer in receivers.offers:
        yield from _at_service(offers, offer, sending, allowed=allowed)
    for there, receiving in _by_group(groups, receivers.members).items():
        for here, sending_here in sending.items():
            for sender, receiver in _examples(sending_here, receiving):
                own = _is_own_node(sender, receiver)
                found = [ALL] if own else [reach.pieces(here, there, v) for v in VERSIONS]
                yield from _judged(sender, receiver, found, ports, allowed=allowed)


def _judged(
    sender: Member,
    receiver: Member,
    found: Iterable[tuple[Piece, ...]],
    ports: PortSet,
    *,
    allowed: bool,
) -> Iterator[Failure]:
    shared = [pieces for pieces in found if pieces]
    ends = (member_name(sender), member_name(receiver))
    if not shared and allowed:
        yield Failure(*ends, "they share no address family", ())
    for pieces in shared:
        open_ = allowed_of(pieces) & ports
        if open_ != (ports if allowed else NOTHING):
            because = deciding(pieces, ports, allowed=not allowed)
            own = " to its own pods, always" if _is_own_node(sender, receiver) else ""
            yield Failure(*ends, f"{open_} allowed{own}", because)
            return


def _at_service(
    offers: Offers, offer: Offer, sending: Mapping[int, list[Member]], *, allowed: bool
) -> Iterator[Failure]:
    for row in offers.rows(offer, sum(1 << group for group in sending)):
        said = row.outcome
        if (said.said == "allowed") if allowed else (said.open == 0):
            continue
        for group in bits(row.senders):
            nodes = row.view.nodes
            of_view = (m for m in sending[group] if not nodes or node_of(m) in nodes)
            sender = next(of_view, None)
            if isinstance(sender, Pod | Node):
                yield Failure(
                    member_name(sender),
                    f"{offer} at {offer.address}",
                    f"{said.said}, {said.open} of {said.endpoints} endpoints",
                    _because(offers, offer, sender, allowed=not allowed),
                )


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
    ordinary = (p for p in pairs if member_name(p[0]) != member_name(p[1]) and not _is_own_node(*p))
    yield from islice(ordinary, 1)
    nodes = {here.name: here for here in senders if isinstance(here, Node)}
    own = ((nodes[p.node], p) for p in receivers if isinstance(p, Pod) and p.node in nodes)
    yield from islice(own, 1)


def _is_own_node(sender: Member, receiver: Member) -> bool:
    return isinstance(sender, Node) and isinstance(receiver, Pod) and receiver.node == sender.name
