"""One log line for each event, as `key=value` pairs that people can grep and programs can parse."""

import logging
import re

_TO_QUOTE = re.compile(r'[ "\\=\n\r\t]')

log = logging.getLogger("steppe")


def line(event: str, **fields: object) -> str:
    """`event key=value …`; values with blanks, quotes or line ends are quoted."""
    return " ".join((event, *(f"{key}={_quoted(str(value))}" for key, value in fields.items())))


def _quoted(text: str) -> str:
    if text and _TO_QUOTE.search(text) is None:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'
