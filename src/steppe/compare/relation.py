"""Whether one set of policies allows no more than another, and the flow that proves it does.

    same cluster ─┬─ with one set ────┐
                  └─ with the other ──┴─▶ class by class: what one allows and the other does not

Asked are flows straight between ends: pods, nodes and addresses outside. A Service leads each flow
to one of these. Every answer is of the ends in the cluster, and says nothing of others.
"""

from collections.abc import Callable, Sequence
from itertools import product

import msgspec

from steppe.compare.spots import Spot, Stand, Stands
from steppe.compare.witness import Flow, Said, Witness, unwatched, witness
from steppe.judge.classes import VERSIONS, PolicyClasses
from steppe.judge.doubts import Bound
from steppe.judge.judge import DEFAULTS
from steppe.judge.pieces import allowed_of
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node, Pod
from steppe.net.ports import EVERYTHING, NOTHING, PortSet
from steppe.reach.imagined import imagined, selectors_of
from steppe.settings import Settings


class Contained(msgspec.Struct, frozen=True):
    """Whether one set allows no more than another. "no" has a witness: a flow that the first
    allows and the second does not; "unknown" has one for which it hangs on a doubt.
    """

    said: Said
    witness: Witness | None = None


class Relation(msgspec.Struct, frozen=True):
    """How two sets are related: whether each is contained in the other."""

    one_in_other: Contained
    other_in_one: Contained

    @property
    def same(self) -> Said:
        """Whether both allow the same."""
        said = {self.one_in_other.said, self.other_in_one.said}
        return "no" if "no" in said else "unknown" if "unknown" in said else "yes"


def related_later(
    both: tuple[Cluster, Cluster],
    settings: Settings = DEFAULTS,
    watch: Callable[[str], object] = unwatched,
) -> Relation:
    """The relation with pods in mind that are not there yet, by every selector of both sets."""
    selectors = dict.fromkeys(each for known in both for each in selectors_of(known))
    one, other = (imagined(known, selectors).cluster for known in both)
    return related((one, other), settings, watch)


class Excess(msgspec.Struct, frozen=True):
    """Ports that one set allows and another does not: for certain, and perhaps."""

    surely: PortSet = NOTHING
    perhaps: PortSet = NOTHING


def related(
    both: tuple[Cluster, Cluster],
    settings: Settings = DEFAULTS,
    watch: Callable[[str], object] = unwatched,
) -> Relation:
    """The relation of two clusters that differ in their policies and doubts alone.

    `watch` is told whose flows are asked about, for who waits.
    """
    asking = _Asking(Stands(both, settings))
    found: list[Contained] = [Contained("yes"), Contained("yes")]
    for sender, receiver in asking.stands.pairs():
        watch(sender.name)
        for version in VERSIONS:
            for index, order in enumerate(((0, 1), (1, 0))):
                if found[index].said != "no":
                    found[index] = asking.after(found[index], (sender, receiver), version, order)
    return Relation(*found)


class _Asking:
    """Asks about pairs of ends, each pair of classes once."""

    def __init__(self, stands: Stands) -> None:
        self.stands = stands
        self._classes: Sequence[PolicyClasses] = [judge.classes for judge in stands.judges]
        self._known: dict[tuple[int, int, int, int, int], PortSet] = {}

    def after(
        self, known: Contained, pair: tuple[Stand, Stand], version: int, order: tuple[int, int]
    ) -> Contained:
        """The answer after this pair was asked about too."""
        spots = tuple(product(*(end.spots[version] for end in pair)))
        excess = [self._excess(ends, version, order) for ends in spots]
        perhaps = next((each.perhaps for each in excess if each.perhaps), NOTHING)
        if not perhaps:
            return known
        surely = together([each.surely for each in excess])
        if known.witness is not None and not surely:
            return known
        proof = witness(self.stands.asked, flow_of(pair, version), surely or perhaps)
        said = tuple(proof.rulings[index].said for index in order)
        return Contained("no" if surely and said == ("yes", "no") else "unknown", proof)

    def _excess(self, ends: tuple[Spot, ...], version: int, order: tuple[int, int]) -> Excess:
        more, less = order
        most = self._allowed(more, ends, version, "most")
        least = self._allowed(less, ends, version, "least")
        perhaps = most - least if most != least else NOTHING
        if not perhaps:
            return Excess()
        surely = self._allowed(more, ends, version, "least")
        return Excess(surely - self._allowed(less, ends, version, "most"), perhaps)

    def _allowed(self, number: int, ends: tuple[Spot, ...], version: int, bound: Bound) -> PortSet:
        here, there = (end.classes[number].bound(bound) for end in ends)
        sending, receiving = here.side(version), there.side(version)
        if sending is None or receiving is None:
            return NOTHING
        key = (number, here.egress, receiving.receiver, there.ingress, sending.sender)
        if key not in self._known:
            self._known[key] = allowed_of(self._classes[number].between(here, there, version))
        return self._known[key]


def flow_of(pair: Sequence[Stand], version: int) -> Flow:
    """The flow between two ends that have addresses of this family, as the cluster has them."""
    here, there = (
        end.member if isinstance(end.member, Pod | Node) else end.spots[version][0].end
        for end in pair
    )
    return Flow(pair[0].name, pair[1].name, here, there, version)


def together(sets: Sequence[PortSet]) -> PortSet:
    """The ports that are in all of these sets."""
    found = EVERYTHING if sets else NOTHING
    for each in sets:
        found &= each
    return found
