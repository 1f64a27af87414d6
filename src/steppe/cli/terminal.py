"""What commands print: harmless to the terminal, whoever has chosen the text."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from steppe.printable import harmless


class _Harmless:
    """A stream like the one given, but for what is written as text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(harmless(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def harmless_output() -> Iterator[None]:
    """Standard output and error are such streams meanwhile."""
    out, err = (cast("TextIO", _Harmless(stream)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
