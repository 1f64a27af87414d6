"""Finds policies that select no pod, peers that match nothing, and ports that no pod serves."""

from collections.abc import Iterable, Iterator

from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster_policies import ClusterNetworkPolicy, ClusterRule
from steppe.kube.objects import Pod
from steppe.kube.policies import (
    AnyTraffic,
    Direction,
    NetworkPolicy,
    Nodes,
    Peer,
    Pods,
    Port,
    PortName,
    Rule,
)
from steppe.kube.selectors import EVERYTHING
from steppe.lint.facts import Facts, PortNumber
from steppe.lint.finding import Finding, listed
from steppe.net.ports import LAST_PORT, PortRange

Policy = NetworkPolicy | ClusterNetworkPolicy
_SIDES: tuple[tuple[Direction, str], ...] = (("ingress", "from"), ("egress", "to"))


def policy_findings(facts: Facts) -> Iterator[Finding]:
    """What has no effect in each policy, from its subject to single ports."""
    cluster = facts.cluster
    policies: tuple[Policy, ...] = (
        *cluster.network_policies.values(),
        *cluster.cluster_policies.values(),
    )
    for policy in policies:
        subject, field = _subject(policy)
        pods = facts.selected(subject)
        selected = tuple(pod for pod in pods if not pod.host_network)
        if not selected:
            message = _idle(subject, bool(pods))
            yield Finding(Cause(policy.ref, field), "selects-nothing", message)
            continue
        for direction, side in _SIDES:
            for rule in policy.rules(direction):
                yield from _unmatched_peers(facts, policy.ref, rule, side)
                served_by = selected if direction == "ingress" else _receivers(facts, rule)
                yield from _unserved(facts, policy.ref, rule, served_by)


def _subject(policy: Policy) -> tuple[Pods, str]:
    if isinstance(policy, NetworkPolicy):
        return Pods(pods=policy.pods, within=policy.namespace), "spec.podSelector"
    return policy.subject, "spec.subject"


def _idle(subject: Pods, on_host: bool) -> str:
    if on_host:
        return (
            f"selects only pods on their host's network ({_as_text(subject)}), and policies do not "
            "apply to those; remove it, or guard the nodes themselves"
        )
    return f"selects no pod ({_as_text(subject)}), so it does nothing; correct it or remove it"


def _as_text(pods: Pods) -> str:
    """The selectors as text: `app=web in namespace shop`."""
    if pods.within:
        return f"{pods.pods} in namespace {pods.within}"
    if pods.namespaces == EVERYTHING:
        return f"{pods.pods} in any namespace"
    return f"{pods.pods} in namespaces with {pods.namespaces}"


def _unmatched_peers(
    facts: Facts, ref: ObjectRef, rule: Rule | ClusterRule, side: str
) -> Iterator[Finding]:
    """Peers that match nothing. Prefixes are not checked: their addresses may be outside."""
    for peer in rule.peers:
        who = _unmatched_text(facts, peer)
        if who:
            message = f"matches {who}; correct the selector or remove the peer"
            yield Finding(Cause(ref, f"{rule.field}.{side}"), "matches-nobody", message)


def _unmatched_text(facts: Facts, peer: Peer) -> str:
    """What this peer does not find, as text; "" if it matches something."""
    match peer:
        case Pods():
            pods = facts.selected(peer)
            if not pods:
                return f"no pod ({_as_text(peer)})"
            if all(pod.host_network for pod in pods):
                return f"only pods on their host's network ({_as_text(peer)}), which are no peers"
        case Nodes():
            if not any(peer.nodes.matches(node.labels) for node in facts.cluster.nodes.values()):
                return f"no node ({peer.nodes})"
        case _:
            pass
    return ""


def _receivers(facts: Facts, rule: Rule | ClusterRule) -> tuple[Pod, ...]:
    """The pods that an egress rule matches; none if it also matches something other than pods."""
    if not all(isinstance(peer, Pods) for peer in rule.peers):
        return ()
    chosen = (facts.selected(peer) for peer in rule.peers if isinstance(peer, Pods))
    return tuple({pod.ref: pod for pods in chosen for pod in pods if not pod.host_network}.values())


def _unserved(
    facts: Facts, ref: ObjectRef, rule: Rule | ClusterRule, pods: tuple[Pod, ...]
) -> Iterator[Finding]:
    """Ports that none of these pods declares, if all of them declare ports."""
    declared = facts.declared(pods)
    for port in rule.ports:
        if pods and not _is_served(port, pods, declared):
            message = f"{_named(port)} is served by none of the pods meant ({_those(pods)}); "
            message += _cure(facts, port, pods, declared)
            yield Finding(Cause(ref, f"{rule.field}.ports"), "port-not-served", message)


def _is_served(port: Port, pods: Iterable[Pod], declared: frozenset[PortNumber]) -> bool:
    match port:
        case PortName():
            return any(
                own.name == port.name and port.protocol in ("", own.protocol)
                for pod in pods
                for own in pod.ports
            )
        case PortRange():
            # "List of ports to expose from the container. … Not specifying a port here DOES NOT
            # prevent that port from being exposed." (Container.ports): so pods without ports are
            # skipped.
            whole = (port.first, port.last) == (0, LAST_PORT)
            return (
                whole
                or not declared
                or any(
                    protocol == port.protocol and port.first <= number <= port.last
                    for protocol, number in declared
                )
            )
        case AnyTraffic():
            return True


def _named(port: Port) -> str:
    match port:
        case PortName():
            return f"the port named {port.name!r}"
        case PortRange():
            last = "" if port.first == port.last else f"-{port.last}"
            return f"port {port.first}{last} {port.protocol}"
        case AnyTraffic():
            return "any port"


def _those(pods: tuple[Pod, ...]) -> str:
    return listed(sorted(f"{pod.namespace}/{pod.name}" for pod in pods), most=2)


def _cure(facts: Facts, port: Port, pods: tuple[Pod, ...], declared: frozenset[PortNumber]) -> str:
    if isinstance(port, PortName):
        names = sorted({own.name for pod in pods for own in pod.ports})
        have = f"their ports are named {', '.join(names)}" if names else "none of theirs has a name"
        return f"{have}; use the name or number that they have"
    numbers = ", ".join(f"{number} {protocol}" for protocol, number in sorted(declared))
    service = _service_at(facts, port, pods) if isinstance(port, PortRange) else None
    if service is not None:
        # Clients use the Service's port, but policies apply after it is translated.
        return (
            f"{service} has that port, and leads to {numbers}: policies look at the port of the "
            "pod, so name that one"
        )
    return f"they declare {numbers}; correct the port, or declare it in the pods"


def _service_at(facts: Facts, port: PortRange, pods: tuple[Pod, ...]) -> ObjectRef | None:
    """A Service of these pods that has this port as its own."""
    addresses = {address for pod in pods for address in pod.addresses}
    for service, slices in facts.cluster.services_with_slices():
        if any(port.first <= own.port <= port.last for own in service.ports) and any(
            endpoint.address in addresses for slice_ in slices for endpoint in slice_.endpoints
        ):
            return service.ref
    return None
