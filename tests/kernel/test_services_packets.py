"""Services as real packets meet them: pod, node and outside, both families, TCP and UDP."""

import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

import msgspec
import pytest

from steppe.kube import service_wire as wire
from steppe.kube.objects import Workload
from steppe.kube.services import (
    Endpoint,
    EndpointSlice,
    Service,
    ServicePort,
    service_from,
    slice_from,
)
from steppe.net.address import IPAddress
from steppe.net.packet import Packet, Protocol
from steppe.oracle.service import World
from tests.kernel.live_services import difference, program
from tests.kernel.service_lab import ServiceLab
from tests.service_walk import Fate
from tests.worlds import node_at

pytestmark = pytest.mark.kernel

HERE, PEER = node_at(0), node_at(1)
WEB = tuple(map(ip_address, ("10.244.1.5", "fd00:10:244:1::5")))
DB = tuple(map(ip_address, ("10.244.1.6", "fd00:10:244:1::6")))
FAR = tuple(map(ip_address, ("10.244.2.7", "fd00:10:244:2::7")))
CLIENT = tuple(map(ip_address, ("203.0.113.9", "2001:db8:f::9")))
STRANGER = tuple(map(ip_address, ("203.0.113.200", "2001:db8:f:1::9")))
CLUSTER_IPS = tuple(map(ip_address, ("10.96.0.10", "fd00:10:96::a")))
EXTERNAL = tuple(map(ip_address, ("198.18.0.80", "2001:db8:e::80")))
BALANCER = tuple(map(ip_address, ("198.18.0.5", "2001:db8:e::5")))
WORKLOADS = (
    Workload("pod1", "default", "web", HERE.name, WEB),
    Workload("pod0", "default", "db", HERE.name, DB),
)
PORTS = (ServicePort("a", "TCP", 80, 30080), ServicePort("b", "UDP", 80, 30080))
SERVICE = Service("default", "web", "2026-01-01T00:00:00Z", CLUSTER_IPS, PORTS, EXTERNAL, BALANCER)
EVERYONE = (WEB, DB, FAR)
LOCAL = (WEB, DB)
FAMILIES = (0, 1)


@pytest.fixture(scope="module")
def lab() -> Iterator[ServiceLab]:
    outside = (*CLIENT, *STRANGER, *FAR)
    with ServiceLab(HERE.addresses, {"web": WEB, "db": DB}, outside) as made:
        yield made


def world(service: Service, *pods: tuple[IPAddress, ...], **conditions: bool) -> World:
    slices = tuple(
        EndpointSlice(
            "default",
            f"web-{family}",
            "web",
            (("a", "TCP", 8080), ("b", "UDP", 8080)),
            tuple(
                Endpoint(pod[family], "" if pod is FAR else HERE.name, **conditions) for pod in pods
            ),
        )
        for family in FAMILIES
    )
    ranges = (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112"))
    return World(HERE, (service,), slices, service_ranges=ranges)


def to(*pods: tuple[IPAddress, ...], masquerade: bool = False) -> list[Fate]:
    """A choice of pods, in either family."""
    backends = [frozenset((pod[family], 8080) for pod in pods) for family in FAMILIES]
    return [Fate("dnat", each, each if masquerade else frozenset()) for each in backends]


REFUSED = [Fate("reject")] * 2
DROPPED = [Fate("drop")] * 2
LOCAL_POLICY = msgspec.structs.replace(SERVICE, external_local=True, internal_local=True)
GUARDED = msgspec.structs.replace(
    SERVICE,
    restricted=True,
    source_ranges=(
        ip_network("203.0.113.0/25"),
        ip_network("2001:db8:f::/64"),
        *map(ip_network, HERE.addresses),
    ),
)
NODE_PORT = (HERE.addresses, 30080)

# What the API documentation says, the world, who sends, where to, what must happen.
CASES = [
    ("clusterIP: usually assigned randomly; pods keep their address",
     world(SERVICE, *EVERYONE), WEB, (CLUSTER_IPS, 80), to(DB, WEB, FAR)),
    ("clusterIP from the node itself",
     world(SERVICE, DB, FAR), HERE.addresses, (CLUSTER_IPS, 80), to(DB, FAR, masquerade=True)),
    ("clusterIP from outside",
     world(SERVICE, DB, FAR), CLIENT, (CLUSTER_IPS, 80), to(DB, FAR, masquerade=True)),
    ("nodePort: the port on each node on which this service is exposed",
     world(SERVICE, DB, FAR), CLIENT, NODE_PORT, to(DB, FAR, masquerade=True)),
    ("nodePort from a pod", world(SERVICE, DB, FAR), WEB, NODE_PORT, to(DB, FAR, masquerade=True)),
    ("nodePort from the node itself",
     world(SERVICE, DB, FAR), HERE.addresses, NODE_PORT, to(DB, FAR, masquerade=True)),
    ("externalIPs: nodes in the cluster will also accept traffic for this service",
     world(SERVICE, DB, FAR), CLIENT, (EXTERNAL, 80), to(DB, FAR, masquerade=True)),
    ("status.loadBalancer.ingress from outside",
     world(SERVICE, DB, FAR), CLIENT, (BALANCER, 80), to(DB, FAR, masquerade=True)),
    ("externalTrafficPolicy Local: without masquerading the client source IP",
     world(LOCAL_POLICY, *EVERYONE), CLIENT, NODE_PORT, to(*LOCAL)),
    ("externalTrafficPolicy Local, load balancer",
     world(LOCAL_POLICY, *EVERYONE), CLIENT, (BALANCER, 80), to(*LOCAL)),
    ("traffic mistakenly sent to a node with no endpoints will be dropped",
     world(LOCAL_POLICY, FAR), CLIENT, NODE_PORT, DROPPED),
    ("from within the cluster: always Cluster semantics",
     world(LOCAL_POLICY, FAR), WEB, (EXTERNAL, 80), to(FAR)),
    ("from within the cluster, the node itself",
     world(LOCAL_POLICY, DB, FAR), HERE.addresses, (EXTERNAL, 80), to(DB, FAR, masquerade=True)),
    ("internalTrafficPolicy Local: endpoints on the same node",
     world(LOCAL_POLICY, *EVERYONE), DB, (CLUSTER_IPS, 80), to(*LOCAL)),
    ("internalTrafficPolicy Local: dropping the traffic if there are no local endpoints",
     world(LOCAL_POLICY, FAR), WEB, (CLUSTER_IPS, 80), DROPPED),
    ("loadBalancerSourceRanges: restricted to the specified client IPs, in",
     world(GUARDED, DB), CLIENT, (BALANCER, 80), to(DB, masquerade=True)),
    ("loadBalancerSourceRanges, out", world(GUARDED, DB), STRANGER, (BALANCER, 80), DROPPED),
    ("loadBalancerSourceRanges, a pod", world(GUARDED, DB), WEB, (BALANCER, 80), DROPPED),
    ("loadBalancerSourceRanges, the node",
     world(GUARDED, DB), HERE.addresses, (BALANCER, 80), to(DB, masquerade=True)),
    ("loadBalancerSourceRanges leave node ports alone",
     world(GUARDED, DB), STRANGER, NODE_PORT, to(DB, masquerade=True)),
    ("no endpoints, from a pod", world(SERVICE), WEB, (CLUSTER_IPS, 80), REFUSED),
    ("no endpoints, from the node", world(SERVICE), HERE.addresses, (CLUSTER_IPS, 80), REFUSED),
    ("no endpoints, node port from outside", world(SERVICE), CLIENT, NODE_PORT, REFUSED),
    ("no endpoints, load balancer", world(SERVICE), CLIENT, (BALANCER, 80), REFUSED),
    ("only terminating and serving endpoints are used as a last resort",
     world(SERVICE, DB, ready=False, serving=True, terminating=True), WEB, (CLUSTER_IPS, 80),
     to(DB)),
    ("unready endpoints are none",
     world(SERVICE, DB, ready=False, serving=False), WEB, (CLUSTER_IPS, 80), REFUSED),
    ("a port that the Service has not", world(SERVICE, DB), WEB, (CLUSTER_IPS, 81), REFUSED),
    ("a port that the Service has not, from the node",
     world(SERVICE, DB), HERE.addresses, (CLUSTER_IPS, 81), REFUSED),
    ("no Service's address in the range of cluster IPs", world(SERVICE, DB), WEB,
     (tuple(map(ip_address, ("10.96.0.99", "fd00:10:96::63"))), 80), DROPPED),
]  # fmt: skip


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_packets_go_where_the_api_says(lab: ServiceLab, case: tuple, protocol: Protocol) -> None:
    _, there, senders, (targets, port), fates = case
    program(lab, there, WORKLOADS, (PEER,))
    for family in FAMILIES:
        packet = Packet(senders[family], targets[family], protocol, 0, port)
        fate = fates[family]
        hairpin = (senders[family], 8080)
        if hairpin in fate.backends:
            # A pod that reaches itself must see another sender than itself.
            fate = msgspec.structs.replace(fate, masqueraded=fate.masqueraded | {hairpin})
        assert not difference(lab, HERE.addresses, packet, fate), packet


def test_elements_move_and_rules_stand_still(lab: ServiceLab) -> None:
    program(lab, world(SERVICE, *EVERYONE), WORKLOADS, (PEER,))
    before = rules(lab)
    for pods in ((DB,), (), (WEB, FAR), EVERYONE):
        program(lab, world(SERVICE, *pods), WORKLOADS, (PEER,))
    assert rules(lab) >= before, "chains are added, none is changed or made anew"
    assert not lab.nft.ensure()


def rules(lab: ServiceLab) -> set[str]:
    """Every rule with its handle, which a rule keeps for life."""
    listing = lab.node.run("nft", "-a", "-t", "list", "table", "inet", "steppe")
    return {line for line in listing.splitlines() if "# handle" in line}


STICKY = msgspec.structs.replace(SERVICE, affinity_seconds=60)


def backends_met(lab: ServiceLab, packet: Packet, times: int) -> set[object]:
    return {lab.send(packet).backend for _ in range(times)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize(
    ("ends", "policy"),
    [
        ((WEB, (CLUSTER_IPS, 80)), STICKY),
        ((HERE.addresses, (CLUSTER_IPS, 80)), STICKY),
        ((CLIENT, NODE_PORT), STICKY),
        ((CLIENT, NODE_PORT), msgspec.structs.replace(STICKY, external_local=True)),
        ((CLIENT, (BALANCER, 80)), msgspec.structs.replace(STICKY, external_local=True)),
    ],
)
def test_client_ip_affinity_keeps_a_sender_with_its_endpoint_while_that_is_there(
    lab: ServiceLab, ends: tuple, policy: Service, protocol: Protocol, family: int
) -> None:
    """ "ClientIP" … "enable client IP based session affinity" (ServiceSpec.sessionAffinity)."""
    senders, target = ends
    lab.node.run("nft", f"flush map inet steppe affinity{(4, 6)[family]}")
    packet = Packet(senders[family], target[0][family], protocol, 0, target[1])
    pods = [DB, WEB] if policy.external_local else [DB, FAR]
    program(lab, world(policy, *pods), WORKLOADS, (PEER,))
    (first,) = backends_met(lab, packet, 12)
    # A third endpoint changes every choice's number, and nobody's endpoint.
    program(lab, world(policy, *EVERYONE), WORKLOADS, (PEER,))
    assert backends_met(lab, packet, 6) == {first}
    others = [pod for pod in pods if (pod[family], 8080) != first]
    program(lab, world(policy, *others), WORKLOADS, (PEER,))
    (second,) = backends_met(lab, packet, 6)
    assert second == (others[0][family], 8080)
    # What it was moved to is remembered, not what it had before.
    program(lab, world(policy, *pods), WORKLOADS, (PEER,))
    assert backends_met(lab, packet, 6) == {second}


@pytest.mark.parametrize("family", FAMILIES)
def test_affinity_ends_with_its_time(lab: ServiceLab, family: int) -> None:
    """ "timeoutSeconds specifies the seconds of ClientIP type session sticky time" """
    brief = msgspec.structs.replace(SERVICE, affinity_seconds=1)
    program(lab, world(brief, DB, FAR), WORKLOADS, (PEER,))
    packet = Packet(WEB[family], CLUSTER_IPS[family], "TCP", 0, 80)
    assert len(backends_met(lab, packet, 6)) == 1
    deadline = time.monotonic() + 30
    met = set()
    while len(met) < 2:
        assert time.monotonic() < deadline, f"only ever {met}"
        met |= backends_met(lab, packet, 1)
        time.sleep(1.2)  # idle for longer than the time


@pytest.mark.parametrize("family", FAMILIES)
def test_affinity_that_is_switched_on_and_off_takes_effect(lab: ServiceLab, family: int) -> None:
    packet = Packet(WEB[family], CLUSTER_IPS[family], "TCP", 0, 80)
    for _ in range(2):
        program(lab, world(STICKY, DB, FAR), WORKLOADS, (PEER,))
        assert len(backends_met(lab, packet, 10)) == 1
        program(lab, world(SERVICE, DB, FAR), WORKLOADS, (PEER,))
        assert len(backends_met(lab, packet, 40)) == 2


def nonsense() -> tuple[list[Service], list[EndpointSlice], int]:
    """What an API server that checks nothing might hold, read as the agent does, and how many
    Problems that makes.
    """
    bodies: dict[str, dict[str, Any]] = {
        "port-zero": {"clusterIPs": ["10.96.0.20"], "ports": [{"port": 0}]},
        "port-large": {"clusterIPs": ["10.96.0.21"], "ports": [{"port": 70000}]},
        "same-cluster-ip": {"clusterIPs": ["10.96.0.10"], "ports": [{"port": 80}]},
        "no-address": {"clusterIPs": ["10.96.0.300", "fd00::g"], "ports": [{"port": 80}]},
        "everywhere": {
            "clusterIPs": ["10.96.0.22", "fd00:10:96::16"],
            "externalIPs": ["0.0.0.0", "::", "127.0.0.1", *map(str, HERE.addresses)],
            "ports": [{"port": 22}],
        },
        "hundred-ports": {
            "clusterIPs": ["10.96.0.23"],
            "ports": [{"name": f"p{n}", "port": 1000 + n} for n in range(100)],
        },
    }
    services, slices, problems = [], [], 0
    for name, spec in bodies.items():
        meta = {"namespace": "default", "name": name, "creationTimestamp": "2026-02-01T00:00:00Z"}
        service, found = service_from(
            msgspec.convert({"metadata": meta, "spec": {"clusterIP": "given"} | spec}, wire.Service)
        )
        slice_, more = slice_from(
            msgspec.convert(
                {
                    "metadata": meta | {"labels": {"kubernetes.io/service-name": name}},
                    "addressType": "IPv4",
                    "ports": [{"name": "", "port": 0}, {"name": "p7", "port": 8080}],
                    "endpoints": [{"addresses": [str(DB[1])]}, {"addresses": ["10.244.1.6"]}],
                },
                wire.EndpointSlice,
            )
        )
        services.append(service)
        slices.append(slice_)
        problems += len(found) + len(more)
    return services, slices, problems


def test_nonsense_never_keeps_a_good_service_from_the_kernel(lab: ServiceLab) -> None:
    """Issue: it "ends in a Problem or is served right, never in a failed transaction"."""
    services, slices, problems = nonsense()
    assert problems >= len(services)
    assert len(services[-1].ports) == 100
    good = world(SERVICE, DB)
    both = msgspec.structs.replace(
        good, services=(*good.services, *services), slices=(*good.slices, *slices)
    )
    program(lab, both, WORKLOADS, (PEER,))  # not one element is refused
    for family, protocol in product(FAMILIES, ("TCP", "UDP")):
        packet = Packet(CLIENT[family], CLUSTER_IPS[family], protocol, 0, 80)
        fate = to(DB, masquerade=True)[family]
        assert not difference(lab, HERE.addresses, packet, fate)
    one_of_hundred = Packet(WEB[0], ip_address("10.96.0.23"), "TCP", 0, 1007)
    assert not difference(lab, HERE.addresses, one_of_hundred, to(DB)[0])
