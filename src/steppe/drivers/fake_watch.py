"""Events of a kernel in memory, with a descriptor to wait for as the real ones have."""

import os
from collections import deque

from steppe.drivers.events import Event


class FakeWatch:
    """What others have done to a kernel in memory, from the moment on that this was made."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._ready,)

    def take(self, event: Event) -> None:
        """Something has happened."""
        if self._ready >= 0:
            self._events.append(event)
            os.eventfd_write(self._ready, 1)

    def drain(self) -> tuple[Event, ...]:
        if self._events:
            os.eventfd_read(self._ready)
        found = tuple(self._events)
        self._events.clear()
        return found

    def close(self) -> None:
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1
