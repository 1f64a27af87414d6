"""One line an event, `key=value`, to standard error: what a person greps and a collector parses."""

import logging
import sys
from typing import TextIO

log = logging.getLogger("steppe")


def set_up(level: str = "info", stream: TextIO = sys.stderr) -> None:
    """Send this process's log to the stream, from this level on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    logging.Formatter.converter = staticmethod(__import__("time").gmtime)
    logging.basicConfig(level=level.upper(), handlers=[handler])


def line(event: str, **fields: object) -> str:
    """`event key=value …`; values with blanks, quotes or line ends are quoted."""
    return " ".join((event, *(f"{key}={_quoted(str(value))}" for key, value in fields.items())))


def _quoted(text: str) -> str:
    if text and not any(character in text for character in ' "\\=\n\r\t'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'
