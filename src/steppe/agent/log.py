"""One log line for each event, as `key=value` pairs that people can grep and programs can parse."""

import logging
import re

from steppe.printable import printable

_TO_QUOTE = re.compile(r'[ "\\=]')

log = logging.getLogger("steppe")


def line(event: str, **fields: object) -> str:
    """`event key=value …`; values with blanks, quotes or what cannot be printed are quoted."""
    return " ".join((event, *(f"{key}={_quoted(str(value))}" for key, value in fields.items())))


def _quoted(text: str) -> str:
    if text and text.isprintable() and _TO_QUOTE.search(text) is None:
        return text
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
