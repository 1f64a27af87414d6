"""A table that another program has deleted comes back whole, and awake only when it is."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.driver import Fault
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.hearing import join
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.netlink.socket import open_socket
from steppe.drivers.nftables import messages as msg
from steppe.drivers.nftables.driver import Nft
from steppe.plan.diff import Change
from steppe.state.nft import Element, ElementKey
from tests.drivers.conftest import Namespace
from tests.drivers.test_nft_services import ROWS

pytestmark = pytest.mark.kernel

NEWTABLE, DELTABLE, FLAGS = nfnl.kind(nfnl.NFTABLES, 0), nfnl.kind(nfnl.NFTABLES, 2), 2


@pytest.fixture
def nft(node: Namespace) -> Iterator[Nft]:
    with call_in(node.fd, lambda: Nft(SKELETON)) as nft:
        assert nft.ensure()
        assert nft.apply([Change(key, None, value) for key, value in ROWS]) == ()
        yield nft


@pytest.fixture
def heard(node: Namespace) -> Iterator[socket.socket]:
    def opened() -> socket.socket:
        return open_socket(None, 4 << 20, socket.SOCK_NONBLOCK, nfnl.NETLINK_NETFILTER)

    with call_in(node.fd, opened) as sock:
        join(sock, [nfnl.NFNLGRP_NFTABLES])
        yield sock


def told(sock: socket.socket) -> list[str]:
    """What the kernel has told of the table and its elements since it was last deleted."""
    words: list[str] = []
    while True:
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            return [word for n, word in enumerate(words) if words[n - 1 : n] != [word]]
        for message in nl.messages(data):
            if message.kind == NEWTABLE:
                flags = int.from_bytes(nfnl.attributes(message)[FLAGS], "big")
                words.append("asleep" if flags & 1 else "awake")
            elif message.kind == DELTABLE:
                words.clear()
            elif message.kind == msg.NEWSETELEM:
                words.append("elements")


@pytest.mark.parametrize("command", ["delete table inet steppe", "flush ruleset"])
def test_it_is_awake_only_with_all_that_is_desired(
    nft: Nft, node: Namespace, heard: socket.socket, command: str
) -> None:
    node.run("nft", command)
    told(heard)
    assert nft.ensure(dict(ROWS)) == (Fault("table inet steppe", "missing"),)
    words = told(heard)
    assert words[0] == "asleep"
    assert words[-1] == "awake"
    assert words.count("awake") == 1
    assert "elements" in words
    assert nft.read() == dict(ROWS)
    assert nft.check() == ()


def test_an_element_that_the_kernel_refuses_keeps_nothing_else_out(
    nft: Nft, node: Namespace
) -> None:
    bad = ElementKey("service4", (ip_address("10.96.0.99"), "tcp", 80))
    node.run("nft", "delete table inet steppe")
    assert nft.ensure({**dict(ROWS), bad: Element(("nowhere",))})
    assert nft.read() == dict(ROWS)
    assert nft.check() == ()


def test_a_table_that_is_there_gets_no_elements(nft: Nft, node: Namespace) -> None:
    more = ElementKey("cluster_ip4", (ip_address("10.96.0.98"),))
    assert nft.ensure({**dict(ROWS), more: Element()}) == ()
    assert nft.read() == dict(ROWS)
    node.run("nft", "flush chain inet steppe refuse")
    assert nft.ensure({**dict(ROWS), more: Element()})
    assert nft.read() == dict(ROWS)
