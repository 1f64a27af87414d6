"""A node is added: how long until its routes stand in the kernel of another node?

From sending the Node to the API server until the kernel tells of the second of its two routes,
with 1,000 nodes there already.
"""

import asyncio
import time
from collections.abc import Iterator
from statistics import median

from bench.model import BenchError, Benchmark, Result, Say, Target, percentile
from bench.route_monitor import RouteMonitor
from bench.solo import Solo, create_nodes, log_tail, node_object, pod_prefixes, route_count, solo
from steppe.client.client import Client
from steppe.client.resources import NODES

PRESENT = 1000
ADDED = 200
TARGET = Target(f"node added → its routes, {PRESENT} nodes, p99", 20.0, "ms", at_most=True)
_SETTLE_SECONDS = 60.0
_ROUTE_SECONDS = 10.0


async def wait_for_routes(world: Solo, wanted: int) -> None:
    """Until the agent has caught up with the nodes that are there."""
    end = time.monotonic() + _SETTLE_SECONDS
    while (count := await asyncio.to_thread(route_count, world.namespace)) < wanted:
        if time.monotonic() > end:
            raise BenchError(f"{count} of {wanted} routes; the agent says:\n{log_tail()}")
        await asyncio.sleep(0.2)


async def add_one(client: Client, monitor: RouteMonitor, number: int) -> float:
    """Milliseconds from the request to the later of the node's two routes."""
    prefixes = pod_prefixes(number)
    began = time.monotonic()
    await client.create(NODES, node_object(number))
    while None in (times := [monitor.when(prefix) for prefix in prefixes]):
        if not await monitor.wait_for_change(_ROUTE_SECONDS):
            raise BenchError(f"no route to {prefixes}; the agent says:\n{log_tail()}")
    return (max(when for when in times if when is not None) - began) * 1000


def measure(say: Say) -> Iterator[Result]:
    with solo() as world:
        say(f"  creating {PRESENT} nodes")
        world.run(lambda client: create_nodes(client, range(PRESENT)))
        world.start_agent()

        async def add_some(client: Client) -> list[float]:
            await wait_for_routes(world, 2 * (PRESENT - 1))
            monitor = RouteMonitor()
            monitor.start()
            try:
                return [
                    await add_one(client, monitor, number)
                    for number in range(PRESENT, PRESENT + ADDED)
                ]
            finally:
                monitor.close()

        say(f"  adding {ADDED}, one after the other")
        times = world.run(add_some)
    yield Result(
        TARGET,
        percentile(times, 0.99),
        {"median": median(times), "max": max(times), "added": ADDED},
    )


BENCHMARK = Benchmark((TARGET,), measure)
