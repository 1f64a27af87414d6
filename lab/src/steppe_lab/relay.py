"""`python -m steppe_lab.relay`: each node's own 127.0.0.1:6443 leads to the API server.

For an agent this looks like a cluster with an API proxy on every node. The listening sockets are
made inside the nodes' namespaces; the connections behind them are made from the machine's own, so
no link ever joins the two. Bytes are copied and not looked at: TLS runs from end to end.
"""

import asyncio
import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from steppe.client.config import load_config
from steppe.log import set_up
from steppe.serving.limits import Limits
from steppe.serving.listener import Listener, accepting
from steppe.serving.sockets import raise_file_limit
from steppe_lab import netns

PORT = 6443
CHUNK = 64 * 1024
_LIMITS = Limits(connections=4096)

_log = logging.getLogger(__name__)


class _Node(msgspec.Struct, frozen=True):
    netns: str


class _Nodes(msgspec.Struct, frozen=True):
    nodes: tuple[_Node, ...]


def listening_sockets() -> list[socket.socket]:
    """Both loopback addresses of the namespace this thread is in."""
    found = [_listen(socket.AF_INET, "127.0.0.1")]
    if Path("/proc/net/if_inet6").exists():
        found.append(_listen(socket.AF_INET6, "::1"))
    return found


def _listen(family: socket.AddressFamily, address: str) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, PORT))
    listener.listen(128)
    return listener


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the sender is done, then say so to the receiver and leave its answer open."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def relay(
    host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection, both ways; whatever ends one side ends the other."""
    try:
        there_reader, there_writer = await asyncio.open_connection(host, port)
    except OSError as error:
        _log.warning("API server %s:%s: %s", host, port, error)
        writer.transport.abort()
        return
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(copy(reader, there_writer))
            tasks.create_task(copy(there_reader, writer))
    except* OSError:
        pass  # a reset is an end like any other
    finally:
        writer.close()
        there_writer.close()


async def serve(listeners: list[socket.socket], host: str, port: int) -> None:
    """Relay what comes on these until cancelled, within limits: each connection is two files."""
    accepted: list[Listener] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What a client owes is for the API server to judge, which knows what it says.
        with accepted[0].answering(writer.transport):
            await relay(host, port, reader, writer)

    def made() -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(CHUNK), handle)

    async with accepting(_LIMITS, made) as accepting_:
        accepted.append(accepting_)
        for listener in listeners:
            accepting_.open(listener)
        await asyncio.Event().wait()


@click.command(help="Relay each node's loopback port 6443 to the API server.")
@click.option("--nodes", type=click.Path(path_type=Path), required=True, help="nodes.json")
@click.option("--kubeconfig", required=True, help="Names the API server.")
def main(nodes: Path, kubeconfig: str) -> None:
    set_up()
    raise_file_limit()
    server = urlsplit(load_config(kubeconfig).server)
    listeners = [
        listener
        for node in msgspec.json.decode(nodes.read_bytes(), type=_Nodes).nodes
        for listener in netns.inside(node.netns, listening_sockets)
    ]
    port = server.port or (443 if server.scheme == "https" else 80)
    asyncio.run(serve(listeners, server.hostname or "", port))


if __name__ == "__main__":
    main()
