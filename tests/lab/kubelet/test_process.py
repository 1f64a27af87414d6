"""Containers as processes: what is left when the parts between kubelet and container die."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from steppe_lab import netns
from steppe_lab.kubelet import mounts
from steppe_lab.kubelet.process import (
    KILLED,
    Launch,
    LaunchError,
    Mount,
    Process,
    launch,
    run_inside,
)
from tests.waiting import until

pytestmark = pytest.mark.kernel

PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture
def template() -> Iterator[int]:
    fd = mounts.template()
    yield fd
    os.close(fd)


@pytest.fixture
def order(tmp_path: Path, lab_name: str) -> Launch:
    name = netns.namespace(lab_name, "pod-00000001")
    netns.create((name,))
    return Launch(
        run=tmp_path / "run",
        netns=name,
        hostname="pod-1",
        command=("sh", "-c", "while :; do sleep 0.05; done"),
        env={**PATH, "STEPPE_LAB": lab_name},
        working_dir="/tmp",
        mounts=(),
        log=tmp_path / "log",
    )


def with_command(order: Launch, script: str) -> Launch:
    return msgspec.structs.replace(order, command=("sh", "-c", script))


async def test_the_exit_status_is_the_commands(order: Launch, template: int) -> None:
    process = launch(with_command(order, "exit 7"), template)
    assert await process.wait() == 7


async def test_sigkill_ends_every_process_of_the_container(order: Launch, template: int) -> None:
    process = launch(with_command(order, "sleep 998 & setsid sleep 998 & wait"), template)
    until(lambda: len(inside(process.pid)) == 3, 5, "both children")
    children = inside(process.pid)
    process.signal(signal.SIGKILL)
    assert await process.wait() == KILLED
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def inside(pid: int) -> list[str]:
    """All processes of a process's PID namespace, as the host numbers them."""
    wanted = namespace(Path(f"/proc/{pid}"))
    return [one.name for one in Path("/proc").glob("[0-9]*") if namespace(one) == wanted]


def namespace(folder: Path) -> Path | None:
    try:
        return (folder / "ns/pid").readlink()
    except OSError:
        return None


async def test_a_run_is_found_again_by_its_name_only(order: Launch, template: int) -> None:
    process = launch(order, template)
    found = Process.find(order.run)
    assert found is not None
    assert found.pid == process.pid
    found.close()
    other = order.run.with_name("other")
    other.with_name("other.pid").write_bytes(order.run.with_name("run.pid").read_bytes())
    assert Process.find(other) is None
    process.signal(signal.SIGKILL)
    await process.wait()
    assert Process.find(order.run) is None


async def test_a_container_whose_shim_was_killed_does_not_live_on(
    order: Launch, template: int
) -> None:
    process = launch(order, template)
    shim = int(order.run.with_name("run.pid").read_text().split()[0])
    os.kill(shim, signal.SIGKILL)
    assert await process.wait() == KILLED
    until(lambda: not Path(f"/proc/{process.pid}").exists(), 5, "the container's end")


async def test_signals_are_not_ignored_as_in_a_shells_background_job(
    order: Launch, template: int
) -> None:
    process = launch(with_command(order, "grep SigIgn /proc/self/status"), template)
    await process.wait()
    ignored = int(order.log.read_text().split()[1], 16)
    watched = (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM, signal.SIGXFSZ)
    assert [one for one in watched if ignored >> (one - 1) & 1] == []


async def test_containers_hold_no_network_namespace_of_others(order: Launch, template: int) -> None:
    script = "ls -A /run/netns; grep -c nsfs /proc/self/mountinfo"
    process = launch(with_command(order, script), template)
    await process.wait()
    assert order.log.read_text() == "0\n"


async def test_no_descriptor_of_the_kubelet_gets_in(order: Launch, template: int) -> None:
    with Path("/dev/null").open() as kept:
        os.set_inheritable(kept.fileno(), False)
        process = launch(with_command(order, "readlink /proc/self/fd/*"), template)
        await process.wait()
    targets = order.log.read_text().split()
    assert not [one for one in targets if "mnt:" in one or "pidfd" in one]


def test_a_mount_that_fails_is_told_by_name(order: Launch, template: int) -> None:
    mount = Mount(str(order.log.with_name("absent")), "/etc/hosts")
    broken = msgspec.structs.replace(order, mounts=(mount,))
    with pytest.raises(LaunchError, match="absent"):
        launch(broken, template)


def test_a_word_that_execve_cannot_take_is_an_error_with_words(
    order: Launch, template: int
) -> None:
    with pytest.raises(LaunchError, match="null byte"):
        launch(msgspec.structs.replace(order, command=("sh", "a\0b")), template)


async def test_a_program_that_outstays_its_time_is_ended_with_its_children() -> None:
    with pytest.raises(TimeoutError):
        await run_inside(("sh", "-c", "sleep 997 & sleep 997"), 0.2)
    left = [
        folder
        for folder in Path("/proc").glob("[0-9]*")
        if command_line(folder) == b"sleep\x00997\x00"
    ]
    assert left == []


def command_line(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


async def test_what_ran_to_its_end_tells_status_and_output() -> None:
    done = await run_inside(("sh", "-c", "echo out; echo err >&2; exit 4"), 5)
    assert (done.code, done.output) == (4, "out\nerr")
