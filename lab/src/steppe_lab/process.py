"""Starts the lab's processes, checks whether they live, finds and ends them.

A process of a lab is identified by STEPPE_LAB in its environment or by its network namespace, never
by a recorded pid alone: pids are reused. Signals go through a pidfd
opened before the process was checked, so they cannot reach a later process with the same pid.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from steppe_lab import netns
from steppe_lab.record import ENV, LabError, Process

_PROC = Path("/proc")
TERM_SECONDS = 1.5
KILL_SECONDS = 10.0


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line of one of our own programs; -P keeps the current folder out of sys.path."""
    return (sys.executable, "-P", "-m", module, *arguments)


def start(lab: str, name: str, argv: tuple[str, ...], log: Path, namespace: str = "") -> Process:
    """Start a program in a session of its own, so that Ctrl-C at the terminal spares it."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {**os.environ, ENV: lab}
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    )

    def spawn() -> int:
        return os.posix_spawn(argv[0], argv, environment, file_actions=files, setsid=True)

    pid = netns.inside(namespace, spawn) if namespace else spawn()
    return Process(name, pid, start_time(pid) or 0, argv, str(log), namespace)


def start_again(lab: str, old: Process) -> Process:
    """Start what has ended, with the same command line, log and namespace."""
    return start(lab, old.name, old.argv, Path(old.log), old.netns)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name and may hold anything; what follows has no ")".
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(process: Process) -> bool:
    return start_time(process.pid) == process.started


def end_all(lab: str) -> int:
    """End every process of a lab, with SIGTERM and then SIGKILL; returns how many there were."""
    ended = _end_round(lab, signal.SIGTERM, TERM_SECONDS)
    deadline = time.monotonic() + KILL_SECONDS
    # A kubelet ended by the first round may have started a container meanwhile: look again.
    while again := _end_round(lab, signal.SIGKILL, 1.0):
        if time.monotonic() > deadline:
            raise LabError(f"lab {lab!r}: {again} processes do not end, not even by SIGKILL")
    return ended


def _end_round(lab: str, number: signal.Signals, seconds: float) -> int:
    with contextlib.ExitStack() as stack:
        fds = []
        for fd in _pidfds(lab):
            stack.callback(os.close, fd)
            fds.append(fd)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
        _wait_for_exits(fds, seconds)
        return len(fds)


def _pidfds(lab: str) -> Iterator[int]:
    namespaces = _identities(lab)
    spared = set(_self_and_ancestors())
    for pid in _pids():
        if pid in spared:
            continue
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if belongs(pid, lab, namespaces):
            yield fd
        else:
            os.close(fd)


def belongs(pid: int, lab: str, namespaces: frozenset[tuple[int, int]]) -> bool:
    """Whether a process has the lab's name in its environment or is in one of its namespaces."""
    if netns.identity(_PROC / str(pid) / "ns" / "net") in namespaces:
        return True
    return lab_of(pid) == lab


def lab_of(pid: int) -> str:
    """The lab a process says it is of; empty for all others."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return ""
    for entry in environment.split(b"\0"):
        if entry.startswith(f"{ENV}=".encode()):
            return os.fsdecode(entry.partition(b"=")[2])
    return ""


def labs_of_processes() -> set[str]:
    return {lab for pid in _pids() if (lab := lab_of(pid))}


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _identities(lab: str) -> frozenset[tuple[int, int]]:
    """The lab's namespaces; never the machine's own, whatever a file under /run/netns may be."""
    own = netns.identity(_PROC / "self" / "ns" / "net")
    found = (netns.identity(netns.NETNS_DIR / name) for name in netns.namespaces_of_lab(lab))
    return frozenset(each for each in found if each is not None and each != own)


def _self_and_ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            stat = (_PROC / str(pid) / "stat").read_text()
        except FileNotFoundError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])


def _wait_for_exits(fds: list[int], seconds: float) -> None:
    """Wait until every pidfd is readable, which is when its process has ended."""
    poll = select.poll()
    waiting = set(fds)
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + seconds
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            waiting.discard(fd)
