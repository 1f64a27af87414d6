"""The fields of API objects that names are made of, on the wire (see kube/wire.py)."""

import msgspec

from steppe.kube.wire import ObjectMeta

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Namespace(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class ServicePort(msgspec.Struct, frozen=True):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0


class ServiceSpec(msgspec.Struct, frozen=True, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] | None = msgspec.field(name="clusterIPs", default=None)
    external_name: str = ""
    publish_not_ready_addresses: bool = False
    ports: tuple[ServicePort, ...] | None = None


class Service(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()

    @property
    def headless(self) -> bool:
        return self.spec.type != "ExternalName" and self.spec.cluster_ip == "None"


class Conditions(msgspec.Struct, frozen=True):
    ready: bool | None = None


class Endpoint(msgspec.Struct, frozen=True):
    addresses: tuple[str, ...] | None = None
    conditions: Conditions = Conditions()
    hostname: str | None = None


class EndpointPort(msgspec.Struct, frozen=True):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class EndpointSlice(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None

    @property
    def service(self) -> str:
        return (self.metadata.labels or {}).get(SERVICE_NAME_LABEL, "")
