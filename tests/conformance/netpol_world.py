"""The cluster of a case as its steps go on, and the world that policy sees in it."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec

from steppe.kube import policy_wire, wire
from steppe.kube.cluster_policies import ClusterNetworkPolicy, cluster_policy_from
from steppe.kube.objects import node_from, pod_from
from steppe.kube.policies import NetworkPolicy, namespace_from, network_policy_from
from steppe.net.address import IPAddress, parse_address
from steppe.oracle.policy_match import World, world_of
from tests.conformance.netpol_cases import (
    Action,
    Apply,
    CreateNamespace,
    CreatePod,
    Delete,
    DeleteNamespace,
    DeletePod,
    Expectation,
    External,
    Namespace,
    Node,
    NotUnderstood,
    Pod,
    Port,
    Probe,
    SetNamespaceLabels,
    SetPodLabels,
    Setup,
    rendered,
)

API_VERSIONS = {
    "NetworkPolicy": "networking.k8s.io/v1",
    "ClusterNetworkPolicy": "policy.networking.k8s.io/v1alpha2",
}
Key = tuple[str, str, str]
parsed = cache(parse_address)
"""A case dials the same few addresses thousands of times."""


class Trial(msgspec.Struct, frozen=True):
    """One connection to try, and whether it is to come about."""

    source: str
    destination: str
    source_address: IPAddress
    destination_address: IPAddress
    port: int
    allowed: bool


class State:
    """Everything a case has made so far, by name."""

    def __init__(self, setup: Setup) -> None:
        self._namespaces: dict[str, Namespace] = {n.name: n for n in setup.namespaces}
        self._pods: dict[str, Pod] = {f"{pod.namespace}/{pod.name}": pod for pod in setup.pods}
        self._nodes: dict[str, Node] = {f"node/{node.name}": node for node in setup.nodes}
        self._externals: dict[str, External] = {f"ext/{e.name}": e for e in setup.externals}
        self._manifests: dict[Key, dict[str, Any]] = {}
        self._templates: dict[Key, dict[str, Any]] = {}

    @property
    def namespaces(self) -> Iterable[Namespace]:
        return self._namespaces.values()

    @property
    def pods(self) -> Iterable[Pod]:
        return self._pods.values()

    @property
    def nodes(self) -> Iterable[Node]:
        return self._nodes.values()

    @property
    def externals(self) -> Iterable[External]:
        return self._externals.values()

    @property
    def manifest_keys(self) -> Iterable[Key]:
        return self._manifests.keys()

    def manifests(self, addresses: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
        """The policies, as they read where pods have these addresses."""
        for key, manifest in self._manifests.items():
            template = self._templates.get(key)
            yield manifest if template is None else rendered(template, addresses)

    def do(self, action: Action) -> None:
        match action:
            case Apply():
                self._apply(action)
            case Delete(kind=kind, namespace=namespace, name=name):
                self._take(self._manifests, (kind, namespace or "", name))
            case SetNamespaceLabels(namespace=name, labels=labels):
                self._take(self._namespaces, name)
                self._namespaces[name] = _labelled(name, labels)
            case SetPodLabels(namespace=namespace, name=name, labels=labels):
                pod = self._take(self._pods, f"{namespace}/{name}")
                self._pods[f"{namespace}/{name}"] = msgspec.structs.replace(pod, labels=labels)
            case CreateNamespace(namespace=name, labels=labels):
                self._namespaces[name] = _labelled(name, labels)
            case DeleteNamespace(namespace=name):
                self._take(self._namespaces, name)
                self._pods = {k: p for k, p in self._pods.items() if p.namespace != name}
                self._manifests = {k: m for k, m in self._manifests.items() if k[1] != name}
            case CreatePod(pod=pod):
                self._needs_namespace(pod.namespace)
                self._pods[f"{pod.namespace}/{pod.name}"] = pod
            case DeletePod(namespace=namespace, name=name):
                self._take(self._pods, f"{namespace}/{name}")

    def _apply(self, action: Apply) -> None:
        manifest = action.manifest
        kind = manifest.get("kind", "")
        if kind not in API_VERSIONS or API_VERSIONS[kind] != manifest.get("apiVersion"):
            raise NotUnderstood(f"a manifest of {manifest.get('apiVersion')} {kind}")
        if action.manifest_template is not None:
            addresses = {name: pod.ips for name, pod in self._pods.items()}
            if rendered(action.manifest_template, addresses) != manifest:
                raise NotUnderstood("manifestTemplate does not render to the manifest beside it")
        key = key_of(manifest)
        if kind == "NetworkPolicy":
            self._needs_namespace(key[1])
        self._manifests[key] = manifest
        self._templates.pop(key, None)
        if action.manifest_template is not None:
            self._templates[key] = action.manifest_template

    def _needs_namespace(self, name: str) -> None:
        if name not in self._namespaces:
            raise NotUnderstood(f"the namespace {name!r} is not there")

    @staticmethod
    def _take(things: dict[Any, Any], name: Any) -> Any:
        if name not in things:
            raise NotUnderstood(f"{name} is not there")
        return things.pop(name)

    def world(self) -> World:
        """The world, made of the API objects that a cluster would hold."""
        return world_of(
            pods=[_pod(pod) for pod in self._pods.values()],
            namespaces=[
                namespace_from(msgspec.convert({"metadata": _meta(n)}, policy_wire.Namespace))
                for n in self._namespaces.values()
            ],
            nodes=[_node(node) for node in self._nodes.values()],
            network_policies=list(self._network_policies()),
            cluster_policies=list(self._cluster_policies()),
        )

    def _network_policies(self) -> Iterator[NetworkPolicy]:
        for (kind, _, _), manifest in self._manifests.items():
            if kind == "NetworkPolicy":
                yield network_policy_from(msgspec.convert(manifest, policy_wire.NetworkPolicy))[0]

    def _cluster_policies(self) -> Iterator[ClusterNetworkPolicy]:
        for (kind, _, _), manifest in self._manifests.items():
            if kind == "ClusterNetworkPolicy":
                seen = msgspec.convert(manifest, policy_wire.ClusterNetworkPolicy)
                yield cluster_policy_from(seen)[0]

    def trials(self, probe: Probe) -> list[Trial]:
        """The connections of a probe: as many as its count says, in each family."""
        expected = self._expected(probe)
        if len(expected) != probe.count:
            raise NotUnderstood(f"the probe covers {len(expected)} pairs, not {probe.count}")
        found: list[Trial] = []
        for (source, destination), allowed in expected.items():
            port = self._port(destination, probe)
            if port is None:
                raise NotUnderstood(f"{destination} does not serve {_what(probe)}")
            for version in probe.versions:
                ends = self._address(source, version), self._address(destination, version)
                found.append(Trial(source, destination, *ends, port, allowed))
        return found

    def _expected(self, probe: Probe) -> dict[tuple[str, str], bool]:
        expect = probe.expect
        if expect.pairs is not None:
            return {(source, to): allowed for source, to, allowed in expect.pairs}
        covered = dict.fromkeys(self._matrix(probe), expect.default == "allow")
        for pair in _exceptions(expect):
            if pair not in covered:
                raise NotUnderstood(f"{pair} is not among the pairs of {_what(probe)}")
            covered[pair] = not covered[pair]
        return covered

    def _matrix(self, probe: Probe) -> Iterator[tuple[str, str]]:
        """ "all ordered pairs of endpoints … existing at that step whose destination serves the
        port, except from == to and external to external" (the schema).
        """
        for destination in (*self._pods, *self._externals):
            if self._port(destination, probe) is None:
                continue
            for source in (*self._pods, *self._externals):
                outside = source in self._externals and destination in self._externals
                if source != destination and not outside:
                    yield source, destination

    def _port(self, name: str, probe: Probe) -> int | None:
        """The number that the probe dials there; None where it is not served."""
        for port in self._served(name):
            dialled = port.port if probe.port_name is None else port.name
            wanted = probe.port if probe.port_name is None else probe.port_name
            if port.protocol == probe.protocol and dialled == wanted:
                return port.port
        return None

    def _served(self, name: str) -> list[Port]:
        end = self._pods.get(name) or self._externals.get(name)
        return end.ports if end is not None else []

    def _address(self, name: str, version: int) -> IPAddress:
        end = self._pods.get(name) or self._externals.get(name) or self._nodes.get(name)
        for text in end.ips if end is not None else ():
            address = parsed(text)
            if address.version == version:
                return address
        raise NotUnderstood(f"{name} has no IPv{version} address")


def key_of(manifest: dict[str, Any]) -> Key:
    """Kind, namespace and name."""
    meta = manifest["metadata"]
    return manifest["kind"], meta.get("namespace", ""), meta["name"]


def _labelled(name: str, labels: dict[str, str]) -> Namespace:
    """ "The Kubernetes control plane sets an immutable label kubernetes.io/metadata.name on all
    namespaces" (kubernetes.io, Network Policies).
    """
    return Namespace(name, {**labels, "kubernetes.io/metadata.name": name})


def _exceptions(expect: Expectation) -> list[tuple[str, str]]:
    return [*(expect.allow or ()), *(expect.deny or ())]


def _what(probe: Probe) -> str:
    return f"{probe.protocol} {probe.port_name or probe.port}"


def _meta(thing: Namespace | Pod | Node) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": thing.name, "labels": thing.labels}
    return {**meta, "namespace": thing.namespace} if isinstance(thing, Pod) else meta


def _pod(seen: Pod) -> Any:
    ports = [
        {"name": p.name or "", "containerPort": p.port, "protocol": p.protocol} for p in seen.ports
    ]
    document = {
        "metadata": _meta(seen),
        "spec": {
            "nodeName": seen.node,
            "hostNetwork": seen.host_network,
            "containers": [{"ports": ports}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": ip} for ip in seen.ips]},
    }
    return pod_from(msgspec.convert(document, wire.Pod))[0]


def _node(seen: Node) -> Any:
    addresses = [{"type": "InternalIP", "address": ip} for ip in seen.ips]
    document = {"metadata": _meta(seen), "status": {"addresses": addresses}}
    return node_from(msgspec.convert(document, wire.Node))[0]
