"""An agent starts where 5,000 nodes are: how long from its first list to its last route?

The clock starts with the agent's first connection to the API server, as the server's kernel sees
it, and stops when the kernel tells of the last of 10,000 routes.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from bench.model import BenchError, Benchmark, Result, Say, Target
from bench.route_monitor import RouteMonitor
from bench.solo import create_nodes, log_tail, pod_prefixes, solo
from steppe.client.client import Client
from steppe.client.config import load_config

PRESENT = 5000
TARGET = Target(
    f"agent cold start with {PRESENT} nodes, first list to last route", 3.0, "s", at_most=True
)
_SECONDS_BETWEEN_ROUTES = 20.0
_ESTABLISHED = "01"


def connections(port: int) -> int:
    """Established connections to a local port, seen from the calling thread's namespace."""
    rows = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    fields = (row.split() for row in rows)
    return sum(f[3] == _ESTABLISHED and f[2].endswith(f":{port:04X}") for f in fields)


async def first_connection(port: int, more_than: int) -> float:
    while connections(port) <= more_than:  # noqa: ASYNC110 - the kernel tells nobody of these
        await asyncio.sleep(0.002)
    return time.monotonic()


async def last_route(monitor: RouteMonitor) -> float:
    """When the last route to a node's pods came."""
    wanted = {
        prefix.network_address.packed
        for number in range(1, PRESENT)
        for prefix in pod_prefixes(number)
    }
    while left := wanted - monitor.added.keys():
        if not await monitor.wait_for_change(_SECONDS_BETWEEN_ROUTES):
            raise BenchError(f"{len(left)} routes never came; the agent says:\n{log_tail()}")
    return max(monitor.added[prefix] for prefix in wanted)


def measure(say: Say) -> Iterator[Result]:
    with solo() as world:
        say(f"  creating {PRESENT} nodes")
        world.run(lambda client: create_nodes(client, range(PRESENT)))
        port = int(load_config(str(world.kubeconfig)).server.rpartition(":")[2])

        async def start(client: Client) -> tuple[float, float, float]:
            del client
            monitor = RouteMonitor()
            monitor.start()
            try:
                before = connections(port)
                started = time.monotonic()
                await asyncio.to_thread(world.start_agent)
                listed = await first_connection(port, before)
                return started, listed, await last_route(monitor)
            finally:
                monitor.close()

        say("  starting the agent")
        started, listed, done = world.run(start)
    yield Result(TARGET, done - listed, {"process started to last route": done - started})


BENCHMARK = Benchmark((TARGET,), measure)
