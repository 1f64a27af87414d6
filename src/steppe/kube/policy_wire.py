"""Network policies and what they select, on the wire, reduced to the fields in use (see `wire`).

A field that this version of Steppe does not know is no error here. It is dropped, so its object is
empty; `policies` recognises the empty object and fails closed.
"""

import msgspec

from steppe.kube.wire import ObjectMeta


class Requirement(msgspec.Struct, frozen=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class LabelSelector(msgspec.Struct, frozen=True, rename="camel"):
    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Requirement, ...] | None = None


class Namespace(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class PolicyPort(msgspec.Struct, frozen=True, rename="camel"):
    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None


class IPBlock(msgspec.Struct, frozen=True):
    cidr: str = ""
    excepted: tuple[str, ...] | None = msgspec.field(name="except", default=None)


class Peer(msgspec.Struct, frozen=True, rename="camel"):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class IngressRule(msgspec.Struct, frozen=True):
    ports: tuple[PolicyPort, ...] | None = None
    peers: tuple[Peer, ...] | None = msgspec.field(name="from", default=None)


class EgressRule(msgspec.Struct, frozen=True):
    ports: tuple[PolicyPort, ...] | None = None
    peers: tuple[Peer, ...] | None = msgspec.field(name="to", default=None)


class NetworkPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    pod_selector: LabelSelector | None = None
    ingress: tuple[IngressRule, ...] | None = None
    egress: tuple[EgressRule, ...] | None = None
    policy_types: tuple[str, ...] | None = None


class NetworkPolicy(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: NetworkPolicySpec = NetworkPolicySpec()


class NamespacedPod(msgspec.Struct, frozen=True, rename="camel"):
    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector | None = None


class Subject(msgspec.Struct, frozen=True):
    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None


class PortRange(msgspec.Struct, frozen=True):
    start: int = 0
    end: int = 0


class Port(msgspec.Struct, frozen=True):
    number: int | None = None
    range: PortRange | None = None


class ProtocolPort(msgspec.Struct, frozen=True, rename="camel"):
    destination_port: Port | None = None


class Protocol(msgspec.Struct, frozen=True, rename="camel"):
    tcp: ProtocolPort | None = None
    udp: ProtocolPort | None = None
    sctp: ProtocolPort | None = None
    destination_named_port: str | None = None


class ClusterIngressPeer(msgspec.Struct, frozen=True, rename="camel"):
    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None


class ClusterEgressPeer(ClusterIngressPeer, frozen=True, rename="camel"):
    nodes: LabelSelector | None = None
    networks: tuple[str, ...] | None = None
    domain_names: tuple[str, ...] | None = None


class ClusterIngressRule(msgspec.Struct, frozen=True):
    name: str = ""
    action: str = ""
    peers: tuple[ClusterIngressPeer, ...] | None = msgspec.field(name="from", default=None)
    protocols: tuple[Protocol, ...] | None = None


class ClusterEgressRule(msgspec.Struct, frozen=True):
    name: str = ""
    action: str = ""
    peers: tuple[ClusterEgressPeer, ...] | None = msgspec.field(name="to", default=None)
    protocols: tuple[Protocol, ...] | None = None


class ClusterNetworkPolicySpec(msgspec.Struct, frozen=True):
    tier: str = ""
    priority: int = -1
    subject: Subject = Subject()
    ingress: tuple[ClusterIngressRule, ...] | None = None
    egress: tuple[ClusterEgressRule, ...] | None = None


class ClusterNetworkPolicy(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: ClusterNetworkPolicySpec = ClusterNetworkPolicySpec()
