"""What the event loop meets by itself is a line and a Problem, and not a page of tracebacks."""

import asyncio
import logging
import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest

from steppe.agent.loop_errors import LoopErrors
from tests.waiting import until_async

EMFILE = OSError(24, "Too many open files")


class Listening:
    def __init__(self, address: object) -> None:
        self._address = address

    def getsockname(self) -> object:
        return self._address


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"socket": Listening("/run/steppe/cni.sock.new")}, "taken at /run/steppe/cni.sock: Too"),
        ({"socket": Listening(("127.0.0.1", 9464))}, "taken at 127.0.0.1:9464: Too many open"),
        ({"socket": Listening(("::", 10256, 0, 0))}, "taken at [::]:10256: Too many open files; "),
        ({}, "it broke: Too many open files"),
    ],
)
async def test_an_error_of_the_outside_is_told_once_for_as_long_as_it_lasts(
    more: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "steppe.agent")
    loop, it = asyncio.get_running_loop(), LoopErrors("node-a", steady=0.05)
    for _ in range(100):
        it.note(loop, {"message": "it broke", "exception": EMFILE, **more})
    (problem,) = it.problems
    assert str(problem.cause) == "Node/node-a"
    assert says in problem.message
    (told,) = caplog.messages
    assert told.startswith("loop-failed error=")

    async def well() -> bool:
        return not it.problems

    await until_async(well, 5, "the Problem is gone")
    assert caplog.messages[1].startswith("loop-well-again ")


async def test_a_bug_of_ours_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    it = LoopErrors("node-a")
    it.note(asyncio.get_running_loop(), {"message": "a task failed", "exception": KeyError("x")})
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.exc_info
    assert it.problems == ()


async def test_a_process_that_may_open_no_more_files_says_so_and_then_takes_connections(
    tmp_path: Path,
) -> None:
    loop, it = asyncio.get_running_loop(), LoopErrors("node-a", steady=2.0)
    loop.set_exception_handler(it.note)
    taken = asyncio.Event()

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        writer.close()

    async def told() -> bool:
        return bool(it.problems)

    path = tmp_path / "agent.sock"
    server = await asyncio.start_unix_server(take, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with server:
        with socket.socket(socket.AF_UNIX) as client:
            lowest = os.dup(client.fileno())
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                client.connect(os.fspath(path))
                await until_async(told, 5, "the Problem")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert f"no connection can be taken at {path}: Too many open" in it.problems[0].message
            async with asyncio.timeout(10):
                await taken.wait()
