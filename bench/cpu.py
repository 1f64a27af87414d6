"""The processor time of another process, and when it has nothing left to do."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from bench.model import BenchError

REST_SECONDS = 1.0
"""So long without work, and a process is idle; what it does by the clock is not work."""
_BUSY_SHARE = 0.02
_LOOK_SECONDS = 0.05


def spent(pid: int) -> float:
    """Seconds that the threads of a process have been running, to the nanosecond.

    "First three fields are… 1) time spent on the cpu (in nanoseconds)" (kernel, sched-stats)
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def spent_in_all(pid: int) -> float:
    """The same with threads that have ended, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_since(pid: int, patience: float, is_done: Callable[[], bool]) -> float:
    """When (time.monotonic) the process last did anything, once it rests and `is_done`.

    It may also rest while it waits for a server; `is_done`, which may cost it work, is asked then.
    """
    end = time.monotonic() + patience
    last = began = time.monotonic()
    before = spent(pid)
    while began < end:
        time.sleep(_LOOK_SECONDS)
        now, used = time.monotonic(), spent(pid)
        if used - before > _BUSY_SHARE * (now - began):
            last = now
        began, before = now, used
        if now - last >= REST_SECONDS:
            if is_done():
                return last
            began, before = time.monotonic(), spent(pid)
    raise BenchError(f"process {pid} is not idle within {patience:.0f} s")
