"""An API server that does not answer: those who write to it by the clock log that once."""

import logging
from types import TracebackType

from steppe.agent.log import line
from steppe.client.errors import UnreachableError

log = logging.getLogger("steppe.agent")


class Outage:
    """A context in which UnreachableError ends the work quietly, for it is tried again soon.

    The first of a row is logged; what is done inside without an error ends the row.
    """

    def __init__(self, event: str) -> None:
        """`event`: the log line's name."""
        self._event = event
        self._lasts = False

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if error is None:
            self._lasts = False
        if not isinstance(error, UnreachableError):
            return False
        if not self._lasts:
            log.warning(line(self._event, error=error))
        self._lasts = True
        return True
