"""Waits until a lab is ready, and says what is wrong if it does not become ready.

A lab is ready when the API server's kubeconfig exists and all nodes are Ready.
STEPPE_TIME_SCALE (1) multiplies its patience, for machines that are known to be slow.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steppe.client.client import Client
from steppe.client.errors import ApiError, UnreachableError
from steppe.client.resources import NODES
from steppe_lab import process
from steppe_lab.record import LabError, Process, Record
from steppe_lab.topology.model import node_names

Say = Callable[[str], None]

_SCALE = float(os.environ.get("STEPPE_TIME_SCALE", "1"))
API_SECONDS = 30.0 * _SCALE
READY_SECONDS = 60.0 * _SCALE
READY_SECONDS_PER_NODE = 2.0 * _SCALE
POLL_SECONDS = 0.1
QUIET_SECONDS = 5.0
TAIL_LINES = 15


def wait_for_api(api: Process, ready: Path) -> None:
    deadline = time.monotonic() + API_SECONDS
    while not ready.exists():
        _check_alive((api,))
        if time.monotonic() > deadline:
            raise LabError(f"the API server is not ready after {API_SECONDS:.0f} s{tail(api)}")
        time.sleep(POLL_SECONDS)


def _check_alive(processes: tuple[Process, ...]) -> None:
    for each in processes:
        if not process.is_alive(each):
            raise LabError(f"{each.name} has ended{tail(each)}")


def tail(of: Process) -> str:
    """The last lines of a process's log, as the end of a message."""
    lines = Path(of.log).read_text(errors="replace").splitlines()[-TAIL_LINES:]
    return "".join(f"\n  {of.name}: {line}" for line in lines)


async def wait_for_nodes(client: Client, record: Record, say: Say) -> None:
    wanted = record.options.nodes
    limit = READY_SECONDS + READY_SECONDS_PER_NODE * wanted
    deadline = time.monotonic() + limit
    shown, count = 0.0, -1
    while True:
        _check_alive(record.processes)
        why_not = await _unready_nodes(client, wanted)
        if not why_not:
            say(f"{wanted} of {wanted} nodes Ready")
            return
        if time.monotonic() > deadline:
            raise LabError(_not_ready(record, why_not, limit))
        ready, waited = wanted - len(why_not), time.monotonic() - shown
        if waited > QUIET_SECONDS or (ready != count and waited > 1):
            say(f"{ready} of {wanted} nodes Ready")
            shown, count = time.monotonic(), ready
        await asyncio.sleep(POLL_SECONDS)


async def _unready_nodes(client: Client, wanted: int) -> dict[str, str]:
    """The lab's nodes that are not Ready, each with the reason its kubelet gives."""
    found = dict.fromkeys(node_names(wanted), "not registered")
    try:
        nodes, _ = await client.list(NODES)
    except (ApiError, UnreachableError) as error:
        return dict.fromkeys(found, str(error))
    for node in nodes:
        conditions = node.get("status", {}).get("conditions", ())
        ready: dict[str, Any] = next((c for c in conditions if c["type"] == "Ready"), {})
        if ready.get("status") == "True":
            found.pop(node["metadata"]["name"], None)
        elif node["metadata"]["name"] in found:
            found[node["metadata"]["name"]] = ready.get("message", "no Ready condition yet")
    return found


def _not_ready(record: Record, why_not: dict[str, str], limit: float) -> str:
    lines = [f"{len(why_not)} nodes are not Ready after {limit:.0f} s"]
    lines += [f"  {name}: {why}" for name, why in list(why_not.items())[:5]]
    first = next(iter(why_not))
    suspects = {"kubelet", "controller", f"agent/{first}"}
    return "\n".join(lines) + "".join(tail(p) for p in record.processes if p.name in suspects)
