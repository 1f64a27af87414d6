"""A container's processes: start them, find them again, wait for them, signal them.

    kubelet ─ shim (sh launch.sh) ─ the container's process 1, in a PID namespace of its own

The shim outlives the kubelet and writes two files named after the run: `.pid` (its own PID and the
container's) and `.exit`. A run's path is unique and is an argument of its shim, so a PID that was
given to another process meanwhile is never mistaken for it. Processes are held by pidfd.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from steppe.errors import SteppeError
from steppe_lab.kubelet.threads import netns_path

_LAUNCH = Path(__file__).with_name("launch.sh")
# What a shell reports for a process that SIGKILL ended; ours when no shim lived to tell.
KILLED = 128 + signal.SIGKILL


class LaunchError(SteppeError):
    """The container's process could not be started; the message is for the pod's status."""


class Mount(msgspec.Struct, frozen=True):
    """A file or folder of the host that a container sees at another place."""

    source: str
    target: str
    read_only: bool = False


class Launch(msgspec.Struct, frozen=True):
    """All it takes to start a container."""

    run: Path
    netns: str
    hostname: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    mounts: tuple[Mount, ...]
    log: Path


class Process:
    """One run of a container that was started, now or by an earlier kubelet."""

    def __init__(self, run: Path, shim: int, pid: int) -> None:
        # Both may have ended already; then there is nothing to hold.
        self.run = run
        self.pid = pid
        self._shim = _pidfd(shim)
        self._pidfd = _pidfd(pid)

    @classmethod
    def find(cls, run: Path) -> Self | None:
        """The run's processes, if its shim is still there."""
        try:
            shim, pid = map(int, run.with_name(run.name + ".pid").read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        return cls(run, shim, pid) if _is_shim(shim, run) else None

    async def wait(self) -> int:
        """The exit status, as a shell would report it."""
        if self._shim is not None:
            await _readable(self._shim)
            with contextlib.suppress(ChildProcessError):
                # Ours, if no other kubelet started it: a zombie until it is waited for.
                os.waitid(os.P_PIDFD, self._shim, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222  returns at once
        # Without its shim nobody would tell of the container's end, so it may not live on.
        self.signal(signal.SIGKILL)
        self.close()
        return exit_status(self.run)

    def signal(self, number: signal.Signals) -> None:
        """Signal process 1; SIGKILL ends all processes of its PID namespace (pid_namespaces(7))."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        for fd in (self._shim, self._pidfd):
            if fd is not None:
                os.close(fd)
        self._shim = self._pidfd = None


def exit_status(run: Path) -> int:
    """What the shim wrote; a run without it ended together with its shim."""
    try:
        return int(run.with_name(run.name + ".exit").read_text())
    except (FileNotFoundError, ValueError):
        return KILLED


def launch(order: Launch, template: int) -> Process:
    """Start a container in a mount namespace copied from `template`; blocks for some 10 ms."""
    command = resolve(order.command, order.env)
    # GNU env sets exactly these variables, and takes back what was ignored on the way here: SIGPIPE
    # by Python, SIGINT and SIGQUIT by a shell's background job.
    settings = [f"{name}={value}" for name, value in order.env.items()]
    argv = [
        "nsenter", f"--net={netns_path(order.netns)}", "--mount=/proc/self/fd/4", "--",
        "unshare", "--uts", "--mount", "--propagation", "slave", "--",
        "sh", str(_LAUNCH), "enter", str(order.run), order.hostname, order.working_dir,
    ]  # fmt: skip
    for mount in order.mounts:
        argv += [mount.source, mount.target, "ro" if mount.read_only else "rw"]
    argv += ["--", "env", "-i", "--default-signal", "--", *settings, *command]
    shim, said = _spawn(argv, order.log, template)
    if not said:
        os.waitpid(shim, 0)
        raise LaunchError(f"the container could not be set up: {_last_line(order.log)}")
    return Process(order.run, shim, int(said))


def resolve(command: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, ...]:
    """The command with its program's full path, searched for as execvp would inside."""
    found = shutil.which(command[0], path=env.get("PATH"))
    if found is None:
        raise LaunchError(
            f"exec: {command[0]!r}: executable file not found in $PATH of the host, on whose file"
            " system the lab runs containers"
        )
    return found, *command[1:]


def _spawn(argv: list[str], log: Path, template: int) -> tuple[int, bytes]:
    """Start the chain in a session of its own; what it says on descriptor 3, until it closes it."""
    program = shutil.which(argv[0])
    if program is None:
        raise LaunchError("nsenter is not installed (Debian: apt install util-linux)")
    reader, low = os.pipe()
    writer = above_standard(low)
    try:
        try:
            shim = os.posix_spawn(
                program,
                argv,
                {"PATH": os.environ.get("PATH", os.defpath)},
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log), _LOG_FLAGS, 0o640),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    (os.POSIX_SPAWN_DUP2, writer, 3),
                    (os.POSIX_SPAWN_DUP2, template, 4),
                ),
                setsid=True,
            )
        except (OSError, ValueError) as error:
            # ValueError: a word with a NUL in it, which JSON can hold and execve cannot.
            raise LaunchError(f"cannot start {argv[-1]!r}: {error}") from error
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb", closefd=False) as pipe:
            return shim, pipe.read()
    finally:
        os.close(reader)


def above_standard(fd: int) -> int:
    """Move a descriptor out of the way of those a child gets by number."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved


_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def _last_line(log: Path) -> str:
    text = log.read_bytes()[-1000:].decode(errors="replace")
    # mount(8) adds an indented hint to look into dmesg below what it has to say.
    lines = [line for line in text.splitlines() if line and not line.startswith(" ")]
    return lines[-1] if lines else "no message"


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _is_shim(pid: int, run: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(run) in words


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _readable(fd: int) -> None:
    """Wait for a pidfd: readable once its process has ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _finish, ended)
    try:
        await ended
    finally:
        loop.remove_reader(fd)


class Finished(msgspec.Struct, frozen=True):
    """How a program run inside a container ended."""

    code: int
    output: str


async def run_inside(argv: tuple[str, ...], deadline: float) -> Finished:
    """Run `nsenter … PROGRAM` for at most so many seconds; raises TimeoutError after them."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline):
            output, _ = await child.communicate()
    finally:
        if child.returncode is None:
            # The group, not nsenter alone: what runs inside the PID namespace is its child.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    # kubelet keeps at most 10 kB of a probe's output.
    return Finished(child.returncode or 0, output[-10240:].decode(errors="replace").strip())
