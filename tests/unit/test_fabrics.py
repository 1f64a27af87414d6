"""A fabric is one module and one line in the registry: shown by a toy of this test."""

import json
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

import click
import msgspec
import pytest
from click.testing import CliRunner

from steppe.agent.options import parse
from steppe.cli.explain_text import text
from steppe.cli.main import main
from steppe.compile.node import compile_cluster
from steppe.dataplane.nft.sets import TUNNEL_PEER
from steppe.drivers.requirements.kernel import KERNEL, OPTIONAL
from steppe.explain.tables import explainer_of, walk_of
from steppe.fabric import vxlan
from steppe.fabric.auto import Auto
from steppe.fabric.protocol import Need, Option, Tunnel
from steppe.fabric.registry import FABRICS, UnknownFabricError, all_needs, fabric_of
from steppe.kube.cause import Cause, Problem
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Node, Underlay
from steppe.net.mac import derived_mac
from steppe.net.packet import Packet
from steppe.settings import Settings, settings_annotation, settings_from
from steppe.state.claim import Claim, Entry
from steppe.state.device import Kind, Vxlan, Wrapping
from steppe.state.link import (
    Forwarding,
    ForwardingKey,
    Link,
    LinkKey,
    Neighbour,
    NeighbourKey,
)
from steppe.state.node import NodeClaim
from steppe.state.route import RouteKey, route_by
from steppe.walk.walk import Walker
from tests.worlds import node_at, pod_on

SOURCE = Path(__file__).parents[2] / "src" / "steppe"
NODES = [node_at(0), node_at(1, rack=1)]
PODS = [pod_on(NODES[0], 1), pod_on(NODES[1], 1)]
CLUSTER = cluster_of(NODES, PODS)


class Wire(Kind, frozen=True):
    """A kind of link that only this test knows."""

    name: ClassVar[str] = "wire"

    @property
    def wrapping(self) -> Wrapping:
        return "forwarding"


class Toy:
    """Everything by one device, one neighbour and one forwarding entry a prefix."""

    summary = "a toy"
    links = ("steppe-toy",)
    options = (Option("toy-size", 1300, 1280, 9000, "how large packets may be"),)
    needs = (Need("wire", "toys", ()),)

    def carries(self, here: Node, peer: Node) -> bool:
        return here.name != peer.name

    def devices(self, settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
        link = Link(Wire(), self.mtu(settings, here), derived_mac("toy", here.name))
        yield Claim(LinkKey("steppe-toy"), link, Cause(here.ref))

    def towards(self, settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
        del settings, here
        mac = derived_mac("toy", peer.name)
        yield Claim(
            ForwardingKey("steppe-toy", mac), Forwarding(peer.addresses[0]), Cause(peer.ref)
        )
        for prefix in peer.prefixes:
            hop = prefix.network.network_address
            route = route_by("steppe-toy", hop, onlink=True)
            yield Claim(RouteKey(prefix.network), route, prefix.cause)
            yield Claim(NeighbourKey("steppe-toy", hop), Neighbour(mac), prefix.cause)

    def tunnels(self, settings: Settings) -> tuple[Tunnel, ...]:
        del settings
        return ()

    def mtu(self, settings: Settings, here: Node) -> int:
        del here
        return self.options[0].of(settings)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setitem(FABRICS, "toy", Toy())
    return Settings(fabric="toy", fabric_options=(("toy-size", 1400),))


@pytest.mark.parametrize("index", [0, 1], ids=["IPv4", "IPv6"])
def test_a_packet_takes_a_new_fabric_and_each_step_names_its_object(
    toy: Settings, index: int
) -> None:
    states, problems = compile_cluster(toy, CLUSTER)
    assert problems == ()
    packet = Packet(PODS[0].addresses[index], PODS[1].addresses[index])
    trace = Walker(CLUSTER, states).walk(packet)
    assert (trace.end.kind, trace.end.target) == ("pod", "default/node-b-pod-1")
    (tunnel,) = (step for step in trace.steps if step.stage == "tunnel")
    assert f"Node/node-b spec.podCIDRs[{index}]" in map(str, tunnel.because)


def test_its_tables_and_largest_packet_are_shown(toy: Settings) -> None:
    states, _ = compile_cluster(toy, CLUSTER)
    shown = str(states["node-a"][LinkKey("steppe-toy")].value)
    assert shown == f"wire mtu 1400 address {derived_mac('toy', 'node-a')}"
    explainer = explainer_of(CLUSTER, toy)
    source, destination = (str(pod.addresses[0]) for pod in PODS)
    flow, _ = explainer.flow(source, destination, "80")
    shown = click.unstyle(text(explainer.explain(flow), 100))
    assert "1400" in shown
    assert "of which the tunnel's headers need 100" in " ".join(shown.split())


def test_of_several_tunnel_devices_the_one_on_the_way_bounds_the_packet(toy: Settings) -> None:
    states = dict(compile_cluster(toy, CLUSTER)[0])
    other = Link(Vxlan(7, 4789, ip_address("192.0.2.11"), "eth0"), 1300, "02:00:00:00:00:01")
    states["node-a"] = {**states["node-a"], LinkKey(vxlan.DEVICE): Entry(other, ())}
    explainer = explainer_of(CLUSTER, toy, lambda part: walk_of(part, states))
    flow, _ = explainer.flow(*(str(pod.addresses[0]) for pod in PODS), "80")
    assert {path.mtu.bytes for path in explainer.explain(flow).cases[0].paths} == {1400}


def test_people_may_choose_it(toy: Settings) -> None:
    assert settings_from(settings_annotation(toy)) == toy
    given = parse(["--node", "n", "--fabric", "toy", "--toy-size", "1400"])
    assert given.settings == toy


@pytest.mark.parametrize("command", [("lab", "up"), ("diff",)])
def test_commands_offer_every_fabric_there_is(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"]).output
    assert f"[{'|'.join(FABRICS)}]" in shown


@pytest.mark.parametrize("given", ["1279", "9001", "many", "-1"])
def test_an_option_out_of_its_bounds_is_refused_in_a_sentence(
    toy: Settings, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toy
    with pytest.raises(SystemExit) as ended:
        parse(["--node", "n", f"--toy-size={given}"])
    assert ended.value.code == 2
    assert "; give " in capsys.readouterr().err


def test_a_name_that_is_none_of_them_says_which_there_are() -> None:
    with pytest.raises(UnknownFabricError, match="no fabric 'rope'; choose one of auto, direct"):
        fabric_of(Settings(fabric="rope"))


def test_auto_takes_the_first_that_carries_for_each_peer_and_the_devices_of_all() -> None:
    near, far, toy = FABRICS["direct"], FABRICS["vxlan"], Toy()
    same_subnet = node_at(2)
    auto = Auto({"direct": near, "toy": toy, "vxlan": far})
    assert auto.towards_by(NODES[0], same_subnet) is near
    assert auto.towards_by(NODES[0], NODES[1]) is toy
    assert auto.links == ("steppe-toy", *far.links)
    assert auto.mtu(Settings(), NODES[0]) == 1500
    made = [each.key for each in auto.devices(Settings(), NODES[0]) if isinstance(each, Claim)]
    assert {LinkKey(name) for name in auto.links} <= set(made)


@pytest.mark.parametrize("name", ["vxlan", "geneve"])
def test_a_fabric_is_named_in_its_own_module_and_where_kinds_of_device_are_listed(
    name: str,
) -> None:
    found = subprocess.run(
        ["grep", "-rli", name, "--include=*.py", "."],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(found.stdout.split()) == sorted(
        [
            "./drivers/netlink/kinds/__init__.py",
            f"./drivers/netlink/kinds/{name}.py",
            f"./fabric/{name}.py",
            "./fabric/registry.py",
            "./state/device.py",
        ]
    )


OVERHEAD = {
    "direct": (0, 0),
    "vxlan": (50, 70),
    "ipip": (20, 40),
    "gre": (24, 44),
    "geneve": (50, 70),
    "bgp": (0, 0),
}
"""Bytes over an IPv4 and over an IPv6 underlay; tests/fabrics sees them on the wire."""


def over_ipv6(node: Node) -> Node:
    only = tuple(each for each in node.underlay.addresses if each.version == 6)
    underlay = Underlay("eth0", node.underlay.mtu, only)
    return msgspec.structs.replace(node, addresses=tuple(e.ip for e in only), underlay=underlay)


@pytest.mark.parametrize("name", FABRICS)
def test_pods_have_what_the_underlay_takes_less_the_headers(name: str) -> None:
    by_four, by_six = (0, 0) if name.startswith("auto") else OVERHEAD[name]
    assert FABRICS[name].mtu(Settings(), NODES[0]) == 1500 - by_four
    assert FABRICS[name].mtu(Settings(), over_ipv6(NODES[0])) == 1500 - by_six


TUNNELS = [name for name, lost in OVERHEAD.items() if any(lost)]


@pytest.mark.parametrize("name", TUNNELS)
@pytest.mark.parametrize("of", [lambda node: node, over_ipv6], ids=["over IPv4", "over IPv6"])
def test_a_tunnel_carries_both_families_and_ends_where_its_sender_is_known(name, of) -> None:
    nodes = [of(node) for node in NODES]
    cluster = cluster_of(nodes, PODS)
    states, problems = compile_cluster(Settings(fabric=name), cluster)
    assert problems == ()
    for index, version in enumerate((4, 6)):
        # Only ipip carries each family in its own.
        outer = (nodes[0].address(version) if name == "ipip" else None) or nodes[0].addresses[0]
        sender = TUNNEL_PEER.key(outer)
        deaf = {key: entry for key, entry in states["node-b"].items() if key != sender}
        packet = Packet(PODS[0].addresses[index], PODS[1].addresses[index])
        trace = Walker(cluster, states).walk(packet)
        assert (trace.end.kind, trace.end.target) == ("pod", "default/node-b-pod-1")
        end = Walker(cluster, {**states, "node-b": deaf}).walk(packet).end
        assert (end.kind, end.reason) == ("dropped", f"node-b takes no tunnels from {outer}")


@pytest.mark.parametrize("name", TUNNELS)
def test_a_peer_without_an_address_of_the_tunnels_family_is_a_problem_and_no_entry(name) -> None:
    states, problems = compile_cluster(
        Settings(fabric=name), cluster_of([NODES[0], over_ipv6(NODES[1])], [])
    )
    assert any("no tunnel from node-a to node-b" in str(problem) for problem in problems)
    lost = NODES[1].networks[: 1 if name == "ipip" else 2]
    assert not any(RouteKey(network) in states["node-a"] for network in lost)


def test_every_fabric_with_a_device_says_what_it_needs_and_doctor_asks_for_it() -> None:
    required = {each.name for each in KERNEL}
    optional = {each.name for each in OPTIONAL}
    for name, fabric in FABRICS.items():
        assert bool(fabric.links) == bool(fabric.needs), name
        assert {need.device for need in fabric.needs} <= required | optional
    assert {need.device for need in fabric_of(Settings()).needs} <= required
    assert all(need.module for need in all_needs() if need.device in optional)


def test_the_chart_offers_every_fabric_there_is() -> None:
    schema = json.loads((SOURCE.parents[1] / "deploy/chart/values.schema.json").read_text())
    assert sorted(schema["properties"]["fabric"]["enum"]) == sorted(FABRICS)
