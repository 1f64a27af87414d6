"""Ports in rules that lead nowhere: the Service's port where the pod's is meant, and others.

"List of ports to expose from the container. … Not specifying a port here DOES NOT prevent that port
from being exposed." (Container.ports): a number that no container declares may be served all the
same, so pods without ports are skipped, and a number declared for another protocol counts.
"""

from collections.abc import Iterable, Iterator

import msgspec

from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster_policies import ClusterNetworkPolicy, ClusterRule
from steppe.kube.objects import Pod
from steppe.kube.policies import (
    AnyTraffic,
    Direction,
    NetworkPolicy,
    Pods,
    Port,
    PortName,
    Rule,
)
from steppe.kube.services import EndpointSlice, ServicePort
from steppe.lint.facts import Facts, PortNumber
from steppe.lint.finding import Finding, known_as, listed, named
from steppe.lint.peers import SIDES
from steppe.lint.subjects import policies_of, subject_of
from steppe.lint.trying import (
    OUTSIDE,
    Edit,
    between,
    decision,
    packet_of,
    protocol_of,
    with_rules,
)
from steppe.net.address import IPAddress
from steppe.net.ports import PortRange

_ASKED = 16
"""So many pods at each end are tried."""


class _Place(msgspec.Struct, frozen=True):
    """A rule, where it stands, and the pods that its policy is for."""

    policy: NetworkPolicy | ClusterNetworkPolicy
    direction: Direction
    rule: Rule | ClusterRule
    own: tuple[Pod, ...]


def unserved_ports(facts: Facts) -> Iterator[Finding]:
    """Ports that none of the pods meant has, if all of them declare ports."""
    for policy in policies_of(facts):
        selected = tuple(p for p in facts.selected(subject_of(policy)[0]) if not p.host_network)
        if not selected:
            continue
        for direction, _ in SIDES:
            for rule in policy.rules(direction):
                pods = selected if direction == "ingress" else _receivers(facts, rule)
                yield from _of_rule(facts, _Place(policy, direction, rule, selected), pods)


def _receivers(facts: Facts, rule: Rule | ClusterRule) -> tuple[Pod, ...]:
    """The pods that an egress rule matches; none if it also matches something other than pods."""
    if not all(isinstance(peer, Pods) for peer in rule.peers):
        return ()
    chosen = (facts.selected(peer) for peer in rule.peers if isinstance(peer, Pods))
    return tuple({pod.ref: pod for pods in chosen for pod in pods if not pod.host_network}.values())


def _of_rule(facts: Facts, place: _Place, pods: tuple[Pod, ...]) -> Iterator[Finding]:
    if not pods:
        return
    rule = place.rule
    cause = Cause(place.policy.ref, f"{rule.field}.ports")
    declared = facts.declared(pods)
    for port in rule.ports:
        match port:
            case PortName() if not _has_name(port, pods) and _are_all(facts, pods):
                yield Finding(cause, "port-not-served", _unnamed(port, pods))
            case PortRange() if port.first == port.last:
                through = _service_at(facts, port, pods)
                if through and not any(_takes(other, through[1], pods) for other in rule.ports):
                    text = _of_service(port, through)
                    if _opens(facts, place, pods, through[1]):
                        text += f"; write {through[1][1]}"
                    yield Finding(cause, "service-port", text)
                elif not through and not _is_declared(port, declared):
                    yield Finding(cause, "port-not-declared", _undeclared(port, pods, declared))
            case PortRange() if not _is_declared(port, declared):
                yield Finding(cause, "port-not-declared", _undeclared(port, pods, declared))


def _are_all(facts: Facts, pods: Iterable[Pod]) -> bool:
    """Whether no other pods may be meant, which may have what these lack."""
    return all(facts.is_whole(space) for space in {pod.namespace for pod in pods})


def _has_name(port: PortName, pods: Iterable[Pod]) -> bool:
    """Whether one of the pods has the name, or may have it: its ports are not written down."""
    return any(
        own.name == port.name and port.protocol in ("", own.protocol)
        for pod in pods
        for own in pod.ports
    )


def _is_declared(port: PortRange, declared: frozenset[PortNumber]) -> bool:
    if port.whole or not declared:
        return True
    # A port declared for another protocol is information about the number: who serves DNS or HTTP/3
    # often names one protocol only.
    return any(port.first <= number <= port.last for _, number in declared)


def _takes(port: Port, target: PortNumber, pods: Iterable[Pod]) -> bool:
    protocol, number = target
    match port:
        case PortRange():
            return port.protocol == protocol and port.first <= number <= port.last
        case PortName():
            return any(
                own.name == port.name and (own.protocol, own.number) == target
                for pod in pods
                for own in pod.ports
            )
        case AnyTraffic():
            return True


Through = tuple[ObjectRef, PortNumber]
"""A Service, and where the port in question leads."""


def _service_at(facts: Facts, port: PortRange, pods: tuple[Pod, ...]) -> Through | None:
    """The Service of these pods that has this port and leads to another; None if none does, or
    one of the pods declares the port itself.
    """
    if any(
        (own.protocol, own.number) == (port.protocol, port.first)
        for pod in pods
        for own in (*pod.ports, *pod.nameless_ports)
    ):
        return None
    addresses = {address for pod in pods for address in pod.addresses}
    for service, slices in facts.cluster.services_with_slices():
        own = [p for p in service.ports if (p.protocol, p.port) == (port.protocol, port.first)]
        target = _target(own[0], slices, addresses) if own else 0
        if target and target != port.first:
            return service.ref, (port.protocol, target)
    return None


def _target(port: ServicePort, slices: Iterable[EndpointSlice], addresses: set[IPAddress]) -> int:
    """The pods' port to which a Service's port leads; 0 if it does not lead to them."""
    for slice_ in slices:
        if any(endpoint.address in addresses for endpoint in slice_.endpoints):
            return slice_.port(port)
    return 0


def _of_service(port: PortRange, through: Through) -> str:
    ref, (protocol, number) = through
    # Clients use the Service's port, but policies apply after it is translated.
    return (
        f"port {port.first} {port.protocol} is the port of {known_as(ref)}, which leads to "
        f"{number} {protocol} of its pods: policies look at the port of the pod"
    )


def _opens(facts: Facts, place: _Place, pods: tuple[Pod, ...], target: PortNumber) -> bool:
    """Whether the rule lets anybody through at the pods' port once it names that."""
    policy, direction = place.policy, place.direction
    if not isinstance(policy, NetworkPolicy):
        return False
    port = PortRange(target[0], target[1], target[1])
    rules = tuple(
        msgspec.structs.replace(rule, ports=(port,)) if rule.field == place.rule.field else rule
        for rule in policy.rules(direction)
    )
    edit = with_rules(policy, direction, rules)
    cause = Cause(policy.ref, place.rule.field)
    senders = place.own if direction == "egress" else tuple(facts.cluster.pods.values())
    for sender in senders[:_ASKED]:
        for receiver in pods[:_ASKED]:
            packet = between(sender, receiver, protocol_of(target[0]), target[1])
            if packet is None or sender.ref == receiver.ref:
                continue
            if cause in decision(facts.cluster, packet, direction, edit).because:
                return True
    return _from_outside(facts, place, pods, target, edit)


def _from_outside(
    facts: Facts, place: _Place, pods: tuple[Pod, ...], target: PortNumber, edit: Edit
) -> bool:
    """Whether an ingress rule then lets an address in that is nobody's here."""
    if place.direction == "egress":
        return False
    cause = Cause(place.policy.ref, place.rule.field)
    for receiver in pods[:_ASKED]:
        for own in receiver.addresses:
            other = next(each for each in OUTSIDE if each.version == own.version)
            packet = packet_of(other, own, protocol_of(target[0]), target[1])
            if cause in decision(facts.cluster, packet, "ingress", edit).because:
                return True
    return False


def _unnamed(port: PortName, pods: tuple[Pod, ...]) -> str:
    names = sorted({own.name for pod in pods for own in pod.ports})
    have = f"their ports are named {listed(names)}" if names else "none of their ports has a name"
    return (
        f"no pod meant ({_those(pods)}) has a port named {port.name!r}: {have}; "
        "use the name or number that they have"
    )


def _undeclared(port: PortRange, pods: tuple[Pod, ...], declared: frozenset[PortNumber]) -> str:
    last = "" if port.first == port.last else f"-{port.last}"
    have = listed(f"{number} {protocol}" for protocol, number in sorted(declared))
    return (
        f"port {port.first}{last} {port.protocol} is declared by none of the pods meant "
        f"({_those(pods)}), they declare {have}: right only if something listens there"
    )


def _those(pods: tuple[Pod, ...]) -> str:
    return listed(sorted(named(pod.ref) for pod in pods), most=2)
