"""The cluster of a case, written to a lab's API: only what differs from what is there."""

import asyncio
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from steppe.client.errors import ApiError
from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    NAMESPACES,
    NETWORKPOLICIES,
    PODS,
    Resource,
)
from tests.conformance.netpol_cases import Namespace, Pod
from tests.conformance.netpol_lab import Json, LiveLab
from tests.conformance.netpol_services import PodServices
from tests.conformance.netpol_world import Key, State, key_of
from tests.waiting import until_async

POLICIES = {"NetworkPolicy": NETWORKPOLICIES, "ClusterNetworkPolicy": CLUSTERNETWORKPOLICIES}

_BUILT_IN = ("default", "kube-system", "kube-public", "kube-node-lease", "steppe-status")


def written_as(manifest: Json) -> Resource:
    """The kind of a policy, in the version that its manifest is written in."""
    known = POLICIES[manifest["kind"]]
    return next((v for v in known.versions if v.api_version == manifest["apiVersion"]), known)


class Rejected(Exception):  # noqa: N818 - what became of a manifest
    """The API server does not store a policy."""


class Sync:
    """Knows what it has written, and so what to write."""

    def __init__(self, lab: LiveLab) -> None:
        self._lab = lab
        self._client = lab.client
        self._namespaces: dict[str, Namespace] = {}
        self._pods: dict[str, Pod] = {}
        self._services = PodServices(lab.client)
        self._policies: dict[Key, Json] = {}
        self._versions: dict[Key, str] = {}

    def cluster_ips(self, name: str) -> Mapping[int, str]:
        """The addresses of a pod's Service, by IP version."""
        return self._services.cluster_ips.get(name, {})

    async def seat_fixed(self, pods: Iterable[Pod]) -> None:
        """Make these pods with their very addresses: lowest first, as the agent gives them."""
        by_node: dict[str, list[Pod]] = {}
        for pod in sorted(pods, key=lambda pod: int(ip_address(pod.ips[0]))):
            await self.have_namespace(pod.namespace)
            by_node.setdefault(pod.node, []).append(pod)
        async with asyncio.TaskGroup() as group:
            for here in by_node.values():
                group.create_task(self._create_fixed(here))

    async def _create_fixed(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            await self._create_pod(pod, fixed=True)

    async def bring(self, state: State, *, with_services: bool) -> None:
        """Return once what the state holds is in the API and in the agents' kernels."""
        pods = {pod.full_name: pod for pod in state.pods}
        await self._remove_policies(state)
        await self._remove_pods(pods)
        await self._remove_namespaces({namespace.name for namespace in state.namespaces})
        await self._lab.label_nodes(state.nodes)
        for namespace in state.namespaces:
            await self._set_namespace(namespace)
        for pod in pods.values():
            await self._set_pod(pod)
        if with_services:
            for name, pod in pods.items():
                await self._services.make(pod, self._lab.seats[name].addresses)
        addresses = {name: [*self._lab.seats[name].addresses] for name in pods}
        for manifest in state.manifests(addresses):
            await self._set_policy(manifest)
        await self._lab.settled()

    # Policies

    async def _remove_policies(self, state: State) -> None:
        for key in self._policies.keys() - set(state.manifest_keys):
            kind, namespace, name = key
            await self._client.delete(POLICIES[kind], name, namespace)
            del self._policies[key]

    async def _set_policy(self, manifest: Json) -> None:
        """Create or replace it; an update has to name the version that it replaces."""
        key = key_of(manifest)
        if self._policies.get(key) == manifest:
            return
        body = {**manifest, "metadata": {**manifest["metadata"]}}
        try:
            if key in self._policies:
                body["metadata"]["resourceVersion"] = self._versions[key]
                made = await self._client.update(written_as(manifest), body, key[1])
            else:
                made = await self._client.create(written_as(manifest), body, key[1])
        except ApiError as error:
            if error.status != 422:
                raise
            raise Rejected(str(error)) from error
        self._policies[key] = manifest
        self._versions[key] = made["metadata"]["resourceVersion"]

    # Pods

    async def _remove_pods(self, wanted: Mapping[str, Pod]) -> None:
        for name, pod in tuple(self._pods.items()):
            after = wanted.get(name)
            if after is None or _made_of(pod) != _made_of(after):
                await self._services.remove(pod)
                await self._client.delete(PODS, pod.name, pod.namespace, grace_period=0)
                del self._pods[name]

    async def _set_pod(self, pod: Pod) -> None:
        known = self._pods.get(pod.full_name)
        if known is None:
            await self._create_pod(pod)
        else:
            await self._relabel(PODS, pod.name, pod.namespace, known.labels, pod.labels)
        self._pods[pod.full_name] = pod

    async def _create_pod(self, pod: Pod, *, fixed: bool = False) -> None:
        """In the API, then attached, then in the API with its addresses."""
        body = _body(pod, self._lab.node(pod.node).name)
        made = await self._client.create(PODS, body, pod.namespace)
        self._pods[pod.full_name] = pod
        take_place = self._lab.seat_at if fixed else self._lab.seat
        seat = await take_place(pod, made)
        status = {
            "phase": "Running",
            "podIP": seat.addresses[0],
            "podIPs": [{"ip": address} for address in seat.addresses],
            "hostIP": self._lab.node(pod.node).addresses[0],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await self._client.patch(
            PODS, pod.name, {"status": status}, pod.namespace, subresource="status"
        )

    # Namespaces

    async def _remove_namespaces(self, wanted: set[str]) -> None:
        for name in self._namespaces.keys() - wanted:
            del self._namespaces[name]
            if name not in _BUILT_IN:
                await self._client.delete(NAMESPACES, name)
                await until_async(lambda n=name: self._is_gone(n), 15, f"{name} is gone")  # type: ignore[misc]

    async def _is_gone(self, namespace: str) -> bool:
        try:
            await self._client.get(NAMESPACES, namespace)
        except ApiError as error:
            if not error.not_found:
                raise
            return True
        return False

    async def have_namespace(self, name: str) -> None:
        """A namespace with whatever labels."""
        if name not in self._namespaces:
            await self._set_namespace(Namespace(name, {}))

    async def _set_namespace(self, wanted: Namespace) -> None:
        known = self._namespaces.get(wanted.name)
        before = known.labels if known is not None else await self._make_namespace(wanted)
        await self._relabel(NAMESPACES, wanted.name, "", before, wanted.labels)
        self._namespaces[wanted.name] = wanted

    async def _make_namespace(self, wanted: Namespace) -> Mapping[str, str]:
        """The labels it has now; one that the server made itself is there already."""
        meta = {"name": wanted.name, "labels": wanted.labels}
        try:
            await self._client.create(
                NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
            )
        except ApiError as error:
            if not error.already_exists:
                raise
            found = await self._client.get(NAMESPACES, wanted.name)
            labels: dict[str, str] = found["metadata"].get("labels", {})
            return labels
        return wanted.labels

    async def _relabel(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        before: Mapping[str, str],
        after: Mapping[str, str],
    ) -> None:
        if before != after:
            labels: dict[str, str | None] = {**dict.fromkeys(before), **after}
            await self._client.patch(resource, name, {"metadata": {"labels": labels}}, namespace)


def _made_of(pod: Pod) -> tuple[Any, ...]:
    """What of a pod cannot be changed."""
    return pod.node, pod.host_network, pod.ports


def _body(pod: Pod, node: str) -> Json:
    ports = [
        {"containerPort": port.port, "protocol": port.protocol}
        | ({"name": port.name} if port.name else {})
        for port in pod.ports
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "labels": pod.labels},
        "spec": {
            "nodeName": node,
            "hostNetwork": pod.host_network,
            "containers": [{"name": "case", "image": "pause", "ports": ports}],
        },
    }
