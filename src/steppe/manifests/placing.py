"""Invents nodes for pods, and addresses for both, where manifests have none.

A pod's node and address depend on its name alone: adding one pod moves no other, so two versions of
the same manifests can be compared. An object with a status is left as it is: the status is what a
live cluster has decided, even if it is still empty.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from ipaddress import ip_interface, ip_network
from itertools import islice
from zlib import crc32

import msgspec

from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import (
    UNDERLAY_ANNOTATION,
    Node,
    Underlay,
    node_from,
    pod_from,
    underlay_annotation,
)
from steppe.kube.selectors import labels_are
from steppe.manifests.documents import Json, Objects, readable
from steppe.net.address import IPAddress, IPInterface, IPNetwork, parse_interface

DEFAULT_NODES = ("node-a", "node-b")

_POD_POOLS = ((ip_network("10.128.0.0/9"), 17), (ip_network("fd00:10:128::/56"), 64))
"""The networks from which pod prefixes are taken, and their length: enough for 256 nodes."""

_NODE_NETWORKS = (ip_network("192.0.2.0/24"), ip_network("2001:db8:0:1::/64"))
"""The networks of invented nodes: documentation prefixes (RFC 5737, RFC 3849)."""

_UNDERLAY_MTU = 1500
_FIRST_NODE = 11
_LAST_NODE = 254
_FIRST_POD = 2  # many providers use the prefix's first address for the node itself

Prefixes = tuple[IPNetwork, ...]
Interfaces = tuple[IPInterface, ...]


class _HostIP(msgspec.Struct, frozen=True):
    ip: str = ""


class _Status(wire.PodStatus, frozen=True):
    host_ip: str = msgspec.field(name="hostIP", default="")
    host_ips: tuple[_HostIP, ...] | None = msgspec.field(name="hostIPs", default=None)


class _Spec(wire.PodSpec, frozen=True, rename="camel"):
    node_selector: dict[str, str] | None = None


class _Pod(wire.Pod, frozen=True):
    """A pod with the fields that decide about its node, which kube.objects does not have."""

    spec: _Spec = _Spec()
    status: _Status = _Status()


Pods = Mapping[ObjectRef, _Pod]


def missing_nodes(objects: Objects) -> Objects:
    """The nodes that pods name and no document describes; two nodes if there are none at all.

    Nodes whose documents have only a name and labels are completed as well.
    """
    pods = _readable_pods(objects)
    known = {node.name: objects[node.ref] for node in _readable_nodes(objects)}
    hosts: dict[str, tuple[str, ...]] = {}
    for pod in pods.values():
        name = pod.spec.node_name
        if name and name not in known:
            hosts[name] = hosts.get(name) or _host_addresses(pod)
    bare = [name for name, document in known.items() if _is_bare(document)]
    names = sorted({*hosts, *bare}) if hosts or known else DEFAULT_NODES
    inhabited = {pod.spec.node_name for pod in pods.values() if pod.status.phase}
    spare = _spare_prefixes(set(names) - inhabited, objects, pods)
    free = _free_interfaces(_readable_nodes(objects))
    found: Objects = {}
    for name in names:
        # In a live cluster only the existence of the node is invented, none of its fields.
        interfaces = () if name in inhabited else next(free, ())
        node = _node(name, known.get(name, {}), hosts.get(name, ()), interfaces)
        prefixes = [str(prefix) for prefix in spare.get(name, ())]
        # If the node's pods have addresses, the real prefix exists but is not known.
        node["spec"] = {"podCIDRs": prefixes} | (node.get("spec") or {})
        found[ObjectRef("Node", "", name)] = node
    return found


def placed_pods(objects: Objects, problems: list[Problem]) -> Objects:
    """The pods that had no status, each with a node and addresses from its prefixes."""
    pods = _readable_pods(objects)
    nodes = {node.name: node for node in _readable_nodes(objects)}
    own = {name: node.networks for name, node in nodes.items() if node.prefixes}
    prefixes = own | {
        name: _of_families(spare, nodes[name])
        for name, spare in _spare_prefixes(nodes.keys() - own.keys(), objects, pods).items()
    }
    taken = {address for pod in pods.values() for address in pod_from(pod)[0].addresses}
    placed: Objects = {}
    for ref, pod in sorted(pods.items()):
        if objects[ref].get("status") or not nodes:
            continue
        node = nodes.get(pod.spec.node_name) or _chosen_node(pod, nodes)
        if pod.spec.host_network:
            addresses = node.addresses
        else:
            addresses = _free_addresses(ref, prefixes[node.name], taken)
            if not addresses:
                prefixes[node.name] = ()  # full: not searched again
                message = f"node {node.name} has no free pod address for it"
                problems.append(Problem(Cause(ref), message))
        taken.update(addresses)
        placed[ref] = _running(objects[ref], node.name, addresses)
    return placed


def _of_families(prefixes: Prefixes, node: Node) -> Prefixes:
    """The prefixes of the node's families; all of them if its families are not known."""
    spoken = {address.version for address in node.addresses}
    return tuple(prefix for prefix in prefixes if not spoken or prefix.version in spoken)


def _readable_pods(objects: Objects) -> dict[ObjectRef, _Pod]:
    pods = ((ref, readable(doc, _Pod)) for ref, doc in objects.items() if ref.kind == "Pod")
    return {ref: pod for ref, pod in pods if pod is not None}


def _readable_nodes(objects: Objects) -> Iterator[Node]:
    for ref, document in objects.items():
        node = readable(document, wire.Node) if ref.kind == "Node" else None
        if node is not None:
            yield node_from(node)[0]


def _is_bare(document: Json) -> bool:
    """Whether a node's document has only a name and labels."""
    spec = document.get("spec") or {}
    numbered = spec.get("podCIDR") or spec.get("podCIDRs")
    return not document.get("status") and not numbered


def _host_addresses(pod: _Pod) -> tuple[str, ...]:
    """The addresses of its node in a pod's status."""
    several = tuple(host.ip for host in pod.status.host_ips or () if host.ip)
    return several or ((pod.status.host_ip,) if pod.status.host_ip else ())


def _spare_prefixes(names: Iterable[str], objects: Objects, pods: Pods) -> dict[str, Prefixes]:
    """For each name a pod prefix of each family that overlaps none in use."""
    found: dict[str, list[IPNetwork]] = {name: [] for name in sorted(names)}
    if not found:
        return {}
    used = [prefix for node in _readable_nodes(objects) for prefix in node.networks]
    lived_in = [address for pod in pods.values() for address in pod_from(pod)[0].addresses]
    for pool, length in _POD_POOLS:
        busy = {ip_interface((address, length)).network for address in lived_in if address in pool}
        free = (
            piece
            for piece in pool.subnets(new_prefix=length)
            if piece not in busy
            and not any(piece.version == own.version and piece.overlaps(own) for own in used)
        )
        for prefixes in found.values():
            prefixes.extend(islice(free, 1))  # none if all are in use
    return {name: tuple(prefixes) for name, prefixes in found.items()}


def _node(name: str, written: Json, told: tuple[str, ...], interfaces: Interfaces) -> Json:
    """A Node document: with the addresses from its pods' status, or else with these interfaces."""
    written_metadata = written.get("metadata") or {}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    metadata: Json = {"name": name} | written_metadata
    metadata["labels"] = labels | (written_metadata.get("labels") or {})
    if interfaces:
        annotation = underlay_annotation(Underlay("eth0", _UNDERLAY_MTU, interfaces))
        annotations = written_metadata.get("annotations") or {}
        metadata["annotations"] = {UNDERLAY_ANNOTATION: annotation} | annotations
    addresses = told or tuple(str(interface.ip) for interface in interfaces)
    internal = [{"type": "InternalIP", "address": address} for address in addresses]
    node: Json = {"apiVersion": "v1", "kind": "Node"} | written
    return node | {"metadata": metadata, "status": {"addresses": internal}}


def _free_interfaces(nodes: Iterable[Node]) -> Iterator[Interfaces]:
    """Free interfaces (one address for each family) on a common link: about 200."""
    taken = {address for node in nodes for address in node.addresses}
    for number in range(_FIRST_NODE, _LAST_NODE + 1):
        # …11 and …::11: a host's number has the same digits in both families.
        offsets = (number, int(str(number), 16))
        interfaces = tuple(
            parse_interface(f"{network[offset]}/{network.prefixlen}")
            for network, offset in zip(_NODE_NETWORKS, offsets, strict=True)
        )
        if not any(interface.ip in taken for interface in interfaces):
            yield interfaces


def _chosen_node(pod: _Pod, nodes: Mapping[str, Node]) -> Node:
    """The node of a pod: replicas take turns over the nodes that nodeSelector matches."""
    wanted = labels_are(pod.spec.node_selector or {})
    fitting = [name for name, node in nodes.items() if wanted.matches(node.labels)]
    names = sorted(fitting or nodes)
    base, _, ordinal = pod.metadata.name.rpartition("-")
    if not ordinal.isdecimal():
        base, ordinal = pod.metadata.name, "0"
    return nodes[names[(crc32(base.encode()) + int(ordinal)) % len(names)]]


def _free_addresses(
    ref: ObjectRef, prefixes: Prefixes, taken: Container[IPAddress]
) -> tuple[IPAddress, ...]:
    """Addresses with the same host number in every family: the first free one from a start that
    depends on the name.
    """
    # IPv4's last address is broadcast.
    room = min((prefix.num_addresses for prefix in prefixes), default=0) - _FIRST_POD - 1
    start = crc32(f"{ref.namespace}/{ref.name}".encode())
    for step in range(room):
        offset = _FIRST_POD + (start + step) % room
        addresses = tuple(prefix[offset] for prefix in prefixes)
        if not any(address in taken for address in addresses):
            return addresses
    return ()


def _running(document: Json, node: str, addresses: tuple[IPAddress, ...]) -> Json:
    status = {
        "phase": "Running",
        "podIPs": [{"ip": str(address)} for address in addresses],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return document | {"spec": (document.get("spec") or {}) | {"nodeName": node}, "status": status}
