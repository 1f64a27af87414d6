"""The nameservers of pods: their node's own addresses, or a Service as on any cluster.

NODE      a pod asks its node's own addresses: nothing between but the pod network
SERVICE   a pod asks the 10th address of the service range; a node's data plane takes it from
          there to one of the nodes' own addresses, as it does for every Service
"""

from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol

from steppe.net.address import IPNetwork, parse_address
from steppe_lab.dns.address import PORT
from steppe_lab.dns.objects import SERVICE_NAME_LABEL

# The embedded API server's own ranges; kubeadm and others take the 10th address alike.
_RANGES: dict[int, IPNetwork] = {4: IPv4Network("10.96.0.0/16"), 6: IPv6Network("fd00:10:96::/112")}
_HOST = 10
_NAMESPACE, _NAME = "kube-system", "kube-dns"
_PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


class DnsServers(Enum):
    """Which nameservers a pod's resolv.conf has."""

    NODE = "node"
    SERVICE = "service"


class Host(Protocol):
    """The fields of a node in use."""

    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...


def nameservers(servers: DnsServers, node: Host) -> tuple[str, ...]:
    """The servers for pods of this node, one a family."""
    if servers is DnsServers.NODE:
        return node.addresses
    return tuple(str(_RANGES[version][_HOST]) for version in _versions((node,)))


def service_manifests(nodes: tuple[Host, ...]) -> tuple[dict[str, Any], ...]:
    """Service kube-system/kube-dns without a selector, and its endpoints: every node."""
    versions = _versions(nodes)
    return (_service(versions), *(_slice(nodes, version) for version in versions))


def _versions(nodes: Iterable[Host]) -> list[int]:
    return sorted({parse_address(text).version for node in nodes for text in node.addresses})


def _service(versions: list[int]) -> dict[str, Any]:
    addresses = [str(_RANGES[version][_HOST]) for version in versions]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": _NAME,
            "namespace": _NAMESPACE,
            # By which people and tools find DNS on any cluster.
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilies": [f"IPv{version}" for version in versions],
            "ipFamilyPolicy": "RequireDualStack" if len(versions) > 1 else "SingleStack",
            "ports": [
                {"name": name, "protocol": protocol, "port": PORT, "targetPort": PORT}
                for name, protocol in _PORTS
            ],
        },
    }


def _slice(nodes: tuple[Host, ...], version: int) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{_NAME}-ipv{version}",
            "namespace": _NAMESPACE,
            "labels": {
                SERVICE_NAME_LABEL: _NAME,
                "endpointslice.kubernetes.io/managed-by": "steppe-lab",
            },
        },
        "addressType": f"IPv{version}",
        "endpoints": [
            {"addresses": [text], "nodeName": node.name, "conditions": {"ready": True}}
            for node in nodes
            for text in node.addresses
            if parse_address(text).version == version
        ],
        "ports": [{"name": name, "protocol": protocol, "port": PORT} for name, protocol in _PORTS],
    }
