"""`python -m steppe_lab.dns`: cluster DNS for a lab, on every node's own addresses.

The process stays in the machine's own namespace. Its sockets are made inside the nodes' namespaces,
so a query is answered on the node that it reached; only questions for upstream leave the machine.
"""

import asyncio
import contextlib
import functools
import signal
from pathlib import Path

import click
import dns.exception
import dns.name

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.errors import SteppeError
from steppe.log import set_up
from steppe.net.address import IPAddress, parse_address
from steppe_lab import netns
from steppe_lab.dns.address import PORT, SocketAddress, parse_socket_address
from steppe_lab.dns.names import Zone
from steppe_lab.dns.records import Records
from steppe_lab.dns.server import Responder, Sockets, serve, sockets
from steppe_lab.dns.upstream import Upstream
from steppe_lab.kubelet.config import load_lab


def _socket_addresses(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[SocketAddress, ...]:
    try:
        return tuple(map(parse_socket_address, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _domain(_context: click.Context, _option: click.Parameter, text: str) -> dns.name.Name:
    try:
        return dns.name.from_text(text)
    except dns.exception.DNSException as error:
        raise click.BadParameter(f"{text!r} is no domain name: {error}") from error


@click.command()
@click.option("--kubeconfig", required=True, help="Credentials for the API server.")
@click.option("--cluster-domain", callback=_domain, default="cluster.local", show_default=True)
@click.option(
    "--lab-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A lab's state folder: listen on each of its nodes, in the node's namespace.",
)
@click.option(
    "--listen",
    metavar="ADDRESS[:PORT]",
    multiple=True,
    callback=_socket_addresses,
    help="Listen here as well, in this namespace.",
)
@click.option(
    "--upstream",
    metavar="ADDRESS[:PORT]",
    multiple=True,
    callback=_socket_addresses,
    help="Ask this server for names outside the cluster, which are refused otherwise.",
)
def main(
    kubeconfig: str,
    cluster_domain: dns.name.Name,
    lab_dir: Path | None,
    listen: tuple[SocketAddress, ...],
    upstream: tuple[SocketAddress, ...],
) -> None:
    """Serve the names of a cluster's Services and pods."""
    set_up()
    try:
        listening = _on_nodes(lab_dir) if lab_dir else []
        for each in listen:
            listening += sockets((each.address,), each.port)
        zone = Zone(cluster_domain, tuple(map(_address_of, listening)))
        asyncio.run(_run(kubeconfig, zone, Upstream(upstream) if upstream else None, listening))
    except (OSError, SteppeError) as error:
        raise click.ClickException(str(error)) from error


def _on_nodes(lab_dir: Path) -> list[Sockets]:
    """Sockets on each node's own addresses."""
    return [
        each
        for node in load_lab(lab_dir).nodes
        for each in netns.inside(
            node.netns,
            functools.partial(sockets, tuple(map(parse_address, node.addresses)), PORT),
        )
    ]


def _address_of(bound: Sockets) -> IPAddress:
    return parse_address(bound.datagrams.getsockname()[0])


async def _run(
    kubeconfig: str, zone: Zone, upstream: Upstream | None, listening: list[Sockets]
) -> None:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    records = Records()
    with contextlib.suppress(asyncio.CancelledError):
        async with (
            Client(load_config(kubeconfig), user_agent="steppe-lab-dns") as client,
            asyncio.TaskGroup() as group,
        ):
            records.watch(client, group)
            await serve(Responder(zone, records, upstream), listening)


if __name__ == "__main__":
    main()
