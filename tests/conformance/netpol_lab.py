"""A lab whose pods are made here: what a case names exists in the API, and in the kernel by CNI.

No kubelet runs. This module registers the nodes and attaches pods, as a kubelet and its runtime
do, by the agents' own CNI plugin; so a pod keeps its attachment, and its address, from case to case
while its API object is written anew. Nothing runs in a pod: its sockets are the prober's.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Self

import msgspec

from steppe.agent.ask import ask
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.errors import ApiError
from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    ENDPOINTSLICES,
    NAMESPACES,
    NETWORKPOLICIES,
    NODES,
    PODS,
    SERVICES,
    Resource,
)
from steppe_lab import process
from steppe_lab.down import down
from steppe_lab.kubelet import records
from steppe_lab.kubelet.config import NodeConfig, load_lab
from steppe_lab.kubelet.sandbox import Sandbox, Sandboxes
from steppe_lab.kubelet.threads import NamespaceThreads
from steppe_lab.record import Options, Record, paths
from steppe_lab.topology.model import describe
from steppe_lab.up import up
from tests.conformance.netpol_cases import External, Node, NotUnderstood, Pod
from tests.conformance.netpol_probe import Place, Prober
from tests.waiting import until, until_async

Json = dict[str, Any]
_PREFIX_LENGTHS = {4: 24, 6: 64}
_MARK = "mark"
_MARKED: Mapping[Resource, Json] = {
    NAMESPACES: {},
    PODS: {"spec": {"containers": [{"name": "none", "image": "pause"}], "nodeName": "none"}},
    SERVICES: {"spec": {"ports": [{"port": 1}]}},
    ENDPOINTSLICES: {"addressType": "IPv4", "endpoints": []},
    NETWORKPOLICIES: {"spec": {"podSelector": {}}},
    CLUSTERNETWORKPOLICIES: {
        "spec": {
            "tier": "Admin",
            "priority": 1000,
            "subject": {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": _MARK}}},
        }
    },
}
"""What an object of each kind needs to exist; the pod runs nowhere, so policies mean nobody."""


class Seat(msgspec.Struct, frozen=True):
    """A pod's place in the lab: its node, and its sandbox unless it is in the node's."""

    node: str
    netns: str
    addresses: tuple[str, ...]
    sandbox: Sandbox | None = None


class LiveLab:
    """Two nodes, their agents and an API server; use it as an async context."""

    def __init__(self, name: str, nodes: Sequence[Node], prefixes: Mapping[str, Sequence[str]]):
        self.name = name
        self.seats: dict[str, Seat] = {}
        self.prober = Prober()
        self._nodes = nodes
        self._prefixes = prefixes
        self._threads = NamespaceThreads()
        self._count = itertools.count()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(down, self.name)
            options = Options(self.name, nodes=len(self._nodes), fabric="direct")
            record = await asyncio.to_thread(up, options, (), lambda _: None)
            await asyncio.to_thread(_end_kubelet, record)
            undo.enter_context(self._threads)
            undo.callback(self.prober.close)
            found = load_lab(paths(self.name).root).nodes
            self._configs = {
                node.name: config for node, config in zip(self._nodes, found, strict=True)
            }
            self._sandboxes = {
                name: Sandboxes(self.name, config, self._threads)
                for name, config in self._configs.items()
            }
            client = Client(load_config(record.kubeconfig), user_agent="netpol-cases")
            self.client = await undo.enter_async_context(client)
            await self._register_nodes()
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._undo.aclose()

    # Nodes

    def node(self, name: str) -> NodeConfig:
        """The lab's node that stands for the case's."""
        return self._configs[name]

    async def _register_nodes(self) -> None:
        """Anew, with pod prefixes that hold the cases' addresses, which nothing else could set."""
        for node in self._nodes:
            known = await self.client.get(NODES, self.node(node.name).name)
            await self.client.delete(NODES, self.node(node.name).name)
            prefixes = [*self._prefixes[node.name]]
            body = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": known["metadata"]["name"], "labels": node.labels},
                "spec": {"podCIDR": prefixes[0], "podCIDRs": prefixes},
                "status": known["status"],
            }
            await self.client.create(NODES, body)
            await self.client.update(NODES, body, subresource="status")

    async def label_nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            body = await self.client.get(NODES, self.node(node.name).name)
            if body["metadata"].get("labels", {}) != node.labels:
                body["metadata"]["labels"] = node.labels
                await self.client.update(NODES, body)

    # Pods

    async def seat(self, pod: Pod, body: Json) -> Seat:
        """The pod's place, made if it has none; `body` is the pod as the API has it."""
        name, config = pod.full_name, self.node(pod.node)
        known = self.seats.get(name)
        if known is not None:
            if (known.node, known.sandbox is None) == (pod.node, pod.host_network):
                return known
            await self.unseat(pod)
        if pod.host_network:
            self.seats[name] = Seat(pod.node, config.netns, config.addresses)
        else:
            sandbox = await self._sandboxes[pod.node].create(msgspec.convert(body, records.Pod))
            self.seats[name] = Seat(pod.node, sandbox.netns, sandbox.addresses, sandbox)
        return self.seats[name]

    async def seat_at(self, pod: Pod, body: Json) -> Seat:
        """A place with the very addresses that the pod has in its case.

        The agent gives a node's addresses in turn, so the pod is attached until it is their turn.
        """
        wanted = {ip_address(address) for address in pod.ips}
        while True:
            seat = await self.seat(pod, body)
            got = {ip_address(address) for address in seat.addresses}
            if got == wanted:
                return seat
            if any(int(a) > int(b) for a in got for b in wanted if a.version == b.version):
                raise NotUnderstood(f"{pod.full_name} cannot have the addresses {pod.ips}")
            await self.unseat(pod)

    async def unseat(self, pod: Pod) -> None:
        seat = self.seats.pop(pod.full_name, None)
        if seat is not None and seat.sandbox is not None:
            self.prober.leave(seat.netns)
            await self._sandboxes[seat.node].delete(seat.sandbox)

    # Hosts outside

    def add_external(self, external: External) -> tuple[Place, ...]:
        """The outside host has its addresses too, and pods' addresses are routed from there."""
        topology = describe(self.name, len(self._nodes), "dual", "flat")
        outside = topology.outside
        gateways = {gateway.version: str(gateway.ip) for gateway in outside.subnet.gateways}
        hosts = {6 if ":" in address else 4: address for address in outside.addresses}
        for text in external.ips:
            whole = ip_network(text)
            _ip(outside.netns, "address", "replace", str(whole), "dev", "eth0")
            via = hosts[whole.version]
            _ip(topology.fabric, "route", "replace", str(whole), "via", via)
        for node, prefixes in self._prefixes.items():
            for prefix in prefixes:
                version = ip_network(prefix).version
                via = next(a for a in self.node(node).addresses if (":" in a) == (version == 6))
                _ip(topology.fabric, "route", "replace", prefix, "via", via)
                _ip(outside.netns, "route", "replace", prefix, "via", gateways[version])
        return tuple(Place(outside.netns, address) for address in external.ips)

    # Waiting

    async def settled(self) -> None:
        """Return once each agent has in its kernel all that was written so far.

        A list is read in order, so an agent that has seen an object of each kind that was written
        last has seen everything.
        """
        marks = {resource.plural: await self._mark(resource) for resource in _MARKED}
        for config in self._configs.values():
            await until_async(
                lambda c=config: asyncio.to_thread(_has_all, Path(c.state_dir), marks),  # type: ignore[misc]
                15,
                f"{config.name} has read {marks} and put it into its kernel",
            )

    async def _mark(self, resource: Resource) -> int:
        """The version of an object of that kind which means nothing, written just now."""
        namespace = _MARK if resource.namespaced else ""
        patch = {"metadata": {"annotations": {"count": str(next(self._count))}}}
        try:
            made = await self.client.patch(resource, _MARK, patch, namespace)
        except ApiError as error:
            if not error.not_found:
                raise
            body = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": _MARK},
                **_MARKED[resource],
            }
            made = await self.client.create(resource, body, namespace)
        return int(made["metadata"]["resourceVersion"])


def _end_kubelet(record: Record) -> None:
    kubelet = next(each for each in record.processes if each.name == "kubelet")
    os.kill(kubelet.pid, signal.SIGTERM)
    until(lambda: not process.is_alive(kubelet), 10, "the kubelet has ended")


def _has_all(state_dir: Path, marks: Mapping[str, int]) -> bool:
    told = ask(state_dir / "agent.sock", "status")
    seen = told["api"]["seen"]
    read = all(int(seen[kind]) >= mark for kind, mark in marks.items() if kind in seen)
    return read and not told["pending"]


def prefixes_of(pods: Iterable[Pod]) -> dict[str, list[str]]:
    """For each node the prefixes that its pods have their addresses from, IPv4's first."""
    found: dict[str, dict[str, None]] = {}
    for pod in pods:
        for text in () if pod.host_network else pod.ips:
            length = _PREFIX_LENGTHS[ip_address(text).version]
            prefix = str(ip_network(f"{text}/{length}", strict=False))
            found.setdefault(pod.node, {})[prefix] = None
    return {node: sorted(known, key=lambda text: ":" in text) for node, known in found.items()}


def _ip(name: str, *arguments: str) -> None:
    subprocess.run(["ip", "-n", name, *arguments], check=True)
