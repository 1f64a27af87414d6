"""Samples of denied packets for followers; the kernel makes them only while there is a follower."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from steppe.agent.denied.denied import DIRECTIONS, guarding
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.denied import LOG_GROUP
from steppe.drivers.nflog import Nflog, Sample
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction
from steppe.net.address import IPAddress

Document = dict[str, Any]

WAITING = 1000
"""The most samples that wait for one slow follower; further ones are dropped."""
SILENCE_SECONDS = 2.0
"""Seconds without a sample after which it is tested whether a follower is still connected."""


class Log(Protocol):
    """The source of samples."""

    def fileno(self) -> int:
        """A descriptor that is readable when there are samples."""

    def drain(self) -> tuple[Sample, ...]:
        """The samples since the last call; never waits."""

    def close(self) -> None:
        """Stop making samples."""


class Follower:
    """A queue of samples for one client; samples that a slow client has no room for are dropped."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Document | None] = asyncio.Queue(WAITING)

    def tell(self, sample: Document | None) -> None:
        """Queue a sample, or None to wake the client up."""
        if not self._waiting.full():
            self._waiting.put_nowait(sample)

    async def next(self) -> Document | None:
        """The next sample; None after SILENCE_SECONDS without one."""
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                return await self._waiting.get()
        except TimeoutError:
            return None


class Samples:
    """Listens to the kernel's log group while it has followers.

    Invariant: the kernel makes samples exactly while there is a follower, and a slow follower does
    not delay the others: samples that its queue has no room for are dropped.
    """

    def __init__(
        self,
        compiler: NodeCompiler,
        pods: Callable[[], Iterable[Pod]],
        listen: Callable[[], Log] = lambda: Nflog(LOG_GROUP),
    ) -> None:
        self._compiler = compiler
        self._pods = pods
        self._listen = listen
        self._log: Log | None = None
        self._followers: set[Follower] = set()

    @contextlib.contextmanager
    def following(self) -> Iterator[Follower]:
        """A follower that gets every sample from now on; KernelError if the kernel refuses."""
        follower = Follower()
        self._join(follower)
        try:
            yield follower
        finally:
            self._leave(follower)

    def _join(self, follower: Follower) -> None:
        if self._log is None:
            self._log = self._listen()
            asyncio.get_running_loop().add_reader(self._log.fileno(), self._hand_out)
        self._followers.add(follower)

    def _leave(self, follower: Follower) -> None:
        self._followers.discard(follower)
        if self._log is not None and not self._followers:
            asyncio.get_running_loop().remove_reader(self._log.fileno())
            self._log.close()
            self._log = None

    def _hand_out(self) -> None:
        # Another program's rule may use our group; its packets have another prefix.
        samples = self._log.drain() if self._log is not None else ()
        ours = [sample for sample in samples if sample.prefix in DIRECTIONS]
        names = self._names() if ours else {}
        for sample in ours:
            document = described(sample, self._compiler, names, datetime.now(UTC))
            document["node"] = self._compiler.name
            for follower in self._followers:
                follower.tell(document)

    def _names(self) -> dict[IPAddress, str]:
        nodes = self._compiler.nodes.values()
        names = {address: f"node/{node.name}" for node in nodes for address in node.addresses}
        for pod in self._pods():
            if not pod.host_network and not pod.finished:
                names.update(dict.fromkeys(pod.addresses, f"{pod.namespace}/{pod.name}"))
        return names


def described(
    sample: Sample, compiler: NodeCompiler, names: Mapping[IPAddress, str], now: datetime
) -> dict[str, Any]:
    """A sample with the names of its pods, and the policies that guard those on this node."""
    direction: Direction = "ingress" if sample.prefix == "ingress" else "egress"
    own = sample.destination if direction == "ingress" else sample.source
    links = [w.link for w in compiler.workloads.values() if own in w.addresses]
    return {
        "time": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "direction": direction,
        "source": _end(sample.source, names),
        "destination": _end(sample.destination, names),
        "protocol": sample.protocol,
        "port": sample.port,
        "policies": [str(ref) for link in links for ref in guarding(compiler, direction, link)],
    }


def _end(address: IPAddress, names: Mapping[IPAddress, str]) -> dict[str, str]:
    return {"address": str(address), "name": names.get(address, "")}
