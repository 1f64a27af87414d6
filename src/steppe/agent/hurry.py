"""Who is served now and ought not to wait for long work: those who attach pods."""

import contextlib
from collections.abc import Iterator


class Hurry:
    """True while anybody is served who does not wait for the long work itself."""

    def __init__(self) -> None:
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Somebody is being served."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Somebody who is being served waits for the work itself."""
        self._count -= 1
        try:
            yield
        finally:
            self._count += 1
