"""The smallest changes that would open a flow, each tried on the judge before it is suggested.

Candidates are edits of one object that may allow one end (explain/edit.py). If both ends deny, or
if endpoints have different policies, combinations of one edit for each are tried. Changes that
allow the least come first. Changes that allow far more than was asked are listed only if there are
no others.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import islice, product

import msgspec

from steppe.ends.target import RangeTarget
from steppe.explain.edit import Breadth, DeniedEnd, Edit
from steppe.explain.model import Case, Change, Flow
from steppe.explain.new_peer import NewPeer, outside_peer, pod_peer
from steppe.explain.other_edits import label_edits, tier_edits
from steppe.explain.policy_edits import policy_edits
from steppe.judge.judge import Judge
from steppe.kube.cluster import Cluster
from steppe.net.address import IPNetwork, host_prefix
from steppe.oracle.policy_match import World
from steppe.settings import Settings

SHOWN = 3
_TRIED = 24


class Asked(msgspec.Struct, frozen=True):
    """A flow that is not allowed, its packets, the part of the cluster that may affect them, and
    what the peers and ports of its policies mean.
    """

    flow: Flow
    part: Cluster
    cases: tuple[Case, ...]
    world: World
    settings: Settings


def changes_for(cluster: Cluster, asked: Asked) -> tuple[Change, ...]:
    """A few changes that open the whole flow; those that allow the least come first."""
    # One denied end represents its group; whether its edit opens all of them is tried.
    options = [sorted(_edits(cluster, asked, denied), key=_breadth) for denied in _groups(asked)]
    if not options:
        return ()
    alone = [
        (edit,)
        for edit in options[0]
        if all(edit.text in {other.text for other in edits} for edits in options)
    ]
    together = list(islice(product(*options), _TRIED)) if len(options) > 1 else []
    tried = sorted((*alone, *together), key=lambda edits: max(map(_breadth, edits)))
    found = list(islice((edits for edits in tried if _opens(asked, edits)), SHOWN))
    narrow = [edits for edits in found if max(map(_breadth, edits)) < Breadth.WIDE]
    return tuple(map(_change, narrow or found))


def _breadth(edit: Edit) -> Breadth:
    return edit.breadth


def _change(edits: tuple[Edit, ...]) -> Change:
    return Change(
        "; and ".join(edit.text for edit in edits),
        tuple(edit.object for edit in edits),
        tuple(patch for edit in edits for patch in edit.patches),
    )


def _opens(asked: Asked, edits: Iterable[Edit]) -> bool:
    part = reduce(lambda cluster, edit: edit.apply(cluster), edits, asked.part)
    judge = Judge(part, asked.settings)
    return all(
        judge.verdict(case.packet, case.entering, case.sender).said == "yes" for case in asked.cases
    )


def _groups(asked: Asked) -> tuple[DeniedEnd, ...]:
    """One denied end for each set of objects that deny; none if a path fails for another reason."""
    found: dict[object, DeniedEnd] = {}
    for path in (path for case in asked.cases for path in case.paths):
        if path.fate in ("refused", "dropped"):
            return ()
        for direction, decision in (("egress", path.egress), ("ingress", path.ingress)):
            own = path.sent.source if direction == "egress" else path.received.destination
            pods = asked.part.pods_at(own)
            if decision.allowed or not pods:
                continue
            packet = path.received
            if direction == "egress":
                packet = msgspec.structs.replace(packet, source=path.sent.source)
            denied = DeniedEnd(direction, pods[-1], packet, decision)  # type: ignore[arg-type]
            found.setdefault((direction, decision.by, decision.because), denied)
    return tuple(found.values())


def _edits(cluster: Cluster, asked: Asked, denied: DeniedEnd) -> Iterator[Edit]:
    new_peer = _new_peer(cluster, asked, denied)
    if denied.decision.by != "NetworkPolicy":
        if new_peer is not None:
            yield from tier_edits(cluster, denied, new_peer)
        return
    if new_peer is not None:
        yield from policy_edits(cluster, asked.world, denied, new_peer)
    yield from label_edits(cluster, asked.world, denied)


def _new_peer(cluster: Cluster, asked: Asked, denied: DeniedEnd) -> NewPeer | None:
    """The peer that a rule would need for the other end."""
    pod = next(iter(asked.part.pods_at(denied.peer)), None)
    if pod is not None:
        # ClusterNetworkPolicies have no namespace of their own.
        same = pod.namespace == denied.pod.namespace and denied.decision.by == "NetworkPolicy"
        space = cluster.namespaces.get(pod.namespace)
        return pod_peer(pod, space, same_namespace=same)
    flow = asked.flow
    end = flow.source if denied.direction == "ingress" else flow.destination
    prefixes: dict[IPNetwork, None] = {}
    if isinstance(end, RangeTarget):
        prefixes = dict.fromkeys(end.prefixes)
    else:
        for path in (path for case in asked.cases for path in case.paths):
            packet = path.received
            side = packet.source if denied.direction == "ingress" else packet.destination
            prefixes[host_prefix(side)] = None
    return outside_peer(str(end), prefixes)
