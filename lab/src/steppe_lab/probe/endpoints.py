"""Who can be probed: ready pods as the API shows them, nodes, and the outside host.

Pods answer by themselves. For nodes and the outside host a small echo server is made for as long
as the probe lasts: its sockets stand in their namespaces, its threads in this process.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from steppe_lab import netns
from steppe_lab.images import serving
from steppe_lab.images.catalogue import base_name
from steppe_lab.images.serving import Address, Request, Response
from steppe_lab.kubelet.config import load_lab
from steppe_lab.probe.plan import Endpoint, Port, Protocol
from steppe_lab.record import Options
from steppe_lab.topology.model import Host, describe

# Built-in images that tell a client the address they saw.
_TELLING = ("agnhost", "echo")


class _Sandbox(msgspec.Struct, frozen=True):
    """The two fields in use of the kubelet's sandbox.json."""

    uid: str
    netns: str


def pod_endpoints(
    pods: list[dict[str, Any]], lab_dir: Path
) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """The pods that can be probed, and the names of those that cannot, with the reason."""
    namespaces = namespaces_by_uid(lab_dir)
    nodes = {node.name: node.addresses for node in load_lab(lab_dir).nodes}
    found, skipped = [], []
    for pod in pods:
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        spec, status = pod["spec"], pod.get("status", {})
        if spec.get("hostNetwork"):
            continue  # it is its node, which is probed
        namespace = namespaces.get(pod["metadata"]["uid"])
        if namespace is None or not _is_ready(status):
            skipped.append(f"{name} ({status.get('phase', 'Pending')}, not ready)")
            continue
        addresses = tuple(each["ip"] for each in status.get("podIPs", ()))
        found.append(
            Endpoint("pod", name, namespace, addresses, nodes[spec["nodeName"]], _ports(spec))
        )
    return tuple(found), tuple(skipped)


def _is_ready(status: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))


def _ports(spec: dict[str, Any]) -> tuple[Port, ...]:
    """The declared ports; UDP only where we know that it answers."""
    found = set()
    for container in spec["containers"]:
        tells = base_name(container.get("image", "")) in _TELLING
        for port in container.get("ports", ()):
            protocol: str = port.get("protocol", "TCP").lower()
            if protocol == "tcp" or (protocol == "udp" and tells):
                found.add(Port(port["containerPort"], msgspec.convert(protocol, Protocol), tells))
    return tuple(sorted(found))


def namespaces_by_uid(lab_dir: Path) -> dict[str, str]:
    """The network namespaces of pods, as the kubelets noted them."""
    found = {}
    for node in load_lab(lab_dir).nodes:
        for path in node.pods.glob("*/sandbox.json"):
            with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
                sandbox = msgspec.json.decode(path.read_bytes(), type=_Sandbox)
                found[sandbox.uid] = sandbox.netns
    return found


@contextlib.contextmanager
def host_endpoints(options: Options) -> Iterator[tuple[Endpoint, ...]]:
    """Nodes and the outside host, with an echo server on a free port of each while in use."""
    topology = describe(options.name, options.nodes, options.family, options.topology)
    with contextlib.ExitStack() as stack:
        yield tuple(_listening(host, stack) for host in topology.hosts)


def _listening(host: Host, stack: contextlib.ExitStack) -> Endpoint:
    tcp, udp = netns.inside(
        host.netns,
        lambda: (serving.listener(0, socket.SOCK_STREAM), serving.listener(0, socket.SOCK_DGRAM)),
    )
    stack.callback(_end, tcp, udp)
    serving.start(serving.serve_http, tcp, _tell_http)
    serving.start(serving.serve_datagrams, udp, _tell_datagram)
    ports = (Port(tcp.getsockname()[1], "tcp"), Port(udp.getsockname()[1], "udp"))
    is_outside = host.name == "outside"
    return Endpoint(
        "outside" if is_outside else "node",
        host.name if is_outside else f"node/{host.name}",
        host.netns,
        host.addresses,
        host.addresses,
        ports,
    )


def _end(tcp: socket.socket, udp: socket.socket) -> None:
    """Give the ports back; a thread that waits for a datagram ends with the process."""
    # Closing alone does not wake a thread in accept().
    tcp.shutdown(socket.SHUT_RDWR)
    tcp.close()
    udp.close()


def _tell_http(request: Request) -> Response:
    return Response(json.dumps({"peer": request.peer[0]}).encode(), content_type="application/json")


def _tell_datagram(_data: bytes, peer: Address) -> bytes:
    return json.dumps({"peer": peer[0]}).encode()
