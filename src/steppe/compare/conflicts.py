"""Where policies of a set conflict: one allows what another denies, at the same pod, in the same
direction.

NetworkPolicies never conflict with each other ("Network policies do not conflict; they are
additive"), so they count as one here: they allow what any of them allows, and deny what none does
once one isolates. ClusterNetworkPolicies accept and deny; the tier and the priority decide. Where
these are equal the API leaves the order open, and nobody knows which decides.
"""

from collections.abc import Callable, Iterator
from itertools import product

import msgspec

from steppe.compare.relation import flow_of
from steppe.compare.spots import Stand, Stands
from steppe.compare.witness import Witness, example, unwatched, witness
from steppe.judge.classes import DIRECTIONS, EGRESS, VERSIONS
from steppe.judge.judge import DEFAULTS
from steppe.judge.pieces import piece_at
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction
from steppe.net.ports import PortRange, PortSet
from steppe.policy.guards import Guard, Piece, guard_of
from steppe.policy.identities import Identity
from steppe.settings import Settings


class Conflict(msgspec.Struct, frozen=True):
    """Two objects that say the opposite of a flow.

    `decides` are the objects that the pod's policies decide by: of one of the two, or of a third.
    `open_order`: both have one tier and priority, so another implementation may decide otherwise.
    `certain` is False where it hangs on an address that is not known.
    `wins` is "allows" or "denies"; "" if a third decides, or the order is open.
    """

    allows: Cause
    denies: Cause
    direction: Direction
    wins: str
    decides: tuple[Cause, ...]
    witness: Witness
    open_order: bool = False
    certain: bool = True


class _Voice(msgspec.Struct, frozen=True):
    """What one policy, or all NetworkPolicies together, say at a pod; `order` is tier and priority,
    None for NetworkPolicies.
    """

    guard: Guard
    order: tuple[str, int] | None


def conflicts(
    cluster: Cluster, settings: Settings = DEFAULTS, watch: Callable[[str], object] = unwatched
) -> Iterator[Conflict]:
    """Every two policies that conflict, with one flow each; `watch` is told whose flows are asked
    about.
    """
    stands = Stands((cluster,), settings)
    finding = _Finding(stands)
    told: set[tuple[ObjectRef, ObjectRef]] = set()
    for pair in stands.pairs():
        watch(pair[0].name)
        for direction in DIRECTIONS:
            for version in VERSIONS:
                for conflict in finding.at(pair, direction, version):
                    key = (conflict.allows.ref, conflict.denies.ref)
                    if key not in told:
                        told.add(key)
                        yield conflict


class _Finding:
    """Finds conflicts pair by pair; what a guard says of an identity is asked once."""

    def __init__(self, stands: Stands) -> None:
        self._stands = stands
        self._judge = stands.judges[0]
        self._voices: dict[tuple[str, Direction], tuple[_Voice, ...]] = {}
        self._known: dict[tuple[tuple[_Voice, ...], Identity], tuple[_Opposed, ...]] = {}

    def at(
        self, pair: tuple[Stand, Stand], direction: Direction, version: int
    ) -> Iterator[Conflict]:
        """The conflicts at the pod whose direction this is."""
        own, peer = pair if direction == EGRESS else reversed(pair)
        voices = self._voices_of(own, direction)
        if len(voices) < 2 or not own.spots[version]:
            return
        found: dict[tuple[ObjectRef, ObjectRef], list[tuple[_Opposed, int]]] = {}
        spots = peer.spots[version]
        for spot in spots:
            side = spot.classes[0].side(version)
            if side is None:
                continue
            number = side.receiver if direction == EGRESS else side.sender
            identity = self._judge.classes.identities[direction].values[number]
            here = {o.key: (o, number) for o in self._opposed(voices, identity)}
            for key, each in here.items():
                found.setdefault(key, []).append(each)
        guards = own.spots[version][0].classes[0]
        guard = guards.egress if direction == EGRESS else guards.ingress
        for known in found.values():
            opposed, number = known[0]
            whole = self._judge.classes.pieces(direction, guard, number)
            proof = witness(self._stands.asked, flow_of(pair, version), opposed.ports)
            yield _conflict(opposed, direction, whole, proof, certain=len(known) == len(spots))

    def _opposed(self, voices: tuple[_Voice, ...], identity: Identity) -> tuple["_Opposed", ...]:
        key = (voices, identity)
        if key not in self._known:
            self._known[key] = tuple(_opposed(voices, identity))
        return self._known[key]

    def _voices_of(self, own: Stand, direction: Direction) -> tuple[_Voice, ...]:
        key = (own.name, direction)
        if key not in self._voices:
            self._voices[key] = tuple(self._made(own, direction))
        return self._voices[key]

    def _made(self, own: Stand, direction: Direction) -> Iterator[_Voice]:
        pod, cluster = own.member, self._judge.cluster
        if not isinstance(pod, Pod):
            return
        space = cluster.namespaces.get(pod.namespace)
        tiers = cluster.cluster_policies.values()
        found: list[tuple[tuple[str, int] | None, Guard]] = [
            (None, guard_of(pod, space, direction, cluster.policies_in(pod.namespace), ()))
        ]
        found += (
            ((policy.tier, policy.priority), guard_of(pod, space, direction, (), (policy,)))
            for policy in tiers
            if isinstance(policy, ClusterNetworkPolicy)
        )
        yield from (_Voice(guard, order) for order, guard in found if guard.because)


class _Opposed(msgspec.Struct, frozen=True):
    """What one allows and another denies of one identity; `alike`: their order is open."""

    yes: Piece
    no: Piece
    ports: PortSet
    alike: bool

    @property
    def key(self) -> tuple[ObjectRef, ObjectRef]:
        return self.yes.because[0].ref, self.no.because[0].ref


def _opposed(voices: tuple[_Voice, ...], identity: Identity) -> Iterator[_Opposed]:
    said = [(voice, _spoken(voice.guard.pieces(identity))) for voice in voices]
    for (one, here), (other, there) in product(said, said):
        if one is other:
            continue
        for yes, no in product(here, there):
            ports = _ports(yes) & _ports(no) if yes.allowed and not no.allowed else None
            if ports:
                alike = one.order is not None and one.order == other.order
                yield _Opposed(yes, no, ports, alike)


def _conflict(
    opposed: _Opposed,
    direction: Direction,
    whole: tuple[Piece, ...],
    proof: Witness,
    *,
    certain: bool,
) -> Conflict:
    piece = piece_at(whole, *example(opposed.ports))
    decides = piece.because if piece is not None else ()
    wins = "allows" if set(decides) & set(opposed.yes.because) else ""
    wins = "denies" if set(decides) & set(opposed.no.because) else wins
    return Conflict(
        opposed.yes.because[0],
        opposed.no.because[0],
        direction,
        "" if opposed.alike else wins,
        decides,
        proof,
        open_order=opposed.alike and bool(wins),
        certain=certain,
    )


def _spoken(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The pieces that an object speaks of."""
    return tuple(piece for piece in pieces if piece.because)


def _ports(piece: Piece) -> PortSet:
    return PortSet((PortRange(piece.protocol, piece.first, piece.last),))
