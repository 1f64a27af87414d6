"""Nodes on one link, each a network namespace with a speaker and its BIRD; nothing else is real.

A speaker runs on a thread that has entered its node's namespace, so that BIRD starts there too.
"""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from steppe.agent.bgp.speaker import Speaker
from steppe.bgp.compile import BgpWorld
from steppe.bgp.objects import BgpSettings, Peer
from steppe.drivers.bird.daemon import Bird
from steppe.drivers.netlink.netns import enter
from steppe.kube.objects import Node
from tests.drivers.conftest import Namespace
from tests.waiting import patience, until
from tests.worlds import node_at

FLOOR, BIRDS = "1024", "512"


class View:
    """What a speaker asks, as the test sets it."""

    def __init__(self, here: Node, nodes: Sequence[Node]) -> None:
        self.here, self.nodes = here, tuple(nodes)
        self.routers: tuple[Peer, ...] = ()
        self.settings = BgpSettings()
        self.secrets: dict[str, str] = {}
        self.more: dict[str, Any] = {}
        self.away = False
        """Whether the API is away, and nothing was read of it yet."""

    def passwords(self) -> dict[str, str]:
        return self.secrets

    def world(self, passwords: frozenset[str]) -> BgpWorld | None:
        if self.away:
            return None
        return BgpWorld(
            here=self.here,
            nodes=self.nodes,
            settings=self.settings,
            routers=self.routers,
            passwords=passwords,
            **self.more,
        )


class SpeakingNode:
    """A node of the link: its namespace, its view, and the agent's part that runs BIRD."""

    def __init__(self, node: Node, nodes: Sequence[Node], folder: Path) -> None:
        self.node = node
        self.net = Namespace()
        self.view = View(node, nodes)
        self.bird = Bird(folder / node.name)
        self.speaker = Speaker(node.name, self.view, self.bird)
        self.failed: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    @property
    def name(self) -> str:
        return self.node.name

    def begin(self) -> None:
        """Start a speaker that knows nothing, as an agent does that starts."""
        self.speaker = Speaker(self.name, self.view, self.bird)
        ready = threading.Event()

        async def work() -> None:
            self._loop = asyncio.get_running_loop()
            task = asyncio.ensure_future(self._run())
            loop = self._loop
            self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
            ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        def body() -> None:
            enter(self.net.fd)
            asyncio.run(work())

        self._thread = threading.Thread(target=body, daemon=True)
        self._thread.start()
        assert ready.wait(patience(5))

    async def _run(self) -> None:
        try:
            await self.speaker.run()
        except Exception as error:  # noqa: BLE001 - shown by the test that waits in vain
            self.failed = error

    def end(self) -> None:
        """Stop the speaker, as an agent that is killed: BIRD goes on."""
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended by itself
                self._stop()
            self._thread.join(patience(10))
            assert not self._thread.is_alive()
            self._thread = None

    def wake(self) -> None:
        """The view has changed."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.speaker.wake)

    def change(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.view, name, value)
        self.wake()

    def routes(self, version: int = 4) -> dict[str, list[dict[str, Any]]]:
        """What BIRD has put into the kernel, by prefix."""
        found: dict[str, list[dict[str, Any]]] = {}
        for route in self.net.ip(f"-{version}", "route", "show", "proto", "bird"):
            found.setdefault(route["dst"], []).append(route)
        return found

    def established(self) -> set[str]:
        return {each.name for each in tuple(self.speaker.seen.values()) if each.is_established}

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.net.close)
            stack.callback(self.bird.kill)
            stack.callback(self.end)


class Link:
    """All nodes on one bridge, and more namespaces if a test wants them."""

    def __init__(self, count: int, folder: Path) -> None:
        nodes = [node_at(index) for index in range(count)]
        self.bridge = Namespace()
        self.bridge.run("ip", "link", "add", "br0", "type", "bridge")
        self.bridge.run("ip", "link", "set", "br0", "up")
        self._ports = 0
        self.nodes = [SpeakingNode(node, nodes, folder) for node in nodes]
        for each in self.nodes:
            self.plug(each.net, *map(str, each.node.underlay.addresses))
            for network in each.node.networks:
                pod = f"{network.network_address + 7}/{network.max_prefixlen}"
                each.net.run("ip", "address", "add", pod, "dev", "lo")
            for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                each.net.run("sysctl", "-q", "-w", f"{setting}=1")

    def plug(self, net: Namespace, *addresses: str) -> None:
        """Put a namespace on the link by an eth0 of its own."""
        port, self._ports = f"p{self._ports}", self._ports + 1
        words = ("ip", "link", "add", "eth0", "type", "veth", "peer", "name", port)
        net.run(*words, "netns", self.bridge.path)
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            net.run("ip", "address", "add", address, "dev", "eth0", *nodad)
        # A link-local address that is still being checked (RFC 4862, 5.4) is no next hop yet:
        # routes would come a second time when it may be used.
        net.run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=0")
        net.run("ip", "link", "set", "eth0", "up")
        self.bridge.run("ip", "link", "set", port, "master", "br0", "up")

    def floors(self) -> None:
        """Steppe's own routes between the nodes, under BIRD's."""
        for each in self.nodes:
            for peer in self.nodes:
                for network in peer.node.networks if peer is not each else ():
                    via = peer.node.address(network.version)
                    words = ("route", "add", str(network), "via", str(via), "dev", "eth0")
                    each.net.run("ip", f"-{network.version}", *words, "metric", FLOOR)

    def begin(self) -> None:
        for each in self.nodes:
            each.begin()

    def until_full(self, seconds: float = 20) -> None:
        """Until every node has BIRD's route to each other node, in both families."""

        def full() -> bool:
            for each in self.nodes:
                assert each.failed is None, each.failed
                for version in (4, 6):
                    wanted = {
                        str(network)
                        for peer in self.nodes
                        if peer is not each
                        for network in peer.node.networks
                        if network.version == version
                    }
                    if not wanted <= each.routes(version).keys():
                        return False
            return True

        until(full, seconds, "BIRD's routes to all nodes")

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.bridge.close)
            for each in self.nodes:
                stack.callback(each.close)


@contextlib.contextmanager
def linked(count: int, folder: Path) -> Iterator[Link]:
    link = Link(count, folder)
    try:
        yield link
    finally:
        link.close()


class Pings:
    """Pings of 10 ms to the pods of another node, in both families, from its own pod's address."""

    def __init__(self, source: SpeakingNode, target: SpeakingNode) -> None:
        self._running = []
        pairs = zip(source.node.networks, target.node.networks, strict=True)
        for own, network in pairs:
            address = str(network.network_address + 7)
            words = ("-i", "0.01", "-q", "-n", "-W", "1", "-I", str(own.network_address + 7))
            argv = ("nsenter", f"--net={source.net.path}", "ping", *words, address)
            fds = (source.net.fd,)
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, pass_fds=fds)
            self._running.append(process)

    def lost(self) -> tuple[int, int]:
        """Ends them: how many were sent, and how many of them were not answered."""
        sent = answered = 0
        for process in self._running:
            process.send_signal(2)
            text = process.communicate(timeout=10)[0]
            (summary,) = (line for line in text.splitlines() if "packets transmitted" in line)
            words = summary.split()
            sent, answered = sent + int(words[0]), answered + int(words[3])
        return sent, sent - answered
