"""How the agent keeps its memory small: few arenas, and memory given back after large passes."""

import contextlib
import ctypes
import gc

_M_ARENA_MAX = -8  # malloc.h


def share_heap() -> None:
    """Have all threads allocate from one heap; call it before there are others.

    glibc gives threads heaps of their own, each of which keeps what is free in it. Ours run Python
    in turns, so they hardly ever wait for each other.
    """
    with contextlib.suppress(AttributeError):  # only glibc has mallopt(3) with this option
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


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
