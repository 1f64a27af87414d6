"""BIRDs in namespaces: sessions, routes, and what becomes of packets when one is killed."""

import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import msgspec
import pytest

from steppe.bgp.objects import BgpSettings, Peer
from steppe.bgp.render import render
from steppe.bgp.tables import BgpTables
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import IPAddress
from tests.bgp.network import BIRDS, Link, Pings, linked
from tests.bgp.worlds import needs_bird
from tests.waiting import until

pytestmark = [pytest.mark.kernel, needs_bird]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Link]:
    with linked(2, tmp_path) as link:
        yield link


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Link]:
    with linked(3, tmp_path) as link:
        yield link


class Watch:
    """The route events of a namespace: what a daemon adds or deletes in the main table."""

    def __init__(self, path: str, fd: int, whose: str = "proto bird") -> None:
        self._whose = whose
        argv = ("nsenter", f"--net={path}", "ip", "-o", "monitor", "route")
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, pass_fds=(fd,))

    def events(self) -> list[str]:
        self._process.terminate()
        text = self._process.communicate(timeout=10)[0]
        return [each for each in text.splitlines() if self._whose in each]


def test_nodes_learn_each_others_prefixes_of_both_families_by_one_session(pair: Link) -> None:
    pair.begin()
    pair.until_full()
    settled(pair)
    here, other = pair.nodes
    (route,) = here.routes()["10.244.2.0/24"]
    assert (route["gateway"], route["metric"], route["prefsrc"]) == (
        "192.0.2.12",
        int(BIRDS),
        "192.0.2.11",
    )
    (route,) = other.routes(6)["fd00:10:244:1::/64"]
    assert route["gateway"] == "2001:db8::b"
    until(lambda: not here.speaker.missing, 5, "no session is missing")
    assert here.speaker.problems == ()


def test_bird_that_is_killed_five_times_costs_no_packet_and_its_neighbours_no_route(
    three: Link,
) -> None:
    three.floors()
    three.begin()
    three.until_full()
    victim, *others = three.nodes
    settled(three)
    watches = [Watch(each.net.path, each.net.fd) for each in others]
    pings = [Pings(a, b) for a in three.nodes for b in three.nodes if a is not b]
    for _ in range(5):
        pid = victim.bird.pid()
        assert pid is not None
        os.kill(pid, 9)
        until(lambda old=pid: victim.bird.pid() not in (None, old), 10, "BIRD runs again")
        time.sleep(3)  # the pause that is asked for, not a wait
    three.until_full()
    sent, lost = tuple(map(sum, zip(*(each.lost() for each in pings), strict=True)))
    assert lost == 0, f"{lost} of {sent}"
    assert sent > 5000
    assert [event for watch in watches for event in watch.events()] == []
    assert victim.speaker.starts == 6


def settled(link: Link) -> None:
    """Until every session is up and BIRD has told its neighbours that it has nothing more."""

    def up() -> bool:
        return all(len(each.established()) == len(link.nodes) - 1 for each in link.nodes)

    until(up, 20, "all sessions are up")


def test_an_agent_that_ends_leaves_bird_running_and_the_next_takes_it_over(pair: Link) -> None:
    pair.begin()
    pair.until_full()
    here = pair.nodes[0]
    pid = here.bird.pid()
    here.end()
    here.begin()
    until(lambda: here.speaker.seen, 10, "the next agent has looked")
    assert (here.bird.pid(), here.speaker.starts) == (pid, 0)


def test_without_the_api_bird_that_ends_comes_back_with_what_it_had(pair: Link) -> None:
    pair.begin()
    pair.until_full()
    settled(pair)
    here = pair.nodes[0]
    here.end()
    here.bird.kill()
    here.view.away = True
    here.begin()
    until(lambda: here.bird.pid() is not None and here.speaker.starts, 10, "BIRD runs again")
    until(lambda: "10.244.2.0/24" in here.routes(), 20, "with its routes")
    assert here.failed is None


async def test_a_change_whose_agent_was_killed_before_it_confirmed_is_made_again(
    pair: Link,
) -> None:
    pair.begin()
    pair.until_full()
    settled(pair)
    here = pair.nodes[0]
    here.end()
    wanted = here.bird.loaded
    assert wanted is not None
    half = wanted.replace("hold time 90", "hold time 60")
    await here.bird.load(half, soft=False)
    assert here.bird.is_unconfirmed
    here.begin()
    until(lambda: here.speaker.seen and not here.bird.is_unconfirmed, 10, "it was settled")
    until(lambda: here.bird.loaded == wanted, 10, "and is what the API asks for")
    settled(pair)


async def test_bird_that_is_no_longer_wanted_takes_its_routes_along(pair: Link) -> None:
    pair.begin()
    pair.until_full()
    settled(pair)
    here, other = pair.nodes
    here.end()
    await here.bird.retire(render(BgpTables(), {}))
    until(lambda: here.bird.pid() is None, 10, "BIRD has ended")
    assert (here.routes(4), here.routes(6), here.bird.loaded) == ({}, {}, None)
    until(lambda: not other.routes(), 10, "its neighbour has no route to it")


def test_a_route_of_birds_that_somebody_deletes_is_back_within_two_seconds(pair: Link) -> None:
    pair.begin()
    pair.until_full()
    here = pair.nodes[0]
    here.net.run("ip", "route", "del", "10.244.2.0/24", "metric", BIRDS)
    until(lambda: "10.244.2.0/24" in here.routes(), 2, "the route is there again")


def test_a_new_prefix_is_in_the_neighbours_kernel_and_no_session_restarts(pair: Link) -> None:
    pair.begin()
    pair.until_full()
    settled(pair)
    here, other = pair.nodes
    since = other.speaker.seen["node:node-a"].since
    more = pod_cidrs("node-a", map(ip_network, ("10.244.1.0/24", "10.244.99.0/24")))
    grown = msgspec.structs.replace(here.node, prefixes=more)
    other.change(nodes=(grown, other.node))
    until(lambda: "10.244.99.0/24" in (other.bird.loaded or ""), 10, "it may come from there")
    here.change(here=grown, nodes=(grown, other.node))
    until(lambda: "10.244.99.0/24" in other.routes(), 10, "the new prefix is in the kernel")
    until(lambda: here.bird.config.with_suffix(".conf.old").exists() is False, 10, "confirmed")
    assert other.established() == {"node:node-a"}
    assert other.speaker.seen["node:node-a"].since == since
    here.change(here=here.node, nodes=(here.node, other.node))
    until(lambda: "10.244.99.0/24" not in other.routes(), 10, "it is gone again")


def router(address: IPAddress) -> Peer:
    return Peer("tor", address=address, asn=65001)


def test_a_change_that_costs_a_session_is_undone_and_told(pair: Link) -> None:
    pair.begin()
    pair.until_full()
    settled(pair)
    here = pair.nodes[0]
    before = here.bird.loaded
    here.change(secrets={"mesh": "s3cret"}, settings=BgpSettings(password_key="mesh"))
    until(lambda: here.speaker.problems, 40, "a problem is told")
    assert any("was undone" in problem.message for problem in here.speaker.problems)
    until(lambda: here.bird.loaded == before, 5, "the old configuration is in its file")
    until(lambda: here.established() == {"node:node-b"}, 20, "the session is up again")


def test_both_sides_with_one_password_have_their_session(pair: Link) -> None:
    for each in pair.nodes:
        each.view.secrets = {"mesh": "s3cret"}
        each.view.settings = BgpSettings(password_key="mesh")
    pair.begin()
    pair.until_full()
    assert {oct(each.bird.config.stat().st_mode & 0o777) for each in pair.nodes} == {"0o600"}


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [("s3cret-a", "s3cret-b", "the passwords differ"), ("s3cret-a", "", "without a password"),
     ("", "s3cret-b", "the other side has a password")],
)  # fmt: skip
def test_a_password_that_does_not_fit_is_named_as_the_cause(
    pair: Link, ours: str, theirs: str, told: str
) -> None:
    for each, text in zip(pair.nodes, (ours, theirs), strict=True):
        each.view.secrets = {"mesh": text} if text else {}
        each.view.settings = BgpSettings(password_key="mesh" if text else "")
    pair.begin()
    here = pair.nodes[0]

    def said() -> str:
        return " ".join(here.speaker.missing.values())

    until(lambda: told in said(), 25, f"{told}: {said()}")
    assert not any(text in said() for text in (ours, theirs) if text)


def test_a_wrong_as_number_is_named_as_the_cause(pair: Link) -> None:
    pair.nodes[1].view.settings = BgpSettings(asn=64999)
    pair.begin()
    here = pair.nodes[0]

    def said() -> str:
        return " ".join(here.speaker.missing.values())

    until(lambda: "AS number" in said(), 25, "the AS number is named")


def test_a_router_that_is_not_there_is_told_after_a_while_with_its_object(pair: Link) -> None:
    here = pair.nodes[0]
    here.view.routers = (router(ip_address("192.0.2.254")),)
    here.begin()
    until(lambda: here.speaker.problems, 30, "the missing session is told")
    found = {str(problem.cause): problem.message for problem in here.speaker.problems}
    assert "nobody answers at 192.0.2.254" in found["BGPPeer/tor spec.address"]
