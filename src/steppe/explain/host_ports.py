"""hostPorts of pods: the runtime's portmap plugin opens them, and Steppe opens none."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from steppe.ends.target import NodeTarget, PodTarget, RangeTarget
from steppe.explain.model import Flow
from steppe.kube.cause import ObjectRef
from steppe.manifests.documents import readable


class HostPort(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a container that asks for one of its node; 0 if it asks for none."""

    container_port: int = 0
    host_port: int | None = None
    protocol: str | None = None
    host_ip: str | None = msgspec.field(name="hostIP", default=None)


class _Container(msgspec.Struct, frozen=True):
    ports: tuple[HostPort, ...] | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str | None = None
    host_network: bool | None = None
    containers: tuple[_Container, ...] | None = None


class HostPortPod(msgspec.Struct, frozen=True):
    """A pod, as far as it asks for ports of its node."""

    spec: _Spec = _Spec()

    def asked(self) -> Iterator[tuple[str, HostPort]]:
        """Each port that it takes of its node, with its field and `host_port` filled in.

        With hostNetwork every port is the node's: "If HostNetwork is specified, this must match
        ContainerPort" (ContainerPort.hostPort).
        """
        for number, container in enumerate(self.spec.containers or ()):
            for index, port in enumerate(container.ports or ()):
                own = port.container_port if self.spec.host_network else 0
                taken = port.host_port or own
                if taken:
                    place = f"spec.containers[{number}].ports[{index}].hostPort"
                    yield place, msgspec.structs.replace(port, host_port=taken)


UNSERVED = (
    "is opened by the runtime's portmap plugin, if it is chained behind the network's; Steppe "
    "opens none"
)


def host_port_notes(objects: Mapping[ObjectRef, Any], flow: Flow) -> Iterator[str]:
    """A sentence for each hostPort by which this flow may be meant to go."""
    to = flow.destination
    if isinstance(to, NodeTarget):
        for ref, document in objects.items():
            pod = readable(document, HostPortPod) if ref.kind == "Pod" else None
            if pod is not None and pod.spec.node_name == to.node.name:
                yield from _of_pod(ref, pod, flow)
    elif isinstance(to, PodTarget) and isinstance(flow.source, RangeTarget | NodeTarget):
        pod = readable(objects.get(to.pod.ref, {}), HostPortPod)
        if pod is not None:
            yield from _of_pod(to.pod.ref, pod, flow)


def _of_pod(ref: ObjectRef, pod: HostPortPod, flow: Flow) -> Iterator[str]:
    by_node = isinstance(flow.destination, NodeTarget)
    for _, port in pod.asked() if not pod.spec.host_network else ():
        number = port.host_port if by_node else port.container_port
        if (number, port.protocol or "TCP") == (flow.port, flow.protocol):
            yield (
                f"hostPort {port.host_port} of pod {ref.namespace}/{ref.name} on "
                f"{pod.spec.node_name} {UNSERVED}."
            )
