"""What is told of other programs' changes of our table, and what is kept quiet about."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.nftables.watch import RulesetWatch
from steppe.net.address import parse_prefix
from steppe.plan.diff import Change
from steppe.state.nft import Element, ElementKey
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

KEYS = [ElementKey("cluster4", (parse_prefix(f"10.244.{n}.0/24"),)) for n in range(100)]


@pytest.fixture
def nft(node: Namespace) -> Iterator[Nft]:
    with call_in(node.fd, lambda: Nft(SKELETON)) as nft:
        yield nft


@pytest.fixture
def watch(node: Namespace, nft: Nft) -> Iterator[RulesetWatch]:
    nft.ensure()
    with call_in(node.fd, nft.watch) as watch:
        yield watch


@pytest.mark.parametrize(
    "command",
    [
        "delete table inet steppe",
        "flush ruleset",
        "add element inet steppe cluster4 { 192.0.2.0/24 }",
        "add rule inet steppe forward accept",
        "add chain inet steppe by-hand",
    ],
)
def test_what_others_do_to_the_table_is_reported_once(
    node: Namespace, watch: RulesetWatch, command: str
) -> None:
    node.run("nft", command)
    assert [event.reason for event in watch.drain()] == [
        "another program has changed table inet steppe"
    ]
    assert watch.drain() == ()


def test_other_tables_cause_no_events(node: Namespace, watch: RulesetWatch) -> None:
    node.run("nft", "add table ip steppe; add chain ip steppe forward; delete table ip steppe")
    node.run("nft", "add table inet other; add set inet other cluster4 { type ipv4_addr; }")
    node.run("nft", "add element inet other cluster4 { 192.0.2.1 }")
    assert watch.drain() == ()


_WATCH_ITSELF = """
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.nftables.driver import Nft
with Nft(SKELETON) as nft, nft.watch() as watch:
    assert nft.ensure()
    print(watch.drain())
"""


def test_in_a_pid_namespace_of_its_own_it_knows_its_own_changes() -> None:
    # As in a container: the kernel reports thread ids as the first PID namespace numbers them.
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            sys.executable,
            "-c",
            _WATCH_ITSELF,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("()\n", "")


def test_our_own_changes_come_back_as_no_event(
    node: Namespace, nft: Nft, watch: RulesetWatch
) -> None:
    assert nft.apply([Change(key, None, Element()) for key in KEYS]) == ()
    assert nft.apply([Change(key, Element(), None) for key in KEYS]) == ()
    assert watch.drain() == ()
    node.run("nft", "delete table inet steppe")
    assert len(watch.drain()) == 1
    # Made by libnftables, whose socket is its own.
    assert nft.ensure()
    assert watch.drain() == ()
