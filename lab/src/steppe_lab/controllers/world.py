"""The shared watches: one local copy of each kind of object, for all controllers together.

Controllers begin only when every copy is complete: an incomplete list looks like deletions.
"""

import asyncio
from typing import Any, Generic, TypeVar

from steppe.client.client import Client
from steppe.client.events import EventRecorder
from steppe.client.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from steppe.client.store import HasMeta, Index, Store, keep
from steppe_lab.controllers.objects import (
    DaemonSet,
    Deployment,
    Endpoints,
    EndpointSlice,
    Lease,
    Namespace,
    Node,
    Pod,
    ReplicaSet,
    Service,
    StatefulSet,
    controller_of,
)

T = TypeVar("T", bound=HasMeta)


class Copy(Generic[T]):
    """A store, and what it is a copy of."""

    def __init__(
        self, store: Store[T], resource: Resource, type_: type[T], namespace: str = ""
    ) -> None:
        self.store = store
        self.resource = resource
        self.type = type_
        self.namespace = namespace
        """The one namespace the copy is limited to, if any."""


class World:
    """The local copies of all kinds, and the client to change objects."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.events = EventRecorder(client, "steppe-lab-controllers")
        self.nodes: Store[Node] = Store()
        self.pods: Store[Pod] = Store()
        self.namespaces: Store[Namespace] = Store()
        self.services: Store[Service] = Store()
        self.slices: Store[EndpointSlice] = Store()
        self.endpoints: Store[Endpoints] = Store()
        self.deployments: Store[Deployment] = Store()
        self.replicasets: Store[ReplicaSet] = Store()
        self.daemonsets: Store[DaemonSet] = Store()
        self.statefulsets: Store[StatefulSet] = Store()
        self.leases: Store[Lease] = Store()
        self.pods_by_controller = self.pods.index(_controller)
        self.pods_by_namespace = self.pods.index(_namespace)
        self.pods_by_node: Index[Pod] = self.pods.index(
            lambda pod: (pod.spec.node_name,) if pod.spec.node_name else ()
        )
        self.replicasets_by_controller = self.replicasets.index(_controller)
        self.replicasets_by_namespace = self.replicasets.index(_namespace)
        self.slices_by_service = self.slices.index(_service)

        self.pod_copy = Copy(self.pods, PODS, Pod)
        self.replicaset_copy = Copy(self.replicasets, REPLICASETS, ReplicaSet)
        self.copies: tuple[Copy[Any], ...] = (
            self.pod_copy,
            self.replicaset_copy,
            Copy(self.nodes, NODES, Node),
            Copy(self.namespaces, NAMESPACES, Namespace),
            Copy(self.services, SERVICES, Service),
            Copy(self.slices, ENDPOINTSLICES, EndpointSlice),
            Copy(self.endpoints, ENDPOINTS, Endpoints),
            Copy(self.deployments, DEPLOYMENTS, Deployment),
            Copy(self.daemonsets, DAEMONSETS, DaemonSet),
            Copy(self.statefulsets, STATEFULSETS, StatefulSet),
            Copy(self.leases, LEASES, Lease, "kube-node-lease"),
        )

    def watch(self, group: asyncio.TaskGroup) -> list[asyncio.Event]:
        """Start all watches.

        Each returned event is set when the first list of its watch is complete.
        """
        synced = []
        for copy in self.copies:
            complete = asyncio.Event()
            synced.append(complete)
            group.create_task(
                keep(
                    copy.store,
                    self.client,
                    copy.resource,
                    copy.type,
                    complete.set,
                    namespace=copy.namespace,
                )
            )
        return synced


def _controller(item: Pod | ReplicaSet) -> tuple[str, ...]:
    owner = controller_of(item.metadata)
    return (owner.uid,) if owner else ()


def _namespace(item: Pod | ReplicaSet) -> tuple[str]:
    return (item.metadata.namespace,)


def _service(item: EndpointSlice) -> tuple[tuple[str, str], ...]:
    name = item.metadata.labels.get("kubernetes.io/service-name")
    return ((item.metadata.namespace, name),) if name else ()
