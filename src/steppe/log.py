"""How every program of Steppe writes its log: a line an entry, in UTC, to standard error.

2026-01-01T10:00:00.123Z INFO steppe.lab.kubelet: pod default/web is running
"""

import logging
import sys
import time
from typing import TextIO

from steppe.printable import printable


class _OneLine(logging.Formatter):
    """One entry is one line, whatever it quotes; a traceback follows as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))


def set_up(level: str = "info", stream: TextIO = sys.stderr, *, names: bool = True) -> None:
    """Send this process's log to the stream, from this level on.

    `names`: whether a line tells the logger that wrote it.
    """
    logger = "%(name)s: " if names else ""
    formatter = _OneLine(
        f"%(asctime)s.%(msecs)03dZ %(levelname)s {logger}%(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    # No line says where it was written, so that is not looked up (Logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level.upper(), handlers=[handler])
