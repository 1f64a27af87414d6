"""The clusters of a comparison: the same workloads under each set of policies."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from steppe.kube.cause import ObjectRef
from steppe.kube.cluster import Cluster
from steppe.kube.doubt import AddressInDoubt
from steppe.manifests.cluster import Loaded, loaded_of
from steppe.manifests.collect import Collected, Refused
from steppe.manifests.documents import Json

_POLICIES = frozenset(
    (
        "NetworkPolicy",
        "ClusterNetworkPolicy",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
    )
)


class Worlds(msgspec.Struct, frozen=True):
    """One cluster for each set; they differ in policies and doubts alone.

    `unsure` are sentences on pods that may be there and are not known: where there are any, no
    answer about all pods is a yes. `aside` names what of the input is not used.
    """

    loaded: tuple[Loaded, ...]
    unsure: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        return tuple(each.cluster for each in self.loaded)


def worlds(sets: Sequence[Collected], base: Collected | None = None) -> Worlds:
    """The clusters under each set of policies. The workloads are those of `base`, or else those
    among the sets.
    """
    others = (base,) if base is not None else tuple(sets)
    common = _common(others)
    loaded = [loaded_of(_under(common, each)) for each in sets]
    clusters = _alike([each.cluster for each in loaded])
    known = tuple(
        msgspec.structs.replace(each, cluster=cluster)
        for each, cluster in zip(loaded, clusters, strict=True)
    )
    spaces = sorted({*common.makers, *(ref.namespace for ref in common.refused)})
    unsure = ((space, known[0].pods_unknown(space)) for space in spaces)
    return Worlds(
        known,
        tuple(f"in namespace {space or '(any)'} {why}" for space, why in unsure if why),
        tuple(_aside(sets, base)),
    )


def _common(sources: Sequence[Collected]) -> Collected:
    """All but policies, of all sources; of an object that two of them have, the first."""
    objects: dict[ObjectRef, Json] = {}
    refused: dict[ObjectRef, Refused] = {}
    makers: dict[str, tuple[ObjectRef, ...]] = {}
    for each in reversed(sources):
        objects |= {r: doc for r, doc in each.objects.items() if r.kind not in _POLICIES}
        refused |= {r: why for r, why in each.refused.items() if r.kind not in _POLICIES}
        makers |= each.makers
    problems = tuple(
        dict.fromkeys(
            problem
            for each in sources
            for problem in each.problems
            if problem.cause.ref.kind not in _POLICIES
        )
    )
    gaps = tuple(dict.fromkeys(gap for each in sources for gap in each.gaps))
    return Collected(objects, problems, gaps, refused, makers)


def _under(common: Collected, policies: Collected) -> Collected:
    """The common objects with the policies of a set."""
    own = {r: doc for r, doc in policies.objects.items() if r.kind in _POLICIES}
    refused = {r: why for r, why in policies.refused.items() if r.kind in _POLICIES}
    problems = (p for p in policies.problems if p.cause.ref.kind in _POLICIES)
    return Collected(
        {**common.objects, **own},
        tuple(dict.fromkeys((*common.problems, *problems))),
        tuple(dict.fromkeys((*common.gaps, *policies.gaps))),
        {**common.refused, **refused},
        common.makers,
    )


def _alike(clusters: Sequence[Cluster]) -> Iterator[Cluster]:
    """The clusters with the namespaces that any of them has, and doubts about the same addresses:
    namespaces are made up for policies, and addresses matter where a policy has an ipBlock.
    """
    spaces = {name: space for each in clusters for name, space in each.namespaces.items()}
    addresses = dict.fromkeys(
        doubt
        for each in clusters
        for doubt in each.doubts
        if isinstance(doubt.about, AddressInDoubt)
    )
    for each in clusters:
        others = (d for d in each.doubts if not isinstance(d.about, AddressInDoubt))
        yield msgspec.structs.replace(
            clusters[0],
            namespaces=spaces,
            network_policies=each.network_policies,
            cluster_policies=each.cluster_policies,
            doubts=(*others, *addresses),
        )


def _aside(sets: Sequence[Collected], base: Collected | None) -> Iterator[str]:
    if base is not None:
        policies = sum(ref.kind in _POLICIES for ref in base.objects)
        if policies:
            yield f"{_counted(policies, 'policy', 'policies')} of the cluster: the sets count alone"
        others = sum(ref.kind not in _POLICIES for each in sets for ref in each.objects)
        if others:
            yield f"{_counted(others, 'object')} of the sets that are no policies"
        return
    for ref, count in _differing(sets).items():
        yield f"{ref} as the set number {count} has it: the sets differ in it, the first one counts"


def _differing(sets: Sequence[Collected]) -> Mapping[ObjectRef, int]:
    """Objects besides policies that a later set has otherwise than the first."""
    return {
        ref: number
        for number, each in enumerate(sets[1:], start=2)
        for ref, document in each.objects.items()
        if ref.kind not in _POLICIES and sets[0].objects.get(ref, document) != document
    }


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
