"""New connections and an established stream, under 1,000 policies on both pods and under none.

    client ── veth ── node ── veth ── server      each a namespace; the node's tables are compiled

Both nodes stand side by side and are measured in turn; only ratios say something.
"""

import contextlib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from statistics import median
from typing import Any

from bench.connections import NODE, SECONDS, TURNS, rate, wire_up
from bench.lab import Place
from bench.model import Benchmark, Result, Say, Target
from bench.policies import Guarded, labelled
from bench.traffic import PEER, server, throughput
from steppe.compile.policy_tables import PolicyObjects
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.nftables.driver import Nft
from steppe.kube.objects import Pod
from steppe.kube.policies import AnyTraffic, Block, Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.selectors import EVERYTHING
from steppe.net.ports import PortRange
from steppe_lab import netns

POLICIES, STREAMS = 1_000, 5
NEW = Target(f"new connections/s, {POLICIES} policies on both pods ÷ none", 0.95)
STREAM = Target(f"throughput of a stream, {POLICIES} policies on both pods ÷ none", 0.98)
_PORT = 8080
_CLIENT = ("10.244.1.2", "fd00:244:1::2")
_SERVER = ("10.244.1.6", "fd00:244:1::6")


def policy(number: int) -> NetworkPolicy:
    """Each isolates both pods both ways and lets the client in."""
    peers = (Pods(EVERYTHING, labelled(app="peer"), "x"),)
    rule = Rule("spec.rule", peers, (PortRange("TCP", 1, 9000),))
    return NetworkPolicy(
        "x",
        f"p{number}",
        EVERYTHING,
        frozenset(("ingress", "egress")),
        (rule,),
        (rule, _NEIGHBOURS),
    )


# Here, unlike on a node of Steppe's, pods have to ask for their router's link address.
_NEIGHBOURS = Rule(
    "spec.neighbours",
    tuple(Block(ip_network(prefix)) for prefix in ("ff02::/16", "fe80::/10", "fd00:244:1::/64")),
    (AnyTraffic(),),
)


@contextlib.contextmanager
def node(name: str, count: int) -> Iterator[tuple[Place, Place]]:
    """A node with so many policies; the client's place, and the server's."""
    names = tuple(f"st-bench-{name}{part}" for part in ("", "-client", "-server"))
    for each in names:
        netns.delete(each)
    netns.create(names)
    try:
        wire_up(*names)
        pods = tuple(
            Pod(
                "x",
                which,
                node=NODE.name,
                addresses=tuple(map(ip_address, addresses)),
                labels={"app": "peer"},
            )
            for which, addresses in (("client", _CLIENT), ("server", _SERVER))
        )
        with netns.inside(names[0], lambda: Nft(SKELETON)) as nft:
            nft.ensure()
            world = Guarded(nft, NODE, pods)
            policies = tuple(policy(number) for number in range(count))
            world.take(world.tables.learn(PolicyObjects(pods, (Namespace("x"),), policies)))
        yield Place(names[1], _CLIENT), Place(names[2], _SERVER)
    finally:
        for each in names:
            netns.delete(each)


def connections(free: Place, guarded: Place, family: int) -> dict[str, Any]:
    found = [tuple(rate(p, _SERVER[family], _PORT) for p in (free, guarded)) for _ in range(TURNS)]
    return {
        "none": median(turn[0] for turn in found),
        "policies": median(turn[1] for turn in found),
        "ratio": median(turn[1] / turn[0] for turn in found),
    }


def streams(free: tuple[Place, Place], guarded: tuple[Place, Place], version: int) -> float:
    ratios = [throughput(*guarded, version) / throughput(*free, version) for _ in range(STREAMS)]
    return median(ratios)


def measure(say: Say) -> Iterator[Result]:
    with node("free", 0) as free, node("guarded", POLICIES) as guarded:
        listen = (*PEER, "accept", str(_PORT))
        with server(free[1], *listen), server(guarded[1], *listen):
            say(f"  {TURNS} turns of {SECONDS} s each way and family")
            found = {
                f"IPv{(4, 6)[which]}": connections(free[0], guarded[0], which) for which in (0, 1)
            }
        yield Result(NEW, min(family["ratio"] for family in found.values()), found)
        say(f"  {STREAMS} streams each way and family")
        ratios = {f"IPv{version}": streams(free, guarded, version) for version in (4, 6)}
        yield Result(STREAM, min(ratios.values()), ratios)


BENCHMARK = Benchmark((NEW, STREAM), measure)
