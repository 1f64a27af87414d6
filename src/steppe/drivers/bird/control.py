"""Asks BIRD over its control socket; the protocol is the one that birdc speaks.

"When a command is processed, the reply consists of lines that begin with a four-digit code. A dash
after the code means that more lines follow, a space ends the reply; a line that begins with a space
has the code of the line before" (BIRD's doc/reply_codes). 0xxx says that something was done, 1xxx
is a table, 8xxx is an error in doing it and 9xxx one in the command.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from steppe.errors import SteppeError

ASK_SECONDS = 5.0
"""How long BIRD may take to answer; a table of 5,000 routes takes 20 ms."""
_LIMIT = 1 << 20
"""Bytes of one line."""


class BirdError(SteppeError):
    """BIRD does not run, does not answer, or refuses what it was asked; with what it said."""


class BirdGoneError(BirdError):
    """Nobody listens on the control socket, or who did has ended."""


class Line(msgspec.Struct, frozen=True):
    code: int
    text: str


class Reply(msgspec.Struct, frozen=True):
    """A whole reply; the last line has the code that tells whether it worked."""

    lines: tuple[Line, ...]

    @property
    def is_error(self) -> bool:
        return bool(self.lines) and self.lines[-1].code >= 8000

    @property
    def text(self) -> str:
        return "; ".join(line.text for line in self.lines if line.text)

    def of(self, *codes: int) -> Iterator[str]:
        """The texts of the lines with these codes."""
        return (line.text for line in self.lines if line.code in codes)


async def ask(path: Path, command: str, seconds: float = ASK_SECONDS) -> Reply:
    """The reply to one command; BirdError if there is none. A refusal is a reply as well."""
    if "\n" in command:
        raise BirdError("a command to BIRD is one line")
    try:
        async with asyncio.timeout(seconds):
            return await _asked(path, command)
    except TimeoutError as error:
        raise BirdError(f"BIRD does not answer on {path} within {seconds:.0f} s") from error
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise BirdGoneError(f"BIRD does not run: nobody listens on {path}") from error
    except (ConnectionResetError, BrokenPipeError) as error:
        raise BirdGoneError(f"BIRD has ended while it was asked on {path}") from error
    except (OSError, ValueError) as error:
        raise BirdError(f"BIRD on {path}: {error}") from error


async def _asked(path: Path, command: str) -> Reply:
    reader, writer = await asyncio.open_unix_connection(path, limit=_LIMIT)
    try:
        await _reply(reader)  # the greeting
        writer.write(f"{command}\n".encode())
        await writer.drain()
        return await _reply(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _reply(reader: asyncio.StreamReader) -> Reply:
    found: list[Line] = []
    while True:
        raw = await reader.readline()
        if not raw.endswith(b"\n"):
            raise ConnectionResetError("it closed the connection")
        text = raw.decode(errors="replace").rstrip("\n")
        code, last = _code(text)
        if code is None:
            found.append(Line(found[-1].code if found else 0, text[1:]))
            continue
        found.append(Line(code, text[5:]))
        if last:
            return Reply(tuple(found))


def _code(text: str) -> tuple[int | None, bool]:
    """The code that a line begins with, None if it has none; and whether it ends the reply."""
    head, sign = text[:4], text[4:5]
    if head.isascii() and head.isdigit() and sign in ("-", " "):
        return int(head), sign == " "
    return None, False
