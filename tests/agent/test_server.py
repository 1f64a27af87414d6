"""The agent's socket: HTTP as curl speaks it, clear refusals, and nobody in another's way."""

import asyncio
import contextlib
import io
import itertools
import json
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from steppe.agent import ask as client
from steppe.agent import server, unix_socket
from steppe.agent.denied.samples import Follower
from steppe.agent.server import AgentServer
from steppe.agent.shares import AGENT_SOCKET
from steppe.agent.unix_socket import SocketError
from steppe.drivers.errors import KernelError
from steppe.serving.limits import Limits
from tests.waiting import patience, until_async


class Answers:
    """Answers what it was asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def status(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"node": "node-a"}

    async def show(self, table: str, cause: str) -> dict[str, Any]:
        return {"table": table, "cause": cause}

    async def tables(self, addresses: frozenset[Any]) -> dict[str, Any]:
        return {"addresses": sorted(map(str, addresses))}

    async def denied(self) -> dict[str, Any]:
        return {"rows": []}


class Audit:
    async def look(self, *, repair: bool) -> dict[str, Any]:
        return {"repaired": repair}


class Ticks:
    """Numbers for ever, for those who follow."""

    def __init__(self) -> None:
        self.followers: set[Follower] = set()
        self.taken = False

    @contextlib.contextmanager
    def following(self) -> Any:
        if self.taken:
            raise KernelError("listen to log group 1", 16)
        follower = Follower()
        for number in range(100):
            follower.tell({"tick": number})
        self.followers.add(follower)
        try:
            yield follower
        finally:
            self.followers.discard(follower)


class World:
    def __init__(self, path: Path, limits: Limits = AGENT_SOCKET) -> None:
        self.path = path
        self.answers, self.ticks = Answers(), Ticks()
        self.server = AgentServer(path, self.answers, Audit(), self.ticks, limits)

    async def ask(self, method: str, what: str, body: bytes | None = None) -> tuple[int, Any]:
        """The status and the document."""
        connector = aiohttp.UnixConnector(str(self.path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(
                method, f"http://localhost{what}", data=body and io.BytesIO(body)
            ) as answer,
        ):
            assert answer.content_type == "application/json"
            return answer.status, await answer.json()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "agent.sock")
    async with made.server.serving():
        yield made
    assert not made.path.exists()


@pytest.mark.parametrize(
    ("method", "what", "body", "answer"),
    [
        ("GET", "/v1/status", None, {"node": "node-a"}),
        ("GET", "/v1/show/routes?cause=Node/b", None, {"table": "routes", "cause": "Node/b"}),
        ("GET", "/v1/show/all", None, {"table": "all", "cause": ""}),
        ("GET", "/v1/tables?address=fd00::1&address=10.0.0.1", None,
         {"addresses": ["10.0.0.1", "fd00::1"]}),
        ("POST", "/v1/tables", b'{"addresses": ["10.0.0.1"]}', {"addresses": ["10.0.0.1"]}),
        ("GET", "/v1/audit", None, {"repaired": False}),
        ("POST", "/v1/audit", None, {"repaired": True}),
        ("GET", "/v1/denied", None, {"rows": []}),
    ],
)  # fmt: skip
async def test_every_question_has_its_answer(
    world: World, method: str, what: str, body: bytes | None, answer: Any
) -> None:
    assert await world.ask(method, what, body) == (200, answer)


@pytest.mark.parametrize(
    ("method", "what", "body", "refusal"),
    [
        ("GET", "/v1/nothing", None, (404, "Not Found")),
        ("GET", "/v1/show/nonsense", None, (404, "no table 'nonsense': there are links")),
        ("DELETE", "/v1/status", None, (405, "Method Not Allowed")),
        ("GET", "/v1/tables?address=x", None, (400, "a list of addresses is needed")),
        ("GET", "/v1/denied?follow=maybe", None, (400, "follow is true or false")),
        ("POST", "/v1/tables", b"{", (400, "the body cannot be read")),
        ("POST", "/v1/tables", b'{"addresses": 7}', (400, "the body cannot be read")),
        ("POST", "/v1/tables", b" " * (server.LIMIT + 1), (413, "Maximum request body size")),
    ],
)
async def test_nonsense_is_refused_as_json(
    world: World, method: str, what: str, body: bytes | None, refusal: tuple[int, str]
) -> None:
    status, says = refusal
    found, document = await world.ask(method, what, body)
    assert (found, list(document)) == (status, ["error"])
    assert says in document["error"]


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (KernelError("list routes", 24), 503, "list routes: Too many open files"),
        (OSError(24, "Too many open files"), 503, "Too many open files"),
        (ZeroDivisionError("secret"), 500, "a bug in the agent, see its log"),
    ],
)
async def test_what_fails_in_answering_is_reported_and_the_next_question_is_answered(
    world: World, caplog: pytest.LogCaptureFixture, error: Exception, status: int, says: str
) -> None:
    world.answers.error = error
    found, document = await world.ask("GET", "/v1/status")
    assert found == status
    assert says in document["error"]
    assert "secret" not in document["error"]
    assert ("Traceback" in caplog.text) == (status == 500)
    world.answers.error = None
    assert await world.ask("GET", "/v1/status") == (200, {"node": "node-a"})


async def test_the_socket_is_roots_alone(world: World) -> None:
    assert world.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_asks_and_follows(world: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--unix-socket", str(world.path), "http://localhost/v1/status"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert json.loads(out) == {"node": "node-a"}


async def test_a_client_that_sends_nothing_is_left(tmp_path: Path) -> None:
    world = World(tmp_path / "s", Limits(head=0.05))
    async with world.server.serving():
        for said in (b"", b"GET /v1/sta"):
            reader, writer = await asyncio.open_unix_connection(str(world.path))
            writer.write(said)
            async with asyncio.timeout(patience(10)):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


async def test_a_body_that_does_not_come_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READ_SECONDS", 0.05)
    world = World(tmp_path / "s")
    async with world.server.serving():
        reader, writer = await asyncio.open_unix_connection(str(world.path))
        writer.write(b"POST /v1/tables HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        async with asyncio.timeout(patience(10)):
            assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_a_silent_connection_makes_room_and_one_that_is_answered_does_not(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "s", Limits(connections=1))
    async with world.server.serving():
        silent, writer = await asyncio.open_unix_connection(str(world.path))
        assert (await world.ask("GET", "/v1/status"))[0] == 200
        assert await silent.read() == b""
        writer.close()
        await writer.wait_closed()
        follower, writer = await asyncio.open_unix_connection(str(world.path))
        writer.write(b"GET /v1/denied?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await follower.readline()
        assert (await world.ask("GET", "/v1/status"))[0] == 503
        writer.close()
        await writer.wait_closed()

        async def answers() -> bool:
            return (await world.ask("GET", "/v1/status"))[0] == 200

        await until_async(answers, 5, "the connection that is closed makes room")


async def test_a_follower_that_does_not_read_is_left(tmp_path: Path) -> None:
    """Nothing that waits for him grows, and his connection is somebody else's before long."""
    world = World(tmp_path / "s", Limits(stall=0.2))
    async with world.server.serving():
        _, writer = await asyncio.open_unix_connection(str(world.path), limit=1)
        writer.write(b"GET /v1/denied?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
        await until_async(lambda: _is(world.ticks.followers), 5, "he follows")
        (follower,) = world.ticks.followers

        async def has_gone() -> bool:
            follower.tell({"much": "x" * 100_000})
            return not world.ticks.followers

        await until_async(has_gone, 10, "he is left")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _is(value: object) -> bool:
    return bool(value)


def some(paths: list[Path], count: int) -> list[tuple[str, Any]]:
    told = client.follow(paths, "denied", {"follow": "true"})
    return [(path.name, told_["tick"]) for path, told_ in itertools.islice(told, count)]


async def test_a_stream_lasts_until_the_client_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steppe.agent.denied.samples.SILENCE_SECONDS", 0.01)
    one, two = World(tmp_path / "a"), World(tmp_path / "b")
    async with one.server.serving(), two.server.serving():
        told = await asyncio.to_thread(some, [one.path, two.path], 120)
        assert [number for name, number in told if name == "a"][:3] == [0, 1, 2]
        assert {name for name, _ in told} == {"a", "b"}

        async def alone() -> bool:
            return not one.ticks.followers | two.ticks.followers

        await until_async(alone, 10, "the followers are gone")


async def test_a_stream_ends_with_the_agent(tmp_path: Path) -> None:
    world = World(tmp_path / "s")
    async with world.server.serving():
        following = asyncio.create_task(asyncio.to_thread(some, [world.path], 1_000_000))

        async def followed() -> bool:
            return bool(world.ticks.followers)

        await until_async(followed, 5, "someone follows")
    assert len(await following) <= 100
    assert not world.ticks.followers


async def test_samples_that_cannot_be_had_are_an_answer(world: World) -> None:
    world.ticks.taken = True
    ((_, told),) = await asyncio.to_thread(
        lambda: list(client.follow([world.path], "denied", {"follow": "true"}))
    )
    assert "log group 1" in told["error"]


async def test_no_agent_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(client.AskError, match="is the agent running"):
        client.ask(tmp_path / "nobody", "status")
    with pytest.raises(client.AskError, match="is the agent running"):
        list(client.follow([tmp_path / "nobody"], "denied"))


def test_an_agent_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        with pytest.raises(client.AskError, match="no answer in"):
            client.ask(tmp_path / "s", "status", timeout=0.05)


async def test_a_socket_that_was_removed_is_found_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "LOOK_SECONDS", 0.01)
    async with asyncio.timeout(patience(10)), contextlib.AsyncExitStack() as stack:
        other = World(world.path.with_name("other"))
        made = await stack.enter_async_context(other.server.serving())
        other.path.unlink()
        with pytest.raises(SocketError, match="is gone"):
            await made.until_gone()
