"""One log line for each event, as `key=value` pairs that people can grep and programs can parse."""

import logging

log = logging.getLogger("steppe")


def line(event: str, **fields: object) -> str:
    """`event key=value …`; values with blanks, quotes or line ends are quoted."""
    return " ".join((event, *(f"{key}={_quoted(str(value))}" for key, value in fields.items())))


def _quoted(text: str) -> str:
    if text and not any(character in text for character in ' "\\=\n\r\t'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'
