"""AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1), which
ClusterNetworkPolicy replaces: read into that, for analysis. Agents do not follow them.

    AdminNetworkPolicy              tier Admin, with its priority
    BaselineAdminNetworkPolicy      tier Baseline; there is one alone, called `default`
    action Allow                    Accept
    ports: portNumber, namedPort,   protocols: tcp, udp and sctp, destinationNamedPort
           portRange
"""

from typing import Any

import msgspec

from steppe.kube import policy_wire as wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.cluster_policies import ClusterNetworkPolicy, cluster_policy_from
from steppe.kube.wire import ObjectMeta

_ACTIONS = {"Allow": "Accept"}


class _PortNumber(msgspec.Struct, frozen=True):
    protocol: str = ""
    port: int = 0


class _PortRange(msgspec.Struct, frozen=True):
    protocol: str = "TCP"
    start: int = 0
    end: int = 0


class _Port(msgspec.Struct, frozen=True, rename="camel"):
    port_number: _PortNumber | None = None
    named_port: str | None = None
    port_range: _PortRange | None = None


class _IngressRule(msgspec.Struct, frozen=True):
    name: str = ""
    action: str = ""
    peers: tuple[wire.ClusterIngressPeer, ...] | None = msgspec.field(name="from", default=None)
    ports: tuple[_Port, ...] | None = None


class _EgressRule(msgspec.Struct, frozen=True):
    name: str = ""
    action: str = ""
    peers: tuple[wire.ClusterEgressPeer, ...] | None = msgspec.field(name="to", default=None)
    ports: tuple[_Port, ...] | None = None


class _Spec(msgspec.Struct, frozen=True):
    priority: int = 0
    subject: wire.Subject = wire.Subject()
    ingress: tuple[_IngressRule, ...] | None = None
    egress: tuple[_EgressRule, ...] | None = None


class AdminPolicy(msgspec.Struct, frozen=True):
    """Either kind on the wire."""

    metadata: ObjectMeta
    kind: str = "AdminNetworkPolicy"
    spec: _Spec = _Spec()


def admin_policy_from(seen: AdminPolicy) -> tuple[ClusterNetworkPolicy, tuple[Problem, ...]]:
    """The checked policy, and a Problem for each part that could not be understood."""
    spec = seen.spec
    rules: dict[str, Any] = {
        "ingress": spec.ingress
        and tuple(
            wire.ClusterIngressRule(r.name, _action(r.action), r.peers, _protocols(r.ports))
            for r in spec.ingress
        ),
        "egress": spec.egress
        and tuple(
            wire.ClusterEgressRule(r.name, _action(r.action), r.peers, _protocols(r.ports))
            for r in spec.egress
        ),
    }
    tier = "Baseline" if seen.kind.startswith("Baseline") else "Admin"
    same = wire.ClusterNetworkPolicySpec(tier, spec.priority, spec.subject, **rules)
    policy, problems = cluster_policy_from(wire.ClusterNetworkPolicy(seen.metadata, same))
    ref = ObjectRef(seen.kind, "", seen.metadata.name)
    told = (
        Problem(Cause(ref, each.cause.field.replace(".protocols", ".ports")), each.message)
        for each in problems
    )
    return msgspec.structs.replace(policy, kind=seen.kind), tuple(told)


def _action(written: str) -> str:
    """The action's name in ClusterNetworkPolicy; Accept is no word of the older kinds."""
    return _ACTIONS.get(written, "" if written == "Accept" else written)


def _protocols(ports: tuple[_Port, ...] | None) -> tuple[wire.Protocol, ...] | None:
    """The ports in ClusterNetworkPolicy's form; one that is not understood stays empty, which fails
    closed there. An empty list means all ports, as one that is left out.
    """
    return tuple(_protocol(port) for port in ports) if ports else None


def _protocol(port: _Port) -> wire.Protocol:
    given = [each for each in (port.port_number, port.named_port, port.port_range) if each]
    if len(given) != 1:
        return wire.Protocol()
    if port.named_port:
        return wire.Protocol(destination_named_port=port.named_port)
    if port.port_number is not None:
        protocol, range_ = port.port_number.protocol, wire.Port(number=port.port_number.port)
    else:
        found = port.port_range or _PortRange()
        protocol = found.protocol
        range_ = wire.Port(range=wire.PortRange(found.start, found.end))
    held = wire.ProtocolPort(range_)
    return {
        "TCP": wire.Protocol(tcp=held),
        "UDP": wire.Protocol(udp=held),
        "SCTP": wire.Protocol(sctp=held),
    }.get(protocol, wire.Protocol())
