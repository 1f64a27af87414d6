"""Starts one process of a lab again, as a service manager would on a machine."""

import os
import signal
import time

import msgspec

from steppe_lab import process
from steppe_lab.record import LabError, Process, locked, paths, read_record, write_record

_END_SECONDS = 5.0


def restart(lab: str, name: str) -> Process:
    """Kill a process, if it lives, and start it with the command line it had."""
    paths(lab)
    with locked(lab):
        record = read_record(lab)
        known = {each.name: each for each in record.processes}
        if name not in known:
            raise LabError(f"lab {lab!r} has no process {name!r}; it has {', '.join(known)}")
        _kill(known[name])
        started = process.start_again(lab, known[name])
        known[name] = started
        write_record(msgspec.structs.replace(record, processes=tuple(known.values())))
        return started


def _kill(old: Process) -> None:
    try:
        fd = os.pidfd_open(old.pid)
    except ProcessLookupError:
        return
    try:
        # Checked after the pidfd was opened, so that the signal can reach no other process.
        if process.is_alive(old):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)
    deadline = time.monotonic() + _END_SECONDS
    while process.is_alive(old):
        if time.monotonic() > deadline:
            raise LabError(f"{old.name} (process {old.pid}) does not end")
        time.sleep(0.01)
