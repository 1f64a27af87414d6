"""The framing: whole answers, clear refusals, sockets of root's, and no agent in another's way."""

import asyncio
import itertools
import socket
from pathlib import Path
from typing import Any

import pytest

from steppe.agent import rpc
from tests.waiting import patience


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
    async with rpc.serving(path, echo):
        assert await asyncio.to_thread(rpc.call, path, {"do": "x"}) == {"echo": {"do": "x"}}
        assert await exchange(path, b'{"a"', b":1}") == b'{"echo":{"a":1}}'
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'{"a":"\xff"}'])
async def test_what_cannot_be_read_is_refused_and_spoils_nothing(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "s"
    async with rpc.serving(path, echo, lambda message: {"no": message}):
        assert (await exchange(path, data)).startswith(b'{"no":"the request cannot be read')
        assert await exchange(path, b"{}") == b'{"echo":{}}'


async def test_too_large_a_request_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "LIMIT", 1000)
    async with rpc.serving(tmp_path / "s", echo):
        assert b"larger than 1000 bytes" in await exchange(tmp_path / "s", b" " * 1001, end=False)


async def test_a_client_that_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "READ_SECONDS", 0.05)
    async with rpc.serving(tmp_path / "s", echo):
        assert b"no whole request" in await exchange(tmp_path / "s", b"{", end=False)


async def test_a_client_that_goes_away_spoils_nothing(tmp_path: Path) -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    async def slow(_: dict[str, Any]) -> dict[str, Any]:
        entered.set()
        await release.wait()
        return {"big": "x" * 1_000_000}

    path = tmp_path / "s"
    async with rpc.serving(path, slow):
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

    async with asyncio.TaskGroup() as tasks, rpc.serving(tmp_path / "s", slow):
        answer = tasks.create_task(exchange(tmp_path / "s", b"{}"))
        await entered.wait()
    assert answer.result() == b'{"done":true}'


class Ticks:
    """Answers numbers for ever, and knows whether anybody still wants them."""

    def __init__(self) -> None:
        self.wanted = 0

    async def answer(self, request: dict[str, Any]) -> dict[str, Any] | rpc.Stream:
        return self.ticks() if request else {"error": "no request"}

    async def ticks(self) -> rpc.Stream:
        self.wanted += 1
        try:
            for number in range(1_000_000):
                yield {"tick": number}
                yield None
                await asyncio.sleep(0.001)
        finally:
            self.wanted -= 1


def some(paths: list[Path], count: int) -> list[tuple[str, Any]]:
    told = rpc.follow(paths, {"do": "tick"})
    return [(path.name, told_["tick"]) for path, told_ in itertools.islice(told, count)]


async def test_a_stream_lasts_until_the_client_goes(tmp_path: Path) -> None:
    paths, ticks = [tmp_path / "a", tmp_path / "b"], Ticks()
    async with rpc.serving(paths[0], ticks.answer), rpc.serving(paths[1], ticks.answer):
        told = await asyncio.to_thread(some, paths, 20)
        assert [number for name, number in told if name == "a"][:3] == [0, 1, 2]
        assert {name for name, _ in told} == {"a", "b"}
        async with asyncio.timeout(patience(10)):
            while ticks.wanted:
                await asyncio.sleep(0.01)


async def test_a_stream_ends_with_the_agent(tmp_path: Path) -> None:
    ticks = Ticks()
    async with rpc.serving(tmp_path / "s", ticks.answer):
        following = asyncio.create_task(asyncio.to_thread(some, [tmp_path / "s"], 1_000_000))
        while not ticks.wanted:
            await asyncio.sleep(0.01)
    assert await following
    assert not ticks.wanted


async def test_a_refused_stream_is_one_document(tmp_path: Path) -> None:
    def refused() -> list[dict[str, Any]]:
        return [answer for _, answer in rpc.follow([tmp_path / "s"], {})]

    async with rpc.serving(tmp_path / "s", Ticks().answer):
        assert await asyncio.to_thread(refused) == [{"error": "no request"}]
    with pytest.raises(rpc.RpcError, match="is the agent running"):
        refused()


async def test_a_new_agent_takes_the_socket_over(tmp_path: Path) -> None:
    async def other(_: dict[str, Any]) -> dict[str, Any]:
        return {"who": "new"}

    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with rpc.serving(path, other), rpc.serving(path, echo):
        assert await exchange(path, b"{}") == b'{"echo":{}}'
    # The one that ended last had lost the name already, and must not take away what is not its.
    async with rpc.serving(path, echo):
        old = rpc.serving(path, other)
        await old.__aenter__()
        async with rpc.serving(path, echo):
            await old.__aexit__(None, None, None)
            assert await exchange(path, b"{}") == b'{"echo":{}}'


async def test_no_agent_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(rpc.RpcError, match="is the agent running"):
        rpc.call(tmp_path / "nobody", {})
    with pytest.raises(rpc.RpcError, match="--state-dir"):
        async with rpc.serving(tmp_path / ("x" * 120), echo):
            pass
