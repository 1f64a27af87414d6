"""`python -m steppe.controller`: flags, leader election, and the tasks around it."""

import asyncio
import contextlib
import ipaddress
import logging
import signal

import click
import msgspec

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.events import EventRecorder
from steppe.client.informer import WatchStatus
from steppe.client.leader import Elector, LostLeadershipError
from steppe.client.resources import NODES
from steppe.client.store import Store, keep
from steppe.controller.health import Metrics, serve
from steppe.controller.podcidrs import NodeObject, PodCIDRController
from steppe.controller.prefixes import Range
from steppe.errors import SteppeError
from steppe.log import set_up

log = logging.getLogger(__name__)
LEASE = "steppe-controller"


class Options(msgspec.Struct, frozen=True):
    kubeconfig: str | None
    ranges: tuple[Range, ...]
    leader_election: bool
    health_listen: str | None


async def run(options: Options) -> None:
    """Wait for leadership, then give out prefixes; runs until cancelled."""
    async with Client(load_config(options.kubeconfig), "steppe-controller") as client:
        elector = Elector(client, LEASE)
        status = WatchStatus()
        metrics = Metrics()

        def leading() -> bool:
            return elector.leading or not options.leader_election

        async def work() -> None:
            await _lead(client, status, options.ranges, metrics)

        async with contextlib.AsyncExitStack() as stack:
            if options.health_listen:
                served = serve(options.health_listen, metrics, status, leading)
                address = await stack.enter_async_context(served)
                log.info("serving=health,metrics address=%s", address)
            if not options.leader_election:
                await work()
            while True:
                try:
                    await elector.run(work)
                except LostLeadershipError as lost:
                    log.warning('leading=no cause="%s"', lost)


async def _lead(
    client: Client, status: WatchStatus, ranges: tuple[Range, ...], metrics: Metrics
) -> None:
    # On becoming leader, read all nodes again: the prefixes of a former leader must be among them.
    nodes: Store[NodeObject] = Store(status)
    events = EventRecorder(client, "steppe-controller")
    controller = PodCIDRController(client, nodes, ranges, events, metrics)
    complete = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(events.run())
        group.create_task(keep(nodes, client, NODES, NodeObject, complete.set))
        await complete.wait()
        group.create_task(controller.run())


def ranges_from(family: str, cidr4: str, mask4: int, cidr6: str, mask6: int) -> tuple[Range, ...]:
    """The ranges that the flags ask for, IPv4 first, since podIP is then what old tools expect."""
    asked = {"dual": (4, 6), "ipv4": (4,), "ipv6": (6,)}[family]
    found = []
    for version, text, length in ((4, cidr4, mask4), (6, cidr6, mask6)):
        if version not in asked or not text:
            continue
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise click.BadParameter(f"--pod-cidr{version}: {error}") from error
        if network.version != version:
            raise click.BadParameter(f"--pod-cidr{version}: {text} is IPv{network.version}")
        if not network.prefixlen <= length <= network.max_prefixlen:
            raise click.BadParameter(f"--node-mask{version}: no /{length} fits into {network}")
        found.append(Range(network, length))
    return tuple(found)


async def _until_signalled(options: Options) -> None:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await run(options)


@click.command()
@click.option("--kubeconfig", help="Credentials; without it, the pod's service account.")
@click.option("--pod-cidr4", default="10.244.0.0/16", show_default=True, help="Empty: no IPv4.")
@click.option("--pod-cidr6", default="fd00:10:244::/56", show_default=True, help="Empty: no IPv6.")
@click.option("--node-mask4", default=24, show_default=True)
@click.option("--node-mask6", default=64, show_default=True)
@click.option("--family", type=click.Choice(["dual", "ipv4", "ipv6"]), default="dual")
@click.option("--leader-election/--no-leader-election", default=True, show_default=True)
@click.option("--health-listen", metavar="ADDRESS:PORT", help="Serve /healthz and /metrics.")
def main(
    *,
    kubeconfig: str | None,
    pod_cidr4: str,
    pod_cidr6: str,
    node_mask4: int,
    node_mask6: int,
    family: str,
    leader_election: bool,
    health_listen: str | None,
) -> None:
    """Give pod prefixes to nodes that have none."""
    set_up()
    ranges = ranges_from(family, pod_cidr4, node_mask4, pod_cidr6, node_mask6)
    options = Options(kubeconfig, ranges, leader_election, health_listen)
    try:
        asyncio.run(_until_signalled(options))
    except SteppeError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
