"""The framing: whole answers, clear refusals, sockets of root's, and no agent in another's way."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from steppe.agent.cni import framing
from steppe.agent.unix_socket import SocketError


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"echo": request}


async def exchange(path: Path, *parts: bytes, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    for part in parts:
        writer.write(part)
        await writer.drain()
    if end:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_document_each_way(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with framing.serving(path, echo):
        assert await asyncio.to_thread(framing.call, path, {"do": "x"}) == {"echo": {"do": "x"}}
        assert await exchange(path, b'{"a"', b":1}") == b'{"echo":{"a":1}}'
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'{"a":"\xff"}'])
async def test_what_cannot_be_read_is_refused_and_spoils_nothing(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "s"
    async with framing.serving(path, echo, lambda message: {"no": message}):
        assert (await exchange(path, data)).startswith(b'{"no":"the request cannot be read')
        assert await exchange(path, b"{}") == b'{"echo":{}}'


async def test_too_large_a_request_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "LIMIT", 1000)
    async with framing.serving(tmp_path / "s", echo):
        assert b"larger than 1000 bytes" in await exchange(tmp_path / "s", b" " * 1001, end=False)


async def test_a_client_that_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "READ_SECONDS", 0.05)
    async with framing.serving(tmp_path / "s", echo):
        assert b"no whole request" in await exchange(tmp_path / "s", b"{", end=False)


async def test_a_client_that_goes_away_spoils_nothing(tmp_path: Path) -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    async def slow(_: dict[str, Any]) -> dict[str, Any]:
        entered.set()
        await release.wait()
        return {"big": "x" * 1_000_000}

    path = tmp_path / "s"
    async with framing.serving(path, slow):
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"{}")
        writer.write_eof()
        await entered.wait()
        writer.close()
        await writer.wait_closed()
        release.set()
        assert (await exchange(path, b"{}")).startswith(b'{"big"')


async def test_requests_under_way_are_seen_through(tmp_path: Path) -> None:
    entered = asyncio.Event()

    async def slow(_: dict[str, Any]) -> dict[str, Any]:
        entered.set()
        await asyncio.sleep(0.1)
        return {"done": True}

    async with asyncio.TaskGroup() as tasks, framing.serving(tmp_path / "s", slow):
        answer = tasks.create_task(exchange(tmp_path / "s", b"{}"))
        await entered.wait()
    assert answer.result() == b'{"done":true}'


async def test_a_new_agent_takes_the_socket_over(tmp_path: Path) -> None:
    async def other(_: dict[str, Any]) -> dict[str, Any]:
        return {"who": "new"}

    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with framing.serving(path, other), framing.serving(path, echo):
        assert await exchange(path, b"{}") == b'{"echo":{}}'
    # The one that ended last had lost the name already, and must not take away what is not its.
    async with framing.serving(path, echo):
        old = framing.serving(path, other)
        await old.__aenter__()
        async with framing.serving(path, echo):
            await old.__aexit__(None, None, None)
            assert await exchange(path, b"{}") == b'{"echo":{}}'


async def test_no_agent_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(framing.FramingError, match="is the agent running"):
        framing.call(tmp_path / "nobody", {})
    with pytest.raises(SocketError, match="--state-dir"):
        async with framing.serving(tmp_path / ("x" * 120), echo):
            pass
