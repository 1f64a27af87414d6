"""The life of one container: start, probe, restart by policy, stop.

Cancelling `run` leaves the container running, so pods survive a kubelet that ends; `stop` stops the
container. State that a later kubelet needs is written to disk before it is needed.

          ┌─────────── backoff ◀── ended, policy says again ─┐
    waiting ──▶ launch ──▶ postStart ──▶ running + probes ───┴──▶ ended for good
"""

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from steppe.errors import SteppeError
from steppe_lab.images.catalogue import UnknownImage
from steppe_lab.kubelet.expand import Unresolved
from steppe_lab.kubelet.namespaced import inside
from steppe_lab.kubelet.prober import Answer, Prober, Target
from steppe_lab.kubelet.probes import Backoff, Streak
from steppe_lab.kubelet.process import (
    Launch,
    LaunchError,
    Process,
    exit_status,
    launch,
)
from steppe_lab.kubelet.records import Container, Handler, Probe, is_sidecar
from steppe_lab.kubelet.status import Ended, Running, View, Waiting, should_restart
from steppe_lab.kubelet.threads import NamespaceThreads

# How soon a container whose configuration cannot be resolved is tried again.
_CONFIG_RETRY = 2.0
# "While a container is not Ready, the ReadinessProbe may be executed at times other than the
# configured periodSeconds interval. This is to make the Pod ready faster."
_HASTE = 0.5
# Probes begin with the process; nobody needs an Event of what fails before a server can listen.
_QUIET = 1.0
# "exitCode 128 … StartError" is what containerd reports for a program it could not execute.
_START_ERROR = 128


class Saved(msgspec.Struct, frozen=True):
    """What the next kubelet must know: the current run, and how the ones before went."""

    run: str = ""
    started_at: float = 0.0
    restarts: int = 0
    last: Ended | None = None
    # For `steppe lab exec`: what a program run inside gets.
    env: Mapping[str, str] = {}
    working_dir: str = "/"


class Surroundings(msgspec.Struct, frozen=True):
    """What a container's runner needs of its pod and node."""

    threads: NamespaceThreads
    prober: Prober
    template: int
    node_netns: str
    folder: Path
    policy: str
    init: bool
    # The order to start it, made anew for every start; `run` is filled in by the runner.
    order: Callable[[Container], Awaitable[Launch]]
    address: Callable[[], str]
    event: Callable[[str, str, str], None]
    changed: Callable[[], None]


class Runner:
    """Runs one container of a pod.

    Invariant: state that a later kubelet needs is on disk before it is needed; cancelling `run`
    leaves the container running.
    """

    def __init__(self, container: Container, around: Surroundings) -> None:
        self.container = container
        self.view = View()
        self.started = asyncio.Event()
        self._around = around
        self._saved = load_saved(around.folder)
        self._process: Process | None = None
        self._exited = asyncio.Event()
        self._backoff = Backoff()
        self._kill_reason = ""
        self._set(restarts=self._saved.restarts, last=self._saved.last)

    async def run(self, grace: int) -> Ended:
        """Keep the container going until its policy says it is done; how it ended."""
        ended = await self._adopted(grace)
        while True:
            if ended is None:
                ended = await self._once(grace)
            again = should_restart(
                self._around.policy,
                init=self._around.init,
                sidecar=is_sidecar(self.container),
                exit_code=ended.exit_code,
            )
            if not again:
                return ended
            await self._hold_back(ended)
            ended = None

    async def stop(self, grace: int) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace is over."""
        process = self._process or self._found()
        if process is None:
            return
        self._process = process
        self._exited.clear()
        async with asyncio.TaskGroup() as group:
            # Readiness goes on: a server that drains says so by failing its probe.
            probing = group.create_task(self._watch_readiness(process))
            killing = group.create_task(self._terminate(process, grace))
            await self._end(process)
            probing.cancel()
            killing.cancel()

    def kill(self) -> None:
        """Kill the container's processes; tasks that wait for them then continue."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    # One run.

    async def _once(self, grace: int) -> Ended:
        """Start the container and wait for its end."""
        order = await self._configured()
        run_id = secrets.token_hex(32)
        order = msgspec.structs.replace(order, run=self._around.folder / run_id)
        began = time.time()
        attempt = self._saved.restarts + (1 if self._saved.run else 0)
        self._save(Saved(run_id, began, attempt, self._saved.last, order.env, order.working_dir))
        try:
            await self._around.threads.plain(partial(self._launch, order))
        except LaunchError as error:
            self._around.event("Warning", "Failed", f"Error: {error}")
            ended = Ended(run_id, _START_ERROR, began, time.time(), "StartError", str(error))
            return self._record(ended)
        if self._process is None:
            raise LaunchError("launched without a process")
        self._around.event("Normal", "Started", f"Started container {self.container.name}")
        return await self._serve(self._process, grace, fresh=True)

    def _launch(self, order: Launch) -> None:
        # Stored by the worker thread: a cancelled caller finds the process nevertheless.
        self._process = launch(order, self._around.template)

    async def _configured(self) -> Launch:
        """The order to start, as soon as everything it refers to can be found."""
        while True:
            try:
                return await self._around.order(self.container)
            except UnknownImage as error:
                self._wait("ImageNotInLab", str(error))
            except (Unresolved, SteppeError, OSError) as error:
                self._wait("CreateContainerConfigError", str(error))
            await asyncio.sleep(_CONFIG_RETRY)

    def _wait(self, reason: str, message: str) -> None:
        state = Waiting(reason, message)
        if self.view.state != state:
            self._around.event("Warning", "Failed", f"Error: {message}")
        self._set(state=state)

    async def _adopted(self, grace: int) -> Ended | None:
        """The rest of the run that an earlier kubelet started, if there was one."""
        if not self._saved.run:
            return None
        process = self._found()
        if process is not None:
            self._process = process
            return await self._serve(process, grace, fresh=False)
        if self._saved.last is not None and self._saved.last.id == self._saved.run:
            return self._record(self._saved.last)
        run = self._around.folder / self._saved.run
        if not run.with_name(run.name + ".pid").exists():
            return None  # the kubelet before us ended before it had started this run
        return self._record(self._ended())

    def _found(self) -> Process | None:
        return Process.find(self._around.folder / self._saved.run) if self._saved.run else None

    async def _serve(self, process: Process, grace: int, *, fresh: bool) -> Ended:
        self._exited.clear()
        unguarded = self.container.startup_probe is None
        self._set(
            state=Running(self._saved.run, self._saved.started_at),
            restarts=self._saved.restarts,
            started=unguarded,
            ready=unguarded and self.container.readiness_probe is None,
        )
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(process, grace, fresh=fresh))
            ended = await self._end(process)
            watching.cancel()
        return ended

    async def _end(self, process: Process) -> Ended:
        await process.wait()
        self._exited.set()
        self._process = None
        return self._record(self._ended())

    def _ended(self) -> Ended:
        """How the current run went, from the file its shim left behind."""
        run = self._around.folder / self._saved.run
        status = run.with_name(run.name + ".exit")
        finished = status.stat().st_mtime if status.exists() else time.time()
        code = exit_status(run)
        reason, self._kill_reason = self._kill_reason, ""
        return Ended(self._saved.run, code, self._saved.started_at, finished, reason)

    def _record(self, ended: Ended) -> Ended:
        self._save(msgspec.structs.replace(self._saved, last=ended))
        # `lastState` is of the run before this one; it moves on when the next one begins.
        self._set(state=ended, ready=False, started=False, restarts=self._saved.restarts)
        return ended

    async def _hold_back(self, ended: Ended) -> None:
        ran_for = ended.finished_at - ended.started_at
        delay = self._backoff.wait(ran_for) - (time.time() - ended.finished_at)
        self._backoff = self._backoff.after(ran_for)
        if delay > 0:
            name = self.container.name
            message = f"back-off {delay:.0f}s restarting failed container={name}"
            self._set(state=Waiting("CrashLoopBackOff", message), last=ended)
            self._around.event("Warning", "BackOff", f"Back-off restarting container {name}")
            await asyncio.sleep(delay)
        self._set(last=ended)

    # Hooks and probes.

    def _target(self, process: Process) -> Target:
        return Target(
            self.container,
            self._around.node_netns,
            self._around.address(),
            partial(inside, process.pid, self._saved.working_dir, self._saved.env),
        )

    async def _watch(self, process: Process, grace: int, *, fresh: bool) -> None:
        """postStart, then the probes, for as long as the container runs."""
        hook = self.container.lifecycle.post_start
        target = self._target(process)
        if fresh and hook is not None:
            answer = await self._hook(hook, target, deadline=300.0)
            if not answer.success:
                self._around.event("Warning", "FailedPostStartHook", answer.message)
                await self._terminate(process, grace)
                return
        probe = self.container.startup_probe
        if probe is not None:
            if not await self._until("Startup", probe, process, lambda _: True):
                await self._kill(process, "startup", probe, grace)
                return
            self._set(started=True, ready=self.container.readiness_probe is None)
        self.started.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_readiness(process))
            group.create_task(self._watch_liveness(process, grace))

    async def _watch_readiness(self, process: Process) -> None:
        probe = self.container.readiness_probe
        if probe is not None and self.view.started:
            await self._until("Readiness", probe, process, self._show_readiness)

    def _show_readiness(self, verdict: bool) -> bool:
        self._set(ready=verdict)
        return False

    async def _watch_liveness(self, process: Process, grace: int) -> None:
        probe = self.container.liveness_probe
        if probe is not None:
            await self._until("Liveness", probe, process, lambda alive: not alive)
            await self._kill(process, "liveness", probe, grace)

    async def _until(
        self, kind: str, probe: Probe, process: Process, done: Callable[[bool], bool]
    ) -> bool:
        """Probe again and again until `done` is content with a verdict."""
        streak = Streak()
        began = time.monotonic()
        target = self._target(process)
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            answer = await self._around.prober.probe(probe, target)
            streak = streak.after(answer.success, probe)
            if not answer.success and time.monotonic() - began > _QUIET:
                message = f"{kind} probe failed: {answer.message}"
                self._around.event("Warning", "Unhealthy", message)
            if streak.verdict is not None and done(streak.verdict):
                return streak.verdict
            hasty = kind == "Readiness" and not self.view.ready
            await asyncio.sleep(
                min(_HASTE, probe.period_seconds) if hasty else probe.period_seconds
            )

    async def _kill(self, process: Process, kind: str, probe: Probe, grace: int) -> None:
        own = probe.termination_grace_period_seconds
        message = f"Container {self.container.name} failed {kind} probe, will be restarted"
        self._around.event("Normal", "Killing", message)
        await self._terminate(process, grace if own is None else own)

    async def _terminate(self, process: Process, grace: int) -> None:
        """Run preStop, send SIGTERM, wait, send SIGKILL.

        "the preStop hook … counts against the grace period".
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                hook = self.container.lifecycle.pre_stop
                if hook is not None:
                    target = self._target(process)
                    answer = await self._hook(hook, target, deadline=grace)
                    if not answer.success:
                        self._around.event("Warning", "FailedPreStopHook", answer.message)
                process.signal(signal.SIGTERM)
                await self._exited.wait()
        process.signal(signal.SIGKILL)

    async def _hook(self, hook: Handler, target: Target, deadline: float) -> Answer:
        try:
            if hook.exec is not None:
                return await self._around.prober.run(hook.exec.command, target, deadline)
            if hook.http_get is not None:
                async with asyncio.timeout(deadline):
                    return await self._around.prober.http_get(hook.http_get, target)
            if hook.sleep is not None:
                await asyncio.sleep(hook.sleep.seconds)
        except (SteppeError, OSError, ValueError, TimeoutError) as error:
            return Answer(False, f"hook failed: {error}")
        return Answer(True)

    # Saved state.

    def _set(self, **changes: object) -> None:
        view = msgspec.structs.replace(self.view, **changes)
        if view != self.view:
            self.view = view
            self._around.changed()

    def _save(self, saved: Saved) -> None:
        self._saved = saved
        folder = self._around.folder
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / "state.new"
        new.write_bytes(msgspec.json.encode(saved))
        new.rename(folder / "state.json")


def load_saved(folder: Path) -> Saved:
    """The state saved by an earlier kubelet; the initial state if there is none."""
    try:
        return msgspec.json.decode((folder / "state.json").read_bytes(), type=Saved)
    except (FileNotFoundError, msgspec.MsgspecError):
        return Saved()
