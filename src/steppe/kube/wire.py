"""The shapes of API objects on the wire, reduced to the fields in use.

Addresses stay strings here (msgspec cannot decode a union of both families, its issue 106). Every
field that the API may leave out or send as null has a default, so decoding a list fails only if a
field has a wrong JSON type.
"""

from sys import intern

import msgspec


def own(text: str) -> str:
    """An interned copy of a text.

    The decoded text shares memory with the whole decoded list; keeping some texts of each object
    would keep all of that memory from being freed.
    """
    return intern(text.encode().decode())


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Taint(msgspec.Struct, frozen=True):
    key: str = ""


class NodeSpec(msgspec.Struct, frozen=True):
    taints: tuple[Taint, ...] | None = None
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    pod_cidrs: tuple[str, ...] | None = msgspec.field(name="podCIDRs", default=None)


class NodeAddress(msgspec.Struct, frozen=True):
    type: str = ""
    address: str = ""


class NodeStatus(msgspec.Struct, frozen=True):
    addresses: tuple[NodeAddress, ...] | None = None


class Node(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ContainerPort(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class Container(msgspec.Struct, frozen=True, rename="camel"):
    ports: tuple[ContainerPort, ...] | None = None
    restart_policy: str | None = None


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""
    host_network: bool = False
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None


class PodIP(msgspec.Struct, frozen=True):
    ip: str = ""


class PodStatus(msgspec.Struct, frozen=True):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[PodIP, ...] | None = msgspec.field(name="podIPs", default=None)


class Pod(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
