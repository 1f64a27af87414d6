"""How the agent keeps its memory small: few arenas, and memory given back after large passes."""

import contextlib
import ctypes
import gc

_M_ARENA_MAX = -8
"""malloc.h of glibc."""
_ARENAS = 2


def limit_arenas() -> None:
    """Call it before the first thread is started.

    "M_ARENA_MAX … the maximum number of arenas that can be created" (mallopt(3)): by default each
    thread that needs memory gets one, up to eight for each core, and keeps what it has freed.
    """
    with contextlib.suppress(AttributeError):  # only glibc has mallopt(3)
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def settle_heap(*, grown: bool) -> None:
    """Call it after work on the tables of all Services.

    `grown`: many new objects will stay. They are excluded from garbage collection, since a full
    collection blocks the event loop (0.3 s at 110,000 entries). The C library returns freed memory
    to the system only on request (malloc_trim).
    """
    if grown:
        gc.freeze()
    with contextlib.suppress(AttributeError):  # only glibc has malloc_trim(3)
        ctypes.CDLL(None).malloc_trim(0)
