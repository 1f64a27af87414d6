"""The relay copies both ways, keeps half-closed connections open, and survives what ends them."""

import asyncio
import functools

from steppe_lab.relay import relay


async def _through(server_handler, conversation):
    async with asyncio.timeout(5):
        server = await asyncio.start_server(server_handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        front = await asyncio.start_server(
            functools.partial(relay, "127.0.0.1", port), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
        try:
            return await conversation(reader, writer)
        finally:
            writer.close()
            front.close()
            server.close()


async def test_an_answer_comes_after_the_question_was_closed() -> None:
    async def count(reader, writer):
        writer.write(b"%d" % len(await reader.read()))
        await writer.drain()
        writer.close()

    async def ask(reader, writer):
        writer.write(b"x" * 500_000)
        writer.write_eof()
        return await reader.read()

    assert await _through(count, ask) == b"500000"


async def test_a_server_that_hangs_up_ends_the_connection() -> None:
    async def hang_up(_reader, writer):
        writer.transport.abort()

    async def wait_for_end(reader, _writer):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""

    assert await _through(hang_up, wait_for_end) == b""


async def test_a_server_that_is_away_ends_the_connection() -> None:
    async with asyncio.timeout(5):
        gone = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = gone.sockets[0].getsockname()[1]
        gone.close()
        await gone.wait_closed()
        front = await asyncio.start_server(
            functools.partial(relay, "127.0.0.1", port), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        finally:
            writer.close()
            front.close()
