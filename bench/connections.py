"""New TCP connections a second through a Service, on a node of many Services and on one of few.

    client ── veth ── node ── veth ── server      each a namespace; the node's tables are compiled

Both nodes stand side by side and are measured in turn, and so is the way straight to the pod.
Both ends share this machine's processors, so only ratios say something.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from statistics import median
from typing import Any

from bench.lab import Place
from bench.model import Benchmark, Result, Say, Target
from bench.services import Programmed
from bench.traffic import PEER, client, server
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.nftables.driver import Nft
from steppe.kube import service_wire as wire
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import SERVICE_NAME_LABEL
from steppe.kube.wire import ObjectMeta
from steppe_lab import netns

FEW, MANY, ENDPOINTS = 10, 10_000, 10
PRESENT = Target(f"new connections/s through a Service, {MANY} Services ÷ {FEW}", 0.95)
DIRECT = Target(f"new connections/s, through one of {MANY} Services ÷ direct to the pod", 0.85)

TURNS, SECONDS = 25, 0.4
"""Short, and many: what else the machine does then meets all three ways alike."""
_PORT, _TARGET_PORT = 80, 8080
_SERVER = ("10.244.1.6", "fd00:244:1::6")
_CLIENT = ("10.244.1.2", "fd00:244:1::2")
_CLUSTER_IPS = (int(IPv4Address("10.96.0.1")), int(IPv6Address("fd00:96::1")))
_ELSEWHERE = (int(IPv4Address("10.128.0.0")), int(IPv6Address("fd00:128::")))
NODE = Node(
    "node-a",
    "",
    pod_cidrs("node-a", (ip_network("10.244.1.0/24"), ip_network("fd00:244:1::/64"))),
    (ip_address("192.0.2.11"), ip_address("2001:db8::11")),
)


def cluster_ips(number: int) -> tuple[str, str]:
    first4, first6 = _CLUSTER_IPS
    return str(IPv4Address(first4 + number)), str(IPv6Address(first6 + number))


def service(number: int) -> wire.Service:
    addresses = cluster_ips(number)
    meta = ObjectMeta(name=f"s{number}", namespace="bench")
    ports = (wire.ServicePort("http", "TCP", _PORT),)
    return wire.Service(
        meta, wire.ServiceSpec(cluster_ip=addresses[0], cluster_ips=addresses, ports=ports)
    )


def slices(number: int) -> Iterator[wire.EndpointSlice]:
    """Those of both families; the first Service's one endpoint is the server."""
    for which, kind in enumerate((IPv4Address, IPv6Address)):
        first = _ELSEWHERE[which] + number * ENDPOINTS
        addresses = [str(kind(first + index)) for index in range(ENDPOINTS)]
        endpoints = tuple(
            wire.Endpoint((address,), wire.Conditions(ready=True, serving=True), "node-a")
            for address in (addresses if number else [_SERVER[which]])
        )
        labels = {SERVICE_NAME_LABEL: f"s{number}"}
        meta = ObjectMeta(name=f"s{number}-{which}", namespace="bench", labels=labels)
        ports = (wire.EndpointPort("http", "TCP", _TARGET_PORT),)
        yield wire.EndpointSlice(meta, kind.__name__.removesuffix("Address"), endpoints, ports)


@contextlib.contextmanager
def node(name: str, services: int) -> Iterator[tuple[Place, Place]]:
    """A node with so many Services; the client's place, and the server's."""
    names = tuple(f"st-bench-{name}{part}" for part in ("", "-client", "-server"))
    for each in names:
        netns.delete(each)
    netns.create(names)
    try:
        wire_up(*names)
        with netns.inside(names[0], lambda: Nft(SKELETON)) as nft:
            nft.ensure()
            numbers = range(services)
            ends = [each for number in numbers for each in slices(number)]
            Programmed(nft, NODE).take([service(number) for number in numbers], ends)
        yield Place(names[1], _CLIENT), Place(names[2], _SERVER)
    finally:
        for each in names:
            netns.delete(each)


def wire_up(node: str, *pods: str) -> None:
    """A link to each pod, whose router is the address before its own."""
    for pod, addresses in zip(pods, (_CLIENT, _SERVER), strict=True):
        link = pod.rpartition("-")[2]
        ip(node, f"link add {link} type veth peer name eth0 netns {pod}", f"link set {link} up")
        ip(pod, "link set lo up", "link set eth0 up")
        for address, bits in zip(addresses, (30, 126), strict=True):
            router = ip_address(address) - 1
            nodad = "nodad" if router.version == 6 else ""
            ip(node, f"address add {router}/{bits} dev {link} {nodad}")
            ip(pod, f"address add {address}/{bits} dev eth0 {nodad}")
            ip(pod, f"-{router.version} route add default via {router}")
    for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
        subprocess.run(("ip", "netns", "exec", node, "sysctl", "-qw", setting), check=True)


def ip(namespace: str, *commands: str) -> None:
    for command in commands:
        subprocess.run(("ip", "-n", namespace, *command.split()), check=True)


def rate(place: Place, address: str, port: int) -> float:
    return float(client(place, *PEER, "connect", address, str(port), str(SECONDS)))


def turns(few: Place, many: Place, family: int) -> dict[str, Any]:
    """Medians of what was measured in turn, and of the ratios within each turn."""
    served, direct = (cluster_ips(0)[family], _PORT), (_SERVER[family], _TARGET_PORT)
    found = [(rate(few, *served), rate(many, *served), rate(many, *direct)) for _ in range(TURNS)]
    return {
        "few": median(turn[0] for turn in found),
        "many": median(turn[1] for turn in found),
        "direct": median(turn[2] for turn in found),
        "many ÷ few": median(turn[1] / turn[0] for turn in found),
        "many ÷ direct": median(turn[1] / turn[2] for turn in found),
    }


def measure(say: Say) -> Iterator[Result]:
    say(f"  nodes with {FEW} and {MANY} Services")
    with node("few", FEW) as few, node("many", MANY) as many:
        listen = (*PEER, "accept", str(_TARGET_PORT))
        with server(few[1], *listen), server(many[1], *listen):
            say(f"  {TURNS} turns of {SECONDS} s each way and family")
            found = {f"IPv{(4, 6)[which]}": turns(few[0], many[0], which) for which in (0, 1)}
    yield Result(PRESENT, min(family["many ÷ few"] for family in found.values()), found)
    yield Result(DIRECT, min(family["many ÷ direct"] for family in found.values()), found)


BENCHMARK = Benchmark((PRESENT, DIRECT), measure)
