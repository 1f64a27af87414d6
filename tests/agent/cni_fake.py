"""A node whose kernel and pods are in memory, and its CNI server, all in this process."""

from collections.abc import Callable
from ipaddress import ip_interface
from typing import Any

import msgspec

from steppe.agent.cni.attach import Attachments
from steppe.agent.cni.gate import UnguardedError
from steppe.agent.cni.server import CniServer
from steppe.drivers.fake import FakeKernel
from steppe.drivers.fake_namespaces import FakeNamespaces
from steppe.kube.objects import Underlay, Workload
from steppe.net.address import IPNetwork, parse_prefix
from steppe.plan.diff import Change
from steppe.state.workload import is_pod_link

PREFIXES = ("10.244.1.0/24", "fd00:10:244:1::/64")
FAMILIES = {"dual": PREFIXES, "ipv4": PREFIXES[:1], "ipv6": PREFIXES[1:]}
ETH0 = Underlay("eth0", 1500, (ip_interface("192.0.2.11/24"), ip_interface("2001:db8::11/64")))


class View(msgspec.Struct):
    prefixes: tuple[IPNetwork, ...]
    name: str = "node-a"
    mtu: int = 1450
    refused: str = ""


class Told:
    """What the agent is told."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.guards = True

    def attached(self, workload: Workload) -> None:
        self.words.append(f"attached {workload.name}")

    async def guarded(self, workload: Workload) -> None:
        if not self.guards:
            raise UnguardedError(f"the policies of {workload.ref} are not known")

    def detached(self, link: str) -> None:
        self.words.append(f"detached {link}")


class FakeNode:
    """One node: `start` puts a new server over the same kernel, as a restarted agent does."""

    def __init__(self, prefixes: tuple[str, ...] = PREFIXES) -> None:
        self.view = View(tuple(map(parse_prefix, prefixes)))
        self.kernel = FakeKernel((ETH0,))
        self.namespaces = FakeNamespaces(self.kernel)
        self.pods: dict[str, FakeKernel] = {}
        self.steps: list[str] = []
        self.start()

    def start(self) -> None:
        self.told = Told()
        self.attachments = Attachments(self.view, self.kernel, self.namespaces)
        self.server = CniServer(self.view, self.told, self.attachments, self.steps.append)

    def pod(self, name: str) -> FakeKernel:
        self.pods[name] = self.namespaces.make(path(name))
        return self.pods[name]

    async def call(self, command: str, env: dict[str, str] | None = None, **config: Any) -> Any:
        """Exit code and output of one run of the plugin, as the server answers it."""
        answer = await self.server.answer(document(command, env or {}, **config))
        return answer["exit"], answer["stdout"]

    async def add(self, pod: str, container: str = "", **config: Any) -> Any:
        return await self.call("ADD", env(pod, container), **config)

    async def delete(self, pod: str, container: str = "", **config: Any) -> Any:
        return await self.call("DEL", env(pod, container), **config)

    def pod_links(self) -> dict[str, str]:
        return {name: text for name, text in self.kernel.aliases().items() if is_pod_link(name)}


class Nth:
    """Refuses the changes that have these numbers, counted over all the kernels it is given to."""

    def __init__(self, refused: Callable[[int], bool] = lambda _: False) -> None:
        self.asked: list[Change] = []
        self._refused = refused

    def __call__(self, change: Change) -> int:
        self.asked.append(change)
        return 1 if self._refused(len(self.asked) - 1) else 0


def document(command: str, env: dict[str, str], **config: Any) -> dict[str, Any]:
    """What the plugin sends."""
    written = {"cniVersion": "1.1.0", "name": "steppe", "type": "steppe", "socket": "/x", **config}
    common = {"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin"}
    return {"env": common | env, "config": written}


def path(pod: str) -> str:
    return f"/run/netns/{pod}"


def env(pod: str, container: str = "") -> dict[str, str]:
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}"
    return {
        "CNI_CONTAINERID": container or f"c-{pod}",
        "CNI_NETNS": path(pod),
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": args,
    }
