"""A Service for each pod of a case, by whose addresses the pod is dialled too.

Its endpoint is written here, so that it is there at once; the selector of the case's form
(`pod: <name>`) would have a controller say the same, later.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from steppe.client.client import Client
from steppe.client.resources import ENDPOINTSLICES, SERVICES
from tests.conformance.netpol_cases import Pod, Port

_FAMILIES = {4: "IPv4", 6: "IPv6"}


class PodServices:
    """The Services that were made."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cluster_ips: dict[str, Mapping[int, str]] = {}

    async def make(self, pod: Pod, addresses: Sequence[str]) -> None:
        """Unless it is there; a node has no Service of its own."""
        if pod.host_network or pod.full_name in self.cluster_ips:
            return
        ports = [
            {"name": _name(port), "port": port.port, "protocol": port.protocol}
            for port in pod.ports
        ]
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": pod.name},
            "spec": {"ports": ports, "ipFamilyPolicy": "RequireDualStack"},
        }
        made = await self._client.create(SERVICES, body, pod.namespace)
        self.cluster_ips[pod.full_name] = {_version(ip): ip for ip in made["spec"]["clusterIPs"]}
        for address in addresses:
            slice_ = _slice(pod, address, ports)
            await self._client.create(ENDPOINTSLICES, slice_, pod.namespace)

    async def remove(self, pod: Pod) -> None:
        cluster_ips = self.cluster_ips.pop(pod.full_name, None)
        if cluster_ips is not None:
            await self._client.delete(SERVICES, pod.name, pod.namespace)
            for version in cluster_ips:
                await self._client.delete(ENDPOINTSLICES, _slice_name(pod, version), pod.namespace)


def _slice(pod: Pod, address: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    version = _version(address)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": _slice_name(pod, version),
            "labels": {"kubernetes.io/service-name": pod.name},
        },
        "addressType": _FAMILIES[version],
        "ports": ports,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }


def _slice_name(pod: Pod, version: int) -> str:
    return f"{pod.name}-{_FAMILIES[version].lower()}"


def _name(port: Port) -> str:
    return f"{port.protocol}-{port.port}".lower()


def _version(address: str) -> int:
    return 6 if ":" in address else 4
