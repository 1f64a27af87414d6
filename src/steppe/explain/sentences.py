"""The sentences of an explanation: the verdict, and the decision of each end's policies."""

from collections.abc import Iterable, Sequence

import msgspec

from steppe.ends.target import RangeTarget, ServiceTarget
from steppe.explain.judged import doubts_of
from steppe.explain.model import Case, Flow, Kind, Path
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.doubt import Doubt
from steppe.kube.policies import Direction
from steppe.kube.services import Service
from steppe.net.packet import Packet
from steppe.oracle.policy import Decision

_NAMED = 3


def object_text(ref: ObjectRef) -> str:
    """An object as text: `NetworkPolicy shop/db`."""
    kind, _, name = str(ref).partition("/")
    return f"{kind} {name}"


def cause_text(cause: Cause) -> str:
    """An object and its field as text: `NetworkPolicy shop/db spec.ingress[0]`."""
    return f"{object_text(cause.ref)} {cause.field}".rstrip()


def traffic(packet: Packet | Flow) -> str:
    """`TCP 5432`, or `ICMP`."""
    port = packet.port if isinstance(packet, Flow) else packet.destination_port
    return f"{packet.protocol} {port}" if port else packet.protocol


def listed(texts: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *before, last = dict.fromkeys(texts)
    return f"{', '.join(before)} and {last}" if before else last


def verdict(flow: Flow, kind: Kind, cases: Sequence[Case]) -> str:
    """The verdict as one sentence."""
    who, whom, how = str(flow.source), str(flow.destination), traffic(flow)
    whom = "itself" if who == whom else whom
    if kind == "unknown":
        return _not_known(f"{who} reaches {whom} on {how}", doubts_of(cases))
    head = f"{who} {'cannot reach' if kind == 'denied' else 'reaches'} {whom} on {how}"
    if flow.protocol == "ICMP":
        head = head.replace(" on ICMP", " by ICMP")
    head += _way_in(flow, cases)
    shut = [path for case in cases for path in case.paths if not path.open]
    if not shut:
        return f"{head}{_endpoints(flow, cases)}."
    alike = {path.receiver for path in shut if path.decisive == shut[0].decisive}
    because = reason(flow, msgspec.structs.replace(shut[0], receiver=_several(sorted(alike))))
    if kind == "denied":
        return f"{head}: {because}."
    return f"{head} only partly: {_which(flow, cases)}; {because}."


def _not_known(what: str, doubts: Sequence[Doubt]) -> str:
    what = what.replace(" on ICMP", " by ICMP")
    texts = {doubt.text: [d.cause.ref for d in doubts if d.text == doubt.text] for doubt in doubts}
    on = (f"{_several([*map(object_text, refs)])} ({text})" for text, refs in texts.items())
    return f"It is not known whether {what}: this hangs on {_several(list(on))}."


def _way_in(flow: Flow, cases: Sequence[Case]) -> str:
    """The node port that senders outside use, if they use no address of the Service."""
    if not (isinstance(flow.source, RangeTarget) and isinstance(flow.destination, ServiceTarget)):
        return ""
    service = flow.destination.service
    own = {*service.addresses, *flow.destination.addresses}
    dialled = (case.packet for case in cases if case.packet.destination not in own)
    numbers = sorted({packet.destination_port for packet in dialled})
    if not numbers:
        return ""
    whose = "nodes with endpoints" if service.external_local else "any node"
    return f" (node port {listed(map(str, numbers))} of {whose}{_balancer(service)})"


def _balancer(service: Service) -> str:
    """How a load balancer leads to node ports, if it is none that nodes answer for."""
    if service.type != "LoadBalancer" or service.load_balancer_ips:
        return ""
    if service.load_balancer_hosts:
        return f", to which its load balancer {listed(service.load_balancer_hosts)} leads"
    return ", as its load balancer has given it no address yet"


def _several(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} others"
    return listed(names)


def _endpoints(flow: Flow, cases: Sequence[Case]) -> str:
    if not isinstance(flow.destination, ServiceTarget):
        return ""
    count = max(len(case.paths) for case in cases)
    if flow.destination.service.headless:
        count = len(_receivers(cases))
    if not count:
        return ""
    if count == 1:
        return ", by its only endpoint"
    kept = _affinity(flow)
    if kept:
        return f", by one of its {count} endpoints, and by the same endpoint each time ({kept})"
    return f", by any of its {count} endpoints"


def _affinity(flow: Flow) -> str:
    """`ClientIP affinity, kept for 3 hours`; "" for a choice that is made anew each time."""
    service = flow.destination.service if isinstance(flow.destination, ServiceTarget) else None
    seconds = service.affinity_seconds if service is not None else 0
    return f"ClientIP affinity, kept for {duration(seconds)}" if seconds else ""


def duration(seconds: int) -> str:
    """`3 hours`, `10 minutes` or `45 seconds`: the largest unit that says it exactly."""
    for unit, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit == 0:
            count = seconds // unit
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


def _receivers(cases: Iterable[Case]) -> dict[str, bool]:
    """For each receiver, whether all paths to it are open."""
    found: dict[str, bool] = {}
    for path in (path for case in cases for path in case.paths):
        found[path.receiver] = found.get(path.receiver, True) and path.open
    return found


def _which(flow: Flow, cases: Sequence[Case]) -> str:
    """Which cases or receivers are open and which are not."""
    if isinstance(flow.destination, ServiceTarget) and flow.destination.service.headless:
        whole = _receivers(cases)
        return f"{sum(whole.values())} of {len(whole)} endpoints can be reached"
    if len({case.kind for case in cases}) == 1:
        return _by_endpoints(flow, cases)
    if isinstance(flow.source, RangeTarget) or isinstance(flow.destination, RangeTarget):
        closed = [case for case in cases if case.kind != "allowed"]
        if isinstance(flow.source, RangeTarget):
            return f"not {listed(_closed_part(flow.source, case) for case in closed)}"
        return f"not to {listed(case.stands_for for case in closed)}"
    through4 = [case.stands_for for case in cases if case.kind == "allowed"]
    shut = [case.stands_for for case in cases if case.kind != "allowed"]
    if not through4:
        return f"IPv4 and IPv6 differ, and {listed(shut)} fail for some endpoints"
    return f"by {listed(through4)}, not by {listed(shut)}"


def _by_endpoints(flow: Flow, cases: Sequence[Case]) -> str:
    """How many endpoints can be reached, where that is the same for all cases."""
    paths = cases[0].paths
    through = sum(path.open for path in paths)
    if any(case.by_nodes for case in cases):
        return f"some of {len(paths)} endpoints can be reached, and others by each node"
    some = f"{through} of {len(paths)} endpoints can be reached"
    kept = _affinity(flow)
    if not kept:
        return some
    return (
        f"{some}, and a client has the same endpoint each time ({kept}), so some clients "
        "always get through and the others never"
    )


def _closed_part(source: RangeTarget, case: Case) -> str:
    """`from 10.0.0.0/8`, `coming in by node-a`, or both."""
    nodes = f"coming in by {_several(case.by_nodes)}" if case.by_nodes else ""
    if nodes and source.address is not None:
        return nodes
    return f"from {case.stands_for} {nodes}".rstrip()


def reason(flow: Flow, path: Path) -> str:
    """Why a path is not open."""
    if path.fate != "denied":
        return path.reason
    if not path.egress.allowed:
        return refusal(path.egress, "egress", str(flow.source), path.receiver, path.received)
    return refusal(path.ingress, "ingress", path.receiver, seen_sender(flow, path), path.received)


def seen_sender(flow: Flow, path: Path) -> str:
    """The sender as the receiver's policies see it: a node's address, where a node masquerades."""
    before, after = path.sent.source, path.received.source
    if before == after:
        return str(flow.source)
    return f"a node's address, {after}, which replaces {before} on the way,"


def refusal(decision: Decision, direction: Direction, pod: str, peer: str, packet: Packet) -> str:
    """Why the policies of one pod deny the packet."""
    if decision.by != "NetworkPolicy":
        return f"{listed(map(cause_text, decision.because))} denies it ({decision.by} tier)"
    policies = listed(object_text(cause.ref) for cause in decision.because)
    several = len(decision.because) > 1
    takes = f"takes {peer}" if direction == "ingress" else f"lets it reach {peer}"
    return (
        f"{policies} {'isolate' if several else 'isolates'} {pod} for {direction} and none of "
        f"{'their' if several else 'its'} rules {takes} on {traffic(packet)}"
    )


def decided(decision: Decision, direction: Direction, pod: str, peer: str, packet: Packet) -> str:
    """The decision of one end's policies, allowed or denied."""
    if not decision.allowed:
        return refusal(decision, direction, pod, peer, packet)
    rules = listed(map(cause_text, decision.because)) if decision.because else ""
    return {
        "no pod": f"{pod} is no pod, so no policy is for it",
        "itself": "a pod always reaches itself",
        "own node": f"the node of {pod} always reaches it",
        "default": f"no policy isolates {pod} for {direction}",
        "NetworkPolicy": f"let through by {rules}",
    }.get(decision.by, f"{rules} accepts it ({decision.by} tier)")
