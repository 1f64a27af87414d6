"""The CNI verbs, called by the plugin: serial for one attachment, parallel for different ones.

    plugin ──▶ cni.sock ──▶ request_from ──▶ Attachments (on a thread) ──▶ result, or CNI error

Each result is reported to the rest of the agent at once, so that it does not repair or delete what
is being attached or detached here.
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
from steppe.agent.hurry import Hurry
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
FAILED_ADD = ("ADD", KERNEL_REFUSED)

THREADS = 4
"""Number of threads. An ADD mostly waits for the kernel's single lock on all links (RTNL)."""

T = TypeVar("T")


class Watcher(Protocol):
    """Is called when a workload is attached or detached, in the event loop's thread."""

    def attached(self, workload: Workload) -> None: ...
    async def guarded(self, workload: Workload) -> None:
        """Return once the pod's policies are in the kernel; UnguardedError after a time limit."""

    def detached(self, link: str) -> None: ...


class Tried(Protocol):
    """Tries attachments (trial.py)."""

    @property
    def why(self) -> str: ...
    def again(self) -> None: ...


class CniServer:
    """The CNI verbs on one node; `close` closes the attachments.

    Invariant: at most one request at a time works on one link, and the watcher has been called
    before the plugin gets its answer.
    """

    def __init__(
        self,
        view: NodeView,
        watcher: Watcher,
        attachments: Attachments,
        on_step: Callable[[str], None] = log.debug,
        *,
        trial: Tried | None = None,
        hurry: Hurry | None = None,
    ) -> None:
        """`trial`: says in STATUS why no pod can be attached; told of each ADD that the kernel
        refuses. `hurry`: told while a link is worked on, which ought not to wait for long work.
        """
        self._view = view
        self._watcher = watcher
        self._on_step = on_step
        self._attachments = attachments
        self._trial = trial
        self._hurry = hurry or Hurry()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="cni")
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    async def clean_up(self) -> None:
        """Remove incomplete attachments of an earlier agent, and report the complete ones.

        Done once, before any request: later, an incomplete attachment is one that is being made.
        """
        for workload in await self._in_thread(self._attachments.clean_up):
            self._watcher.attached(workload)

    @contextlib.asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[Listening]:
        """Answer the plugin on this socket while the context lasts."""
        async with framing.serving(path, self.answer, _refusal) as made:
            yield made

    async def run(self, path: Path, turned: Callable[[], None] = lambda: None) -> None:
        """Answer the plugin until cancelled; SocketError if the socket's file was removed.

        `turned` is called once the plugin can be answered.
        """
        async with self.serving(path) as made:
            turned()
            await made.until_gone()

    def close(self) -> None:
        """Wait for requests that are being served, and close the attachments."""
        self._pool.shutdown()
        self._attachments.close()

    async def answer(self, document: dict[str, Any]) -> framing.Document:
        """The document for the plugin: what it prints, and its exit code."""
        version = _version(document)
        try:
            request = request_from(document)
            return {"exit": 0, "stdout": await self._serve(request)}
        except CniError as error:
            log.warning(line("cni-refused", code=error.code, error=error.msg))
            return _failed(version, error)

    async def repair(self, workload: Workload) -> bool:
        """Make a pod's lost link again; False if the pod is gone and its addresses are free."""
        async with self._alone(workload.link):
            if not self._attachments.knows(workload):
                return False  # removed or replaced while we waited, and reported by that request
            if await self._in_thread(lambda: self._attachments.repair(workload)):
                return True
            self._watcher.detached(workload.link)
            await self._in_thread(lambda: self._attachments.remove(workload.link))
            return False

    async def inner_faults(self, workload: Workload) -> tuple[Change, ...]:
        """The changes that restore the inside of a pod; () for a pod that no longer exists."""
        async with self._alone(workload.link):
            if not self._attachments.knows(workload):
                return ()
            return await self._in_thread(lambda: self._attachments.inner_faults(workload))

    async def in_pod(self, workload: Workload, look: Callable[[int], T]) -> T | None:
        """What `look` answers of a pod's namespace; None for one that is not found."""
        async with self._alone(workload.link):
            if not self._attachments.knows(workload):
                return None
            return await self._in_thread(lambda: self._attachments.in_pod(workload, look))

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
            refused = _as_cni(error, request)
            if self._trial is not None and (request.command, refused.code) == FAILED_ADD:
                self._trial.again()
            raise refused from error

    async def _add(self, request: Request) -> dict[str, Any]:
        async with self._alone(request.link):
            steps = self._attachments.add(request, self._replacing())
            workload = await self._in_thread(lambda: run(steps, self._on_step))
            self._watcher.attached(workload)
            try:
                with self._hurry.waiting():
                    await self._watcher.guarded(workload)
            except UnguardedError:
                self._watcher.detached(workload.link)
                await self._in_thread(lambda: self._attachments.remove(workload.link))
                raise
        addresses = " ".join(map(str, workload.addresses))
        log.info(line("attached", pod=workload.ref, link=workload.link, addresses=addresses))
        return add_result(request, workload, self._view.mtu)

    def _replacing(self) -> Callable[[str], None]:
        """A callback for the thread: reports an earlier sandbox's link before it is removed."""
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
            # Reported first: a link that is being removed must not be repaired.
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
        """Detach what is not in the runtime's list; without a list, only incomplete attachments.

        By the specification an absent list means that no attachment is valid. But cnitool never
        sends a list, and every pod on the node would be detached.
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
        # Read it again: it may have been completed or replaced while we waited.
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
        if not shortage and self._trial is not None:
            shortage = self._trial.why
        if shortage:
            raise CniError(
                NOT_AVAILABLE, f"{request.command}: no pod can be attached: {shortage}", CURE
            )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @contextlib.asynccontextmanager
    async def _alone(self, link: str) -> AsyncIterator[None]:
        """A lock for each link; it is deleted when nobody waits for it."""
        lock = self._locks.setdefault(link, asyncio.Lock())
        self._waiting[link] = self._waiting.get(link, 0) + 1
        try:
            async with lock:
                with self._hurry.served():
                    yield
        finally:
            self._waiting[link] -= 1
            if not self._waiting[link]:
                del self._waiting[link], self._locks[link]


CURE = "`steppe status` on this node says more; it is tried again by itself"


def _as_cni(error: SteppeError | OSError, request: Request) -> CniError:
    """The error as a CniError with CNI's code and the pod's name."""
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
