"""Starts one process of a lab again, as a service manager would on a machine.

It waits until the process answers, where something can be asked of it: the API server, the relay,
DNS and the agents. Kubelet and controllers answer nobody; they run when they have been started.
"""

import os
import signal
import socket
import time
from functools import partial
from pathlib import Path

import msgspec

from steppe.agent.ask import AskError, ask
from steppe_lab import netns, process
from steppe_lab.dns.address import PORT as DNS_PORT
from steppe_lab.kubelet.config import load_lab
from steppe_lab.ready import API_SECONDS, POLL_SECONDS, tail, wait_for_api
from steppe_lab.record import (
    LabError,
    Process,
    Record,
    locked,
    paths,
    read_record,
    write_record,
)
from steppe_lab.relay import PORT as RELAY_PORT

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
        if name == "api":
            # The server says by this file that it answers; the one of the old process says nothing.
            Path(record.kubeconfig).unlink(missing_ok=True)
        started = process.start_again(lab, known[name])
        known[name] = started
        record = msgspec.structs.replace(record, processes=tuple(known.values()))
        write_record(record)
        _wait(record, started)
        return started


def _wait(record: Record, started: Process) -> None:
    """Return when the process answers; LabError with its last words if it does not."""
    deadline = time.monotonic() + API_SECONDS
    if started.name == "api":
        wait_for_api(started, Path(record.kubeconfig))
        return
    while not _answers(record, started):
        if not process.is_alive(started):
            raise LabError(f"{started.name} has ended{tail(started)}")
        if time.monotonic() > deadline:
            raise LabError(
                f"{started.name} does not answer after {API_SECONDS:.0f} s{tail(started)}"
            )
        time.sleep(POLL_SECONDS)


def _answers(record: Record, started: Process) -> bool:
    where = paths(record.options.name)
    if started.name.startswith("agent/"):
        node = started.name.removeprefix("agent/")
        try:
            return "node" in ask(where.node(node) / "agent.sock", "status")
        except AskError:
            return False
    if started.name not in ("relay", "dns"):
        return True
    return all(
        netns.inside(node.netns, partial(_accepts, address, port))
        for node in load_lab(where.root).nodes
        for address, port in (
            [("127.0.0.1", RELAY_PORT)]
            if started.name == "relay"
            else [(address, DNS_PORT) for address in node.addresses]
        )
    )


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1.0).close()
    except OSError:
        return False
    return True


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
