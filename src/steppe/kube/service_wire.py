"""Services and EndpointSlices on the wire, reduced to the fields in use (see `wire`).

There may be hundreds of thousands of them, and none is ever part of a reference cycle: `gc=False`
excludes them from garbage collection runs.
"""

import msgspec

from steppe.kube.wire import ObjectMeta


class ServicePort(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    node_port: int = 0


class ClientIP(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    timeout_seconds: int | None = None


class AffinityConfig(msgspec.Struct, frozen=True, gc=False):
    client_ip: ClientIP | None = msgspec.field(name="clientIP", default=None)


class ServiceSpec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] | None = msgspec.field(name="clusterIPs", default=None)
    ports: tuple[ServicePort, ...] | None = None
    external_ips: tuple[str, ...] | None = msgspec.field(name="externalIPs", default=None)
    session_affinity: str = "None"
    session_affinity_config: AffinityConfig | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str | None = None
    health_check_node_port: int = 0
    load_balancer_source_ranges: tuple[str, ...] | None = None
    traffic_distribution: str | None = None
    external_name: str = ""


class Ingress(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    ip: str = ""
    ip_mode: str | None = None
    hostname: str | None = None


class LoadBalancer(msgspec.Struct, frozen=True, gc=False):
    ingress: tuple[Ingress, ...] | None = None


class ServiceStatus(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    load_balancer: LoadBalancer | None = None


class Service(msgspec.Struct, frozen=True, gc=False):
    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class Conditions(msgspec.Struct, frozen=True, gc=False):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Hint(msgspec.Struct, frozen=True, gc=False):
    name: str = ""


class Hints(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    for_zones: tuple[Hint, ...] | None = None
    for_nodes: tuple[Hint, ...] | None = None


class Endpoint(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    addresses: tuple[str, ...] | None = None
    conditions: Conditions = Conditions()
    node_name: str | None = None
    hints: Hints | None = None


class EndpointPort(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class EndpointSlice(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    metadata: ObjectMeta
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None


class ServiceCIDRSpec(msgspec.Struct, frozen=True, gc=False):
    cidrs: tuple[str, ...] | None = None


class ServiceCIDR(msgspec.Struct, frozen=True, gc=False):
    metadata: ObjectMeta
    spec: ServiceCIDRSpec = ServiceCIDRSpec()
