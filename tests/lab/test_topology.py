"""The lab's network, as a value and in namespaces."""

import subprocess
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from steppe_lab import netns
from steppe_lab.topology.apply import build
from steppe_lab.topology.model import Topology, describe, node_names
from steppe_lab.topology.steps import steps

LAB = "pytest-topo"


def test_nodes_are_named_like_columns_of_a_sheet() -> None:
    names = node_names(100)
    assert names[0] == "node-a"
    assert names[25:28] == ("node-z", "node-aa", "node-ab")
    assert len(set(names)) == 100


@pytest.mark.parametrize("shape", ["flat", "racks"])
@pytest.mark.parametrize("family", ["dual", "ipv4", "ipv6"])
def test_every_host_has_an_address_of_its_own_in_each_family(family, shape) -> None:
    topology = describe("x", 100, family, shape)
    addresses = [address for host in topology.hosts for address in host.addresses]
    addresses += [str(g.ip) for subnet in topology.subnets for g in subnet.gateways]
    assert len(set(addresses)) == len(addresses)
    versions = {"dual": {4, 6}, "ipv4": {4}, "ipv6": {6}}[family]
    for host in topology.hosts:
        assert {interface.version for interface in host.interfaces} == versions
        for interface in host.interfaces:
            assert interface.network in host.subnet.networks


def test_all_addresses_come_from_the_documentation_ranges() -> None:
    ranges = [
        ip_network(n)
        for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    for host in describe("x", 100, "dual", "racks").hosts:
        for interface in host.interfaces:
            assert any(interface.ip in each for each in ranges if each.version == interface.version)


def test_nodes_alternate_between_racks() -> None:
    nodes = describe("x", 4, "ipv4", "racks").nodes
    assert [node.subnet.name for node in nodes] == ["net-1", "net-2", "net-1", "net-2"]


def test_the_outside_host_knows_no_route_to_pods() -> None:
    topology = describe("x", 2, "dual", "flat")
    outside = next(step for step in steps(topology) if step.netns == topology.outside.netns)
    routes = [line for line in outside.batch if line.startswith("route")]
    assert routes == [
        "route add default via 198.51.100.1",
        "route add default via 2001:db8:ffff::1",
    ]
    fabric = steps(topology)[0]
    assert not [line for line in fabric.batch if line.startswith("route")]


@pytest.mark.parametrize(
    ("name", "lab"),
    [
        ("st-a-fabric", "a"),
        ("st-a-node-b", "a"),
        ("st-a-node-cv", "a"),
        ("st-a-pod-0123abcd", "a"),
        ("st-a-b-fabric", "a-b"),
        ("st-a-b-node-c", "a-b"),
        ("st-a-node-fabric", "a-node"),
        ("st-a-node-node-b", "a-node"),
        ("st-a-pod-0123abc", ""),
        ("st-a", ""),
        ("docker-fabric", ""),
    ],
)
def test_a_namespace_belongs_to_one_lab(name, lab) -> None:
    assert netns.lab_of_namespace(name) == lab


@pytest.fixture
def namespaces() -> Iterator[None]:
    yield
    for name in netns.namespaces_of_lab(LAB):
        netns.delete(name)
    netns.release_dir()


def _ping(topology: Topology, target: str) -> bool:
    command = [
        "nsenter",
        f"--net=/run/netns/{topology.nodes[0].netns}",
        "ping",
        "-c1",
        "-W1",
        target,
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("shape", ["flat", "racks"])
def test_nodes_reach_each_other_and_the_outside_at_once(shape) -> None:
    topology = describe(LAB, 4, "dual", shape)
    build(topology)
    for host in topology.hosts:
        for address in host.addresses:
            assert _ping(topology, address), f"{host.name} {address}"


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
def test_hosts_learn_no_neighbour_however_much_they_talk() -> None:
    # Learnt ones share a table of 1024 with the whole machine.
    topology = describe(LAB, 4, "dual", "racks")
    build(topology)
    for host in topology.hosts:
        for address in host.addresses:
            assert _ping(topology, address)
    for name in topology.namespaces:
        command = ["ip", "-n", name, "neighbour"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        learnt = [line for line in shown.splitlines() if "PERMANENT" not in line]
        assert [line for line in learnt if not line.startswith("fe80:")] == []


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
def test_no_address_waits_for_duplicate_address_detection() -> None:
    topology = describe(LAB, 2, "dual", "flat")
    build(topology)
    for name in topology.namespaces:
        command = ["ip", "-n", name, "-6", "address", "show", "tentative"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.kernel
@pytest.mark.usefixtures("namespaces")
def test_the_machine_itself_gets_no_link_and_no_route() -> None:
    def seen() -> str:
        return "".join(
            subprocess.run(["ip", *what], capture_output=True, text=True, check=True).stdout
            for what in (["-br", "link"], ["route", "show", "table", "all"], ["rule"])
        )

    before = seen()
    build(describe(LAB, 3, "dual", "racks"))
    assert seen() == before
