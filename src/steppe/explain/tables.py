"""Paths through Steppe's tables, each compared with the oracle's path of the same packet."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from steppe.compile.node import compile_cluster
from steppe.dataplane.nft.sets import EGRESS, INGRESS
from steppe.explain.explain import Explainer, InTables, Paths, Walk
from steppe.explain.model import Case, Mtu, Path, Step
from steppe.explain.promised_steps import first_steps, receiver_of
from steppe.explain.steps import CameIn, Sent, What
from steppe.explain.stop_reasons import reason_of
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.objects import UNDERLAY_ANNOTATION
from steppe.net.packet import Packet
from steppe.oracle.promised_path import Fate, PromisedPath
from steppe.settings import Settings
from steppe.state.link import Link, LinkKey
from steppe.state.nft import Element, ElementKey
from steppe.state.node import Key, NodeState
from steppe.state.surroundings import Surroundings
from steppe.state.workload import workload_of
from steppe.walk.trace import Crossed, Delivered, Met, Trace, Tunnelled
from steppe.walk.trace import Step as Walked
from steppe.walk.walk import Walker

_ARRIVED = ("pod", "node", "outside")


def explainer_of(
    cluster: Cluster, settings: Settings, in_tables: InTables | None = None
) -> Explainer:
    """An Explainer for a cluster whose agents run with these settings.

    `in_tables` are the tables to walk; without it, the desired tables are compiled.
    """
    if not settings.policies:
        cluster = msgspec.structs.replace(cluster, network_policies={}, cluster_policies={})
    followed = (p for p in cluster.cluster_policies.items() if p[1].kind == "ClusterNetworkPolicy")
    cluster = msgspec.structs.replace(cluster, cluster_policies=dict(followed))
    # Services of another proxy are not in the compiled tables.
    if in_tables is None and settings.services:
        in_tables = compiled(settings)
    return Explainer(cluster, in_tables, settings)


def compiled(settings: Settings) -> InTables:
    """Walks through the desired tables, compiled with these settings.

    The parts are of a cluster that has been granted what it asks for, as an Explainer's.
    """

    def in_tables(part: Cluster) -> Walk:
        states, _ = compile_cluster(settings, part, granted=True)
        walk = walk_of(part, states)

        def unnumbered(case: Case, promised_paths: Sequence[PromisedPath]) -> Paths:
            paths, conflicts = walk(case, promised_paths)
            return tuple(map(_unnumbered, paths)), conflicts

        return unnumbered

    return in_tables


_UNTOLD = "its identity"
"""Replaces an identity's number in text. The number is a hash of all rules that match a peer
(policy/numbers.py); a part of the cluster has only some of them, so its numbers are not the real
ones.
"""


def without_number(key: Key) -> Key:
    """An entry's key with the identity's number replaced."""
    for sets in (INGRESS, EGRESS):
        if found := sets.allowed.read(key):
            _, pod = found
            return ElementKey(sets.allowed.name(pod.version), (_UNTOLD, pod))
    return key


def unnumbered(what: What) -> What:
    """A step with the identity's number replaced."""
    if not isinstance(what, Met):
        return what
    if any(sets.peer.matches(what.key) for sets in (INGRESS, EGRESS)):
        return Met(what.key, Element((_UNTOLD,)))
    key = without_number(what.key)
    return Met(key, what.value) if isinstance(key, ElementKey) else what


def _unnumbered(path: Path) -> Path:
    steps, reply = (
        tuple(msgspec.structs.replace(step, what=unnumbered(step.what)) for step in some)
        for some in (path.steps, path.reply)
    )
    return msgspec.structs.replace(path, steps=steps, reply=reply)


def walk_of(
    part: Cluster, states: Mapping[str, NodeState], around: Mapping[str, Surroundings] = {}
) -> Walk:
    """Every path of a case's packet through these tables, and differences from the oracle.

    `around`: what nodes have beside their tables, for those that were looked at.
    """
    walker = Walker(part, states, around)

    def walk(case: Case, promised_paths: Sequence[PromisedPath]) -> Paths:
        return _walked(_Tables(part, states, walker), case, promised_paths)

    return walk


class _Tables(msgspec.Struct, frozen=True):
    """The tables of a part of the cluster."""

    part: Cluster
    states: Mapping[str, NodeState]
    walker: Walker


def _walked(tables: _Tables, case: Case, promised_paths: Sequence[PromisedPath]) -> Paths:
    part = tables.part
    by_end = {_end(promised.received): promised for promised in promised_paths}
    paths: list[Path] = []
    conflicts: list[str] = []
    for trace in tables.walker.walks(case.packet, case.entering, case.sender):
        promised = by_end.pop(_end(trace.packet), None)
        path = _path(tables, case, trace, promised)
        if promised is None and path.open:
            # Somebody gets it, but nobody who was meant: that is no yes.
            path = msgspec.structs.replace(path, fate="dropped", reason=_misled(path))
        paths.append(msgspec.structs.replace(path, mtu=_mtu(part, tables.states, path)))
        if promised is None or path.open != (promised.fate == "delivered"):
            conflicts.append(_conflict(case, path, promised))
    for promised in by_end.values():
        to = receiver_of(part, promised.received.destination)
        conflicts.append(f"the API says that {case.packet} may go to {to}; no table sends it there")
    return tuple(paths), tuple(conflicts)


def _misled(path: Path) -> str:
    return f"it is led to {path.receiver}, where no object of the cluster leads it"


def _end(packet: Packet) -> tuple[object, int]:
    return packet.destination, packet.destination_port


def _conflict(case: Case, path: Path, promised: PromisedPath | None) -> str:
    does = f"the tables say {path.fate}" + (f" ({path.reason})" if path.reason else "")
    says = f"the API says {promised.fate}" if promised is not None else "the API knows no such way"
    return f"{case.packet} to {path.receiver}: {does}, {says}"


def _path(tables: _Tables, case: Case, trace: Trace, promised: PromisedPath | None) -> Path:
    part = tables.part
    promised = promised or PromisedPath("delivered", trace.share, trace.packet, trace.end.kind)
    arrived = trace.end.kind in _ARRIVED
    reply = tables.walker.reply(trace) if arrived else None
    fate, reason = _fate(trace, promised)
    if reply is not None and reply.packet != case.packet.answer:
        # The sender does not know this source: it answers with a reset, or not at all.
        fate = "dropped"
        reason = f"replies come from {reply.packet.source}, which was not addressed"
    elif reply is not None and reply.end.kind not in _ARRIVED:
        fate, reason = "dropped", f"replies do not come back: {reply.end.reason}"
    first = (_with_link(part, step) for step in first_steps(part, case, promised))
    return Path(
        fate=fate,
        share=trace.share,
        receiver=receiver_of(part, trace.packet.destination),
        sent=case.packet,
        received=trace.packet,
        egress=promised.egress,
        ingress=promised.ingress,
        reason=reason,
        decisive=promised.decisive,
        steps=(*first, *_steps(trace.steps)),
        reply=tuple(_steps(reply.steps)) if reply is not None else (),
    )


def _with_link(part: Cluster, step: Step) -> Step:
    """The first step, with the link on which a pod's packets reach its node."""
    if not isinstance(step.what, Sent):
        return step
    senders = {cause.ref for cause in step.because}
    for pod in part.pods.values():
        workload = workload_of(pod) if pod.ref in senders else None
        if workload is not None:
            what = msgspec.structs.replace(step.what, link=workload.link)
            return msgspec.structs.replace(step, what=what)
    return step


def _fate(trace: Trace, promised: PromisedPath) -> tuple[Fate, str]:
    if trace.end.kind in _ARRIVED:
        return "delivered", ""
    if trace.end.kind == "refused":
        return "refused", reason_of(promised.stop) or trace.end.reason
    if promised.fate == "denied":
        return "denied", ""
    return "dropped", reason_of(promised.stop) or trace.end.reason


def _steps(steps: Sequence[Walked]) -> Iterator[Step]:
    for step in steps:
        yield Step(step.node, step.stage, step.what, step.because)


def _mtu(part: Cluster, states: Mapping[str, NodeState], path: Path) -> Mtu | None:
    """The smallest MTU on the path; kernels report it to senders of larger packets (path MTU)."""
    if not path.open:
        return None
    steps = [step for step in path.steps if step.node in states]
    # Between pods of one node no packet meets the underlay.
    leaves = len({step.node for step in steps}) > 1 or any(
        isinstance(step.what, Crossed | Tunnelled | CameIn) for step in steps
    )
    outer = [b for s in steps if leaves for b in _bounds(part, states[s.node], s)]
    inner = [b for s in steps for b in _of_pod_link(part, states[s.node], s)]
    return min((*outer, *inner), key=lambda bound: bound.bytes, default=None)


def _of_pod_link(part: Cluster, state: NodeState, step: Step) -> Iterator[Mtu]:
    """The bound of a pod's own link, by which it sends or receives."""
    what = step.what
    link = what.link if isinstance(what, Sent | Delivered) else ""
    entry = state.get(LinkKey(link)) if link else None
    if entry is None or not isinstance(entry.value, Link) or not isinstance(what, Sent | Delivered):
        return
    pod = what.sender if isinstance(what, Sent) else str(what.pod)
    namespace, _, name = pod.partition("/")
    found = part.pods.get((namespace, name))
    because = (Cause(found.ref),) if found is not None else ()
    yield Mtu(entry.value.mtu, f"the link of {pod} takes no more", because)


def _bounds(part: Cluster, state: NodeState, step: Step) -> Iterator[Mtu]:
    node = part.nodes[step.node]
    underlay = node.underlay
    because = (Cause(node.ref, f"metadata.annotations[{UNDERLAY_ANNOTATION}]"),)
    link = f"{underlay.link} of {node.name}"
    yield Mtu(underlay.mtu, f"{link} takes no more", because)
    entry = state.get(LinkKey(step.what.link)) if isinstance(step.what, Tunnelled) else None
    if entry is not None and isinstance(entry.value, Link):
        mtu = entry.value.mtu
        text = (
            f"{link} takes {underlay.mtu}, of which the tunnel's headers need {underlay.mtu - mtu}"
        )
        yield Mtu(mtu, text, because)
