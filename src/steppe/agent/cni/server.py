"""CNI's verbs, for the plugin to call: one attachment at a time, different ones side by side.

    plugin ──▶ cni.sock ──▶ request_from ──▶ Attachments (on a thread) ──▶ result, or CNI error

What the kernel did is told to the agent at once, so that it neither repairs nor removes what is
being made or taken down here.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from steppe.agent.cni import framing
from steppe.agent.cni.addresses import NoAddressError
from steppe.agent.cni.attach import (
    Attachments,
    NodeView,
    SameNamespaceError,
    TakenError,
    run,
)
from steppe.agent.cni.gate import UnguardedError
from steppe.agent.cni.request import Request, request_from
from steppe.agent.cni.result import add_result
from steppe.agent.log import line
from steppe.agent.unix_socket import Listening
from steppe.cni.plugin import (
    BAD_ENVIRONMENT,
    DECODING_FAILURE,
    NEWEST,
    NOT_AVAILABLE,
    SUPPORTED,
    TRY_AGAIN,
    CniError,
)
from steppe.drivers.netlink.netns import NetnsError
from steppe.errors import SteppeError
from steppe.kube.objects import Workload
from steppe.plan.diff import Change

log = logging.getLogger("steppe.agent.cni")

# "8: (library only) the namespaces of plugin and container are the same" in the reference library.
SAME_NAMESPACE = 8
# "Values 100+ may be used for plugin specific errors."
ALREADY_ATTACHED = 100
DIFFERS = 101
KERNEL_REFUSED = 102
GC_INCOMPLETE = 103

THREADS = 4
"""Each ADD waits mostly for the kernel's one lock over all links (RTNL)."""

T = TypeVar("T")


class Watcher(Protocol):
    """Who is told of what happens to workloads; called in the event loop's thread."""

    def attached(self, workload: Workload) -> None: ...
    async def guarded(self, workload: Workload) -> None:
        """Return once the pod's policies are in the kernel; UnguardedError if that takes long."""

    def detached(self, link: str) -> None: ...


class CniServer:
    """The verbs on one node; the attachments are closed when it has served."""

    def __init__(
        self,
        view: NodeView,
        watcher: Watcher,
        attachments: Attachments,
        on_step: Callable[[str], None] = log.debug,
    ) -> None:
        self._view = view
        self._watcher = watcher
        self._on_step = on_step
        self._attachments = attachments
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="cni")
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    async def clean_up(self) -> None:
        """Remove what an earlier agent left half-made, and tell of what it has attached.

        Done once, before anything is answered: later on, what is half-made is under way.
        """
        for workload in await self._in_thread(self._attachments.clean_up):
            self._watcher.attached(workload)

    @contextlib.asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[Listening]:
        """Answer the plugin on this socket."""
        async with framing.serving(path, self.answer, _refusal) as made:
            yield made

    async def run(self, path: Path) -> None:
        """Answer the plugin until cancelled, or until the socket is gone (SocketError)."""
        async with self.serving(path) as made:
            await made.until_gone()

    def close(self) -> None:
        """Wait for what is under way, and close what is open."""
        self._pool.shutdown()
        self._attachments.close()

    async def answer(self, document: dict[str, Any]) -> framing.Document:
        """What the plugin is to print, and its exit code."""
        version = _version(document)
        try:
            request = request_from(document)
            return {"exit": 0, "stdout": await self._serve(request)}
        except CniError as error:
            log.warning(line("cni-refused", code=error.code, error=error.msg))
            return _failed(version, error)

    async def repair(self, workload: Workload) -> bool:
        """Make a pod's lost link anew; False if the pod is gone, and its addresses free."""
        async with self._alone(workload.link):
            if not self._attachments.knows(workload):
                return False  # undone or replaced while we waited, and told by who did it
            if await self._in_thread(lambda: self._attachments.repair(workload)):
                return True
            self._watcher.detached(workload.link)
            await self._in_thread(lambda: self._attachments.remove(workload.link))
            return False

    async def inner_faults(self, workload: Workload) -> tuple[Change, ...]:
        """What inside a pod is not as its ADD left it; () for a pod that is gone by now."""
        async with self._alone(workload.link):
            if not self._attachments.knows(workload):
                return ()
            return await self._in_thread(lambda: self._attachments.inner_faults(workload))

    async def _serve(self, request: Request) -> dict[str, Any] | None:
        verbs = {
            "ADD": self._add,
            "DEL": self._delete,
            "CHECK": self._check,
            "GC": self._collect,
            "STATUS": self._status,
        }
        verb = verbs.get(request.command)
        if verb is None:
            raise CniError(BAD_ENVIRONMENT, f"CNI_COMMAND is {request.command!r}")
        try:
            return await verb(request)
        except (SteppeError, OSError) as error:
            raise _as_cni(error, request) from error

    async def _add(self, request: Request) -> dict[str, Any]:
        async with self._alone(request.link):
            steps = self._attachments.add(request, self._replacing())
            workload = await self._in_thread(lambda: run(steps, self._on_step))
            self._watcher.attached(workload)
            try:
                await self._watcher.guarded(workload)
            except UnguardedError:
                self._watcher.detached(workload.link)
                await self._in_thread(lambda: self._attachments.remove(workload.link))
                raise
        addresses = " ".join(map(str, workload.addresses))
        log.info(line("attached", pod=workload.ref, link=workload.link, addresses=addresses))
        return add_result(request, workload, self._view.mtu)

    def _replacing(self) -> Callable[[str], None]:
        """Tells, from the thread, of an earlier sandbox's link that is about to go."""
        loop = asyncio.get_running_loop()

        def tell(link: str) -> None:
            loop.call_soon_threadsafe(self._watcher.detached, link)

        return tell

    async def _delete(self, request: Request) -> None:
        async with self._alone(request.link):
            found = await self._in_thread(lambda: self._attachments.find(request))
            if found is None or not (found.half_made or found.workload):
                return
            workload = found.workload
            if workload is not None and not found.is_of(request):
                # A late DEL for an earlier sandbox must not take down its successor.
                log.info(line("not-detached", pod=workload.ref, now=workload.container))
                return
            # Told first: what is taken down must not be repaired meanwhile.
            self._watcher.detached(found.link)
            self._on_step("found")
            await self._in_thread(lambda: self._attachments.remove(found.link))
            self._on_step("link removed")
        log.info(line("detached", pod=request.pod or request.container, link=found.link))

    async def _check(self, request: Request) -> None:
        async with self._alone(request.link):
            faults = await self._in_thread(lambda: self._attachments.faults(request))
        if faults:
            who = request.pod or request.container
            raise CniError(
                DIFFERS,
                f"CHECK of pod {who}: {faults[0]}"
                + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""),
                "; ".join((*faults, "the agent repairs it in 2 s, or says in its log why not")),
            )

    async def _collect(self, request: Request) -> None:
        """Detach what the runtime no longer knows; without a list, only what is half-made.

        The spec has an absent list mean that nothing is valid. To believe that, coming from a
        tool that never sends one (cnitool), would unplug every pod on the node.
        """
        failures: list[str] = []
        for found in await self._in_thread(self._attachments.found):
            async with self._alone(found.link):
                try:
                    await self._collect_one(found.link, request.valid)
                except SteppeError as error:
                    failures.append(str(error))
        if failures:
            raise CniError(GC_INCOMPLETE, f"GC: {failures[0]}", "; ".join(failures))

    async def _collect_one(self, link: str, valid: frozenset[str] | None) -> None:
        # Looked at again: it may have been completed or replaced while we waited.
        for one in await self._in_thread(self._attachments.found):
            if one.link != link:
                continue
            stale = valid is not None and one.workload and one.workload.container not in valid
            if one.half_made or stale:
                self._watcher.detached(link)
                await self._in_thread(lambda: self._attachments.remove(link))
                pod = one.workload.ref if one.workload is not None else "nobody"
                log.info(line("collected", pod=pod, link=link))

    async def _status(self, request: Request) -> None:
        shortage = await self._in_thread(self._attachments.shortage)
        if shortage:
            raise CniError(
                NOT_AVAILABLE, f"{request.command}: no pod can be attached: {shortage}", CURE
            )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @contextlib.asynccontextmanager
    async def _alone(self, link: str) -> AsyncIterator[None]:
        """One at a time for each link; locks that nobody waits for are forgotten."""
        lock = self._locks.setdefault(link, asyncio.Lock())
        self._waiting[link] = self._waiting.get(link, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[link] -= 1
            if not self._waiting[link]:
                del self._waiting[link], self._locks[link]


CURE = "`steppe status` on this node says more; it is tried again by itself"


def _as_cni(error: SteppeError | OSError, request: Request) -> CniError:
    """The error with CNI's number for it, and the pod it is about."""
    if isinstance(error, NoAddressError | UnguardedError):
        code = TRY_AGAIN
    elif isinstance(error, SameNamespaceError):
        code = SAME_NAMESPACE
    elif isinstance(error, NetnsError):
        code = BAD_ENVIRONMENT
    elif isinstance(error, TakenError):
        code = ALREADY_ATTACHED
    else:
        code = KERNEL_REFUSED
    parameter = "CNI_NETNS: " if isinstance(error, NetnsError | SameNamespaceError) else ""
    who = f" of pod {request.pod}" if request.pod else ""
    return CniError(code, f"{request.command}{who}: {parameter}{error}", CURES.get(code, CURE))


CURES = {
    SAME_NAMESPACE: "the runtime must give the container a network namespace of its own",
    BAD_ENVIRONMENT: "CNI_NETNS must be the path of the container's network namespace, and the "
    "agent must see it: mount the runtime's folder (/run/netns) into the agent",
    ALREADY_ATTACHED: "run DEL for this container first",
}


def _version(document: dict[str, Any]) -> str:
    config = document.get("config")
    version = config.get("cniVersion") if isinstance(config, dict) else None
    return version if version in SUPPORTED else NEWEST


def _failed(version: str, error: CniError) -> framing.Document:
    return {
        "exit": 1,
        "stdout": {
            "cniVersion": version,
            "code": error.code,
            "msg": error.msg,
            "details": error.details,
        },
    }


def _refusal(message: str) -> framing.Document:
    return _failed(NEWEST, CniError(DECODING_FAILURE, message))
