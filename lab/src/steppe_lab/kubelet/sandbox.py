"""A pod's sandbox: its network namespace and its attachment to the cluster's network.

No process is needed for it: a bind mount keeps the namespace, so there is no `pause` process. Its
record is written to disk before it is made, so that leftovers of a killed kubelet are found.
"""

import fcntl
import hashlib
import re
import secrets
import socket
import struct
from functools import partial
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import msgspec

from steppe.errors import SteppeError
from steppe_lab import netns
from steppe_lab.kubelet.cni import Attachment, Cni, CniError
from steppe_lab.kubelet.cniconf import NetworkList, load_first
from steppe_lab.kubelet.config import NodeConfig
from steppe_lab.kubelet.records import Pod
from steppe_lab.kubelet.threads import NamespaceThreads, netns_path

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
# containerd's `enable_unprivileged_ports` and `enable_unprivileged_icmp`, on by default.
_SYSCTLS = (
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
)


class NetworkNotReady(SteppeError):  # noqa: N818  the name of kubelet's event
    """No CNI configuration yet."""


class SandboxError(SteppeError):
    """The sandbox could not be made."""


class Sandbox(msgspec.Struct, frozen=True):
    """The record of a pod's sandbox, finished or not.

    `network` is the configuration to DEL with.
    """

    id: str
    netns: str
    pod: str
    namespace: str
    uid: str
    containers: tuple[str, ...]
    network: NetworkList | None = None
    attachment: Attachment | None = None
    addresses: tuple[str, ...] = ()
    ready: bool = False


class Sandboxes:
    """Makes and removes the sandboxes of one node.

    Invariant: a sandbox has a record on disk before anything of it is made, and until DEL has
    succeeded.
    """

    def __init__(self, lab: str, node: NodeConfig, threads: NamespaceThreads) -> None:
        self._lab = lab
        self._node = node
        self._threads = threads
        # Marked as the lab's, so that `lab down` finds a plugin that hangs.
        self.cni = Cni(
            (Path(node.cni_bin),), Path(node.state_dir) / "cni-cache", env={"STEPPE_LAB": lab}
        )

    def find(self, uid: str) -> Sandbox | None:
        """What an earlier kubelet made, or began to make."""
        try:
            return msgspec.json.decode(self._path(uid).read_bytes(), type=Sandbox)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    async def create(self, pod: Pod) -> Sandbox:
        """A sandbox with addresses; on failure everything begun is undone first."""
        if pod.spec.host_network:
            sandbox = self._plan(pod, self._node.netns, None)
            ready = msgspec.structs.replace(sandbox, addresses=self._node.addresses, ready=True)
            self._save(ready)
            return ready
        network = load_first(Path(self._node.cni_conf))
        if network is None:
            raise NetworkNotReady(
                "container runtime network not ready: NetworkReady=false"
                " reason:NetworkPluginNotReady message: cni plugin not initialized"
            )
        sandbox = self._plan(pod, namespace_name(self._lab, pod.metadata.uid), network)
        self._save(sandbox)
        try:
            return await self._attach(sandbox, pod, network)
        except (SteppeError, OSError) as error:
            await self.delete(sandbox)
            raise SandboxError(f"failed to set up sandbox: {error}") from error

    async def delete(self, sandbox: Sandbox) -> None:
        """DEL, then the namespace, then the record of both; raises and keeps it if DEL fails."""
        network, attachment = sandbox.network, sandbox.attachment
        if network is not None and attachment is not None:
            if self.cni.owes(network, attachment):
                await self._detach(network, attachment)
            await self._threads.plain(partial(netns.delete, sandbox.netns))
        self._path(sandbox.uid).unlink(missing_ok=True)

    async def _detach(self, network: NetworkList, attachment: Attachment) -> None:
        try:
            await self._threads.run(self._node.netns, partial(self.cni.delete, network, attachment))
        except CniError as error:
            # "Error 3 … the runtime does not need to perform any cleanup"
            if error.code != 3:
                raise

    def _plan(self, pod: Pod, name: str, network: NetworkList | None) -> Sandbox:
        sandbox_id = secrets.token_hex(32)
        meta = pod.metadata
        attachment = None
        if network is not None:
            attachment = Attachment(
                container_id=sandbox_id,
                netns=str(netns_path(name)),
                args=(
                    ("IgnoreUnknown", "1"),
                    ("K8S_POD_NAMESPACE", meta.namespace),
                    ("K8S_POD_NAME", meta.name),
                    ("K8S_POD_INFRA_CONTAINER_ID", sandbox_id),
                    ("K8S_POD_UID", meta.uid),
                ),
                capability_args=capability_args(pod),
            )
        containers = tuple(one.name for one in pod.spec.containers)
        return Sandbox(
            sandbox_id, name, meta.name, meta.namespace, meta.uid, containers, network, attachment
        )

    async def _attach(self, sandbox: Sandbox, pod: Pod, network: NetworkList) -> Sandbox:
        attachment = sandbox.attachment
        if attachment is None:
            raise SandboxError("a pod network without an attachment")
        # A namespace of this name is from an earlier attempt of ours that was interrupted.
        await self._threads.plain(partial(netns.delete, sandbox.netns))
        await self._threads.plain(partial(netns.create, (sandbox.netns,)))
        await self._threads.run(sandbox.netns, partial(_configure, sysctls(pod)))
        add = partial(self.cni.add, network, attachment)
        result = await self._threads.run(self._node.netns, add)
        addresses = result_addresses(result, self._node.addresses)
        if not addresses:
            raise SandboxError("failed to find network info for sandbox: no address for eth0")
        ready = msgspec.structs.replace(sandbox, addresses=addresses, ready=True)
        self._save(ready)
        return ready

    def _save(self, sandbox: Sandbox) -> None:
        path = self._path(sandbox.uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(sandbox))
        new.rename(path)

    def _path(self, uid: str) -> Path:
        return self._node.pod_dir(uid) / "sandbox.json"


def namespace_name(lab: str, uid: str) -> str:
    """`st-LAB-pod-` and eight hex digits: the start of the uid, if it is a UUID as it should be."""
    head = uid[:8].lower()
    if re.fullmatch("[0-9a-f]{8}", head) is None:
        head = hashlib.sha256(uid.encode()).hexdigest()[:8]
    return netns.namespace(lab, f"pod-{head}")


def capability_args(pod: Pod) -> dict[str, Any]:
    """What containerd offers to plugins that declare the capability; keys in its own spelling."""
    mappings = [
        {
            "HostPort": port.host_port,
            "ContainerPort": port.container_port,
            "Protocol": port.protocol.lower(),
            "HostIP": port.host_ip,
        }
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port
    ]
    annotations = {"io.kubernetes.cri.pod-annotations": pod.metadata.annotations}
    return annotations | ({"portMappings": mappings} if mappings else {})


def sysctls(pod: Pod) -> tuple[tuple[str, str], ...]:
    """The runtime's defaults, then the pod's own."""
    context = pod.spec.security_context
    own = tuple((one.name, one.value) for one in context.sysctls) if context else ()
    return (*_SYSCTLS, *own)


def result_addresses(result: dict[str, Any], node: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses of eth0 in an ADD result, those of the node's primary family first."""
    try:
        interfaces = result.get("interfaces") or []
        found = []
        for one in result.get("ips") or []:
            index = one.get("interface")
            if index is None or interfaces[index].get("name") == "eth0":
                found.append(ip_interface(one["address"]).ip)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise SandboxError(f"the plugin's result is not understood: {error!r}") from error
    primary = ip_address(node[0]).version if node else 4
    return tuple(map(str, sorted(found, key=lambda address: address.version != primary)))


def _configure(settings: tuple[tuple[str, str], ...]) -> None:
    """Inside the new namespace: loopback up, sysctls set."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = bytearray(struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
        name, flags = struct.unpack("16sh14x", request)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", name, flags | _IFF_UP))
    for key, value in settings:
        # Only what belongs to this namespace: net.*, as the API server's allow-list has it.
        if not key.startswith("net.") or ".." in key or "/" in key:
            raise SandboxError(f"sysctl {key!r} is not allowed: only net.* is per pod in the lab")
        try:
            Path("/proc/sys", key.replace(".", "/")).write_text(value)
        except OSError as error:
            raise SandboxError(f"sysctl {key}={value}: {error.strerror}") from error
