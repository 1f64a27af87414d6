"""Errors that the event loop meets by itself, between the jobs: a line and a Problem each.

asyncio accepts connections outside of any job. Where a process may open no more files it tells of
that with a traceback for each connection that waits, and tries again after a second
(selector_events._accept_connection). No job fails, so the supervisor hears nothing of it.
"""

import asyncio
import logging
from typing import Any

from steppe.agent.files import cure
from steppe.agent.log import line
from steppe.agent.supervisor import is_expected
from steppe.kube.cause import Cause, ObjectRef, Problem

log = logging.getLogger("steppe.agent")

STEADY_SECONDS = 5.0
"""How long after the last error of a kind its Problem is gone; asyncio tries again after 1 s."""


class LoopErrors:
    """What the event loop of one node's agent has met of late.

    Invariant: an error that is told again while its Problem stands is not logged again.
    """

    def __init__(self, node: str, steady: float = STEADY_SECONDS) -> None:
        self._node = Cause(ObjectRef("Node", "", node))
        self._steady = steady
        self._ends: dict[str, asyncio.TimerHandle] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One a kind of error."""
        return tuple(Problem(self._node, what) for what in sorted(self._ends))

    def note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler; a bug of ours is told as asyncio does."""
        error = context.get("exception")
        if not isinstance(error, OSError) or not is_expected(error):
            loop.default_exception_handler(context)
            return
        what = _told(context, error)
        known = self._ends.pop(what, None)
        if known is None:
            log.error(line("loop-failed", error=what))
        else:
            known.cancel()
        self._ends[what] = loop.call_later(self._steady, self._is_well, what)

    def _is_well(self, what: str) -> None:
        del self._ends[what]
        log.info(line("loop-well-again", error=what))


def _told(context: dict[str, Any], error: OSError) -> str:
    why = error.strerror or type(error).__name__
    listening = context.get("socket")
    if listening is None:
        return f"{context['message']}: {why}"
    remedy = cure(error, "see the kernel's log")
    place = _place(listening.getsockname())
    return f"no connection can be taken at {place}: {why}; it is tried again every second; {remedy}"


def _place(address: object) -> str:
    """A listening socket's address, as people write it."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return str(address).removesuffix(".new")
