"""Sockets on loopback: datagrams, streams, and questions that go on to a server upstream."""

import asyncio
import contextlib
import socket
from ipaddress import ip_address

import dns.asyncquery
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from steppe_lab.dns.address import SocketAddress, parse_socket_address
from steppe_lab.dns.names import Zone
from steppe_lab.dns.server import Responder, serve, sockets
from steppe_lab.dns.upstream import Upstream
from tests.lab.dns.cluster import (
    ZONE,
    cluster_ip,
    endpoint,
    endpoints,
    headless,
    records,
    service,
)

LOOPBACK = ip_address("127.0.0.1")
UNUSED = SocketAddress(LOOPBACK, 1)
NAME = "web.default.svc.cluster.local."
WORLD = records(
    cluster_ip("web", "10.3.0.1", "2001:db8::1"),
    headless("many"),
    endpoints("many", *(endpoint(f"10.3.1.{number}") for number in range(200))),
    service("out", type="ExternalName", external_name="www.example.com"),
)


@contextlib.asynccontextmanager
async def running(responder: Responder, address=LOOPBACK):
    """A server; its port."""
    (bound,) = sockets((address,), 0)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(responder, [bound]))
        try:
            yield bound.datagrams.getsockname()[1]
        finally:
            serving.cancel()


def query(name: str = NAME, type_: str = "A") -> dns.message.Message:
    return dns.message.make_query(name, type_, use_edns=0)


def test_a_port_that_tcp_cannot_have_is_an_error_and_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            sockets((LOOPBACK,), port)
        with socket.socket(type=socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))


async def test_a_datagram_is_answered() -> None:
    async with running(Responder(ZONE, WORLD)) as port:
        reply = await dns.asyncquery.udp(query(), "127.0.0.1", port=port, timeout=5)
    assert reply.answer[0].to_text() == f"{NAME} 5 IN A 10.3.0.1"


async def test_what_was_cut_in_a_datagram_comes_whole_by_tcp() -> None:
    async with running(Responder(ZONE, WORLD)) as port:
        reply, by_tcp = await dns.asyncquery.udp_with_fallback(
            query("many.default.svc.cluster.local."), "127.0.0.1", port=port, timeout=5
        )
    assert by_tcp
    assert len(reply.answer[0]) == 200


async def test_one_connection_carries_many_queries_in_any_pieces() -> None:
    async with running(Responder(ZONE, WORLD)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = [query(NAME, type_) for type_ in ("A", "AAAA")]
        wire = b"".join(each.to_wire(prepend_length=True) for each in asked)
        for part in (wire[:1], wire[1:20], wire[20:]):
            writer.write(part)
            await writer.drain()
        for each in asked:
            length = int.from_bytes(await reader.readexactly(2), "big")
            reply = dns.message.from_wire(await reader.readexactly(length))
            assert each.is_response(reply)
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_hangs_up_half_way_harms_nobody() -> None:
    async with running(Responder(ZONE, WORLD)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00")
        writer.transport.abort()
        reply = await dns.asyncquery.tcp(query(), "127.0.0.1", port=port, timeout=5)
    assert reply.rcode() == dns.rcode.NOERROR


@contextlib.asynccontextmanager
async def with_upstream():
    """A server whose upstream knows example.com, and nothing else."""
    elsewhere = Zone(dns.name.from_text("example.com"))
    other = service("x", type="ExternalName", external_name="ns.dns.example.com")
    known = Responder(Zone(elsewhere.domain, servers=(ip_address("192.0.2.53"),)), records(other))
    async with running(known) as there:
        upstream = Upstream((UNUSED, SocketAddress(LOOPBACK, there)), seconds=0.3)
        async with running(Responder(ZONE, WORLD, upstream)) as port:
            yield port


@pytest.mark.parametrize("ask", [dns.asyncquery.udp, dns.asyncquery.tcp])
async def test_names_of_others_are_asked_upstream_if_there_is_one(ask) -> None:
    async with with_upstream() as port:
        reply = await ask(query("ns.dns.example.com."), "127.0.0.1", port=port, timeout=10)
        assert reply.answer[0].to_text() == "ns.dns.example.com. 5 IN A 192.0.2.53"
        assert reply.flags & dns.flags.RA
        assert not reply.flags & dns.flags.AA
        reply = await ask(query(), "127.0.0.1", port=port, timeout=10)
        assert reply.flags & dns.flags.AA


async def test_an_external_name_is_followed_upstream() -> None:
    async with with_upstream() as port:
        asked = query("out.default.svc.cluster.local.")
        reply = await dns.asyncquery.udp(asked, "127.0.0.1", port=port, timeout=10)
    assert reply.answer[0].to_text() == f"{asked.question[0].name} 5 IN CNAME www.example.com."
    assert reply.rcode() == dns.rcode.NXDOMAIN  # as upstream said of www.example.com


async def test_an_upstream_that_is_away_is_a_server_failure() -> None:
    upstream = Upstream((UNUSED,), seconds=0.3)
    async with running(Responder(ZONE, WORLD, upstream)) as port:
        reply = await dns.asyncquery.udp(query("www.example.com."), "127.0.0.1", 10, port)
        assert reply.rcode() == dns.rcode.SERVFAIL
        reply = await dns.asyncquery.udp(query(), "127.0.0.1", port=port, timeout=5)
        assert reply.rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
    ],
)
def test_addresses_with_ports(text, address, port) -> None:
    assert parse_socket_address(text) == SocketAddress(ip_address(address), port)


@pytest.mark.parametrize(
    "text", ["", "x", "192.0.2.1:x", "192.0.2.1:65536", "[::1", "[::1]53", "fe80::1%lo"]
)
def test_what_is_no_address_with_a_port(text) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_socket_address(text)
