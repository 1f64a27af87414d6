"""Which settings `steppe explain` takes a running cluster to have."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from steppe.cli.settings import disagreement, settings_of
from steppe.cli.source import Source
from steppe.explain.tables import explainer_of
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import UNDERLAY_ANNOTATION
from steppe.kube.policies import NetworkPolicy
from steppe.kube.selectors import EVERYTHING
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest
from steppe.net.address import parse_prefix
from steppe.settings import SETTINGS_ANNOTATION, Settings, settings_annotation, settings_from
from tests.worlds import node_at, pod_on

LIVE = Source(kubeconfig="some")
VXLAN = Settings(fabric="vxlan", fabric_options=(("vxlan-vni", 8),))
SOME = Settings(node_port_addresses=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))


def world(*annotations: dict[str, str]) -> Loaded:
    nodes: list[dict[str, Any]] = [
        {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": f"n{n}", "annotations": each},
            "spec": {"podCIDRs": [f"10.244.{n}.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{n + 11}"}]},
        }
        for n, each in enumerate(annotations)
    ]
    return loaded_from(map(Manifest, nodes))


def says(settings: Settings) -> dict[str, str]:
    return {SETTINGS_ANNOTATION: settings_annotation(settings)}


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        VXLAN,
        SOME,
        Settings(node_port_addresses="primary", services=False),
        Settings(pod_ranges=(parse_prefix("10.244.0.0/16"),), external_ips="deny"),
    ],
)
def test_what_an_agent_says_is_read_back(settings: Settings) -> None:
    assert settings_from(settings_annotation(settings)) == settings


def test_what_an_agent_said_that_knew_nothing_of_claims_is_read_too() -> None:
    text = settings_annotation(Settings(fabric="direct"))
    older = text.replace(',"podRanges":[],"externalIps":"warn"', "")
    assert older != text
    assert settings_from(older) == Settings(fabric="direct")


def test_what_an_agent_said_before_fabrics_had_options_of_their_own_is_read_too() -> None:
    text = settings_annotation(Settings(fabric="direct"))
    older = text.replace(',"fabricOptions":{}', ',"vxlanVni":7473,"vxlanPort":4789')
    assert older != text
    assert settings_from(older) == Settings(fabric="direct")


def test_agents_with_a_fabric_that_this_version_has_not_are_not_asked() -> None:
    unknown = says(Settings(fabric="rope"))
    assert settings_of(world(unknown, says(VXLAN), unknown), LIVE) == VXLAN


def test_what_most_agents_say_is_taken_and_the_others_are_named() -> None:
    loaded = world(says(VXLAN), says(SOME), says(VXLAN), {SETTINGS_ANNOTATION: "{"})
    assert settings_of(loaded, LIVE) == VXLAN
    assert disagreement(loaded, VXLAN).startswith("the agents of n1 run with other settings")
    assert disagreement(world(says(VXLAN)), VXLAN) == ""


def test_a_cluster_of_another_network_has_none() -> None:
    assert settings_of(world({}), LIVE) is None
    bare = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "without-prefixes"}}
    assert settings_of(loaded_from([Manifest(bare)]), LIVE) is None
    assert settings_of(world(says(VXLAN)), Source(filenames=("some",))) is None


def test_agents_that_tell_their_underlay_alone_run_with_the_defaults() -> None:
    underlay = '{"link":"eth0","mtu":1500,"addresses":["192.0.2.11/24"]}'
    assert settings_of(world({UNDERLAY_ANNOTATION: underlay}), LIVE) == Settings()


@pytest.mark.parametrize(("served", "reached"), [("203.0.113.0/24", False), ("192.0.2.0/24", True)])
def test_tables_and_promises_agree_on_where_node_ports_are(served: str, reached: bool) -> None:
    nodes = [node_at(0), node_at(1)]
    pod = pod_on(nodes[1], 0)
    ports = (ServicePort("http", "TCP", 80, 30080),)
    service = Service("default", "web", cluster_ips=(ip_address("10.96.0.10"),), ports=ports)
    endpoint = Endpoint(pod.addresses[0], nodes[1].name)
    slices = [EndpointSlice("default", "web-1", "web", (("http", "TCP", 8080),), (endpoint,))]
    cluster = cluster_of(nodes, [pod], services=[service], slices=slices)
    chosen = Settings(node_port_addresses=(ip_network(served),))
    explainer = explainer_of(cluster, chosen)
    flow, _ = explainer.flow("203.0.113.9", str(nodes[0].addresses[0]), "30080")
    said = explainer.explain(flow)
    assert said.conflicts == ()
    assert bool(said.cases[0].paths[0].receiver == f"{pod.namespace}/{pod.name}") == reached
    flow, _ = explainer.flow("203.0.113.9", "svc/default/web")
    said = explainer.explain(flow)
    assert said.conflicts == ()
    assert (said.kind == "allowed") == reached


def test_what_agents_do_not_do_is_not_explained_as_theirs() -> None:
    shut = NetworkPolicy("default", "shut", EVERYTHING, frozenset({"ingress"}))
    nodes = [node_at(0), node_at(1)]
    client, server = pod_on(nodes[0], 0), pod_on(nodes[1], 0)
    cluster = cluster_of(nodes, [client, server], network_policies=[shut])
    kinds = {}
    for switch in ({}, {"policies": False}, {"services": False}):
        explainer = explainer_of(cluster, Settings(**switch))
        flow, _ = explainer.flow(f"default/{client.name}", f"default/{server.name}", "80")
        said = explainer.explain(flow)
        assert said.conflicts == ()
        kinds[tuple(switch)] = (said.kind, said.basis)
    assert kinds == {
        (): ("denied", "tables"),
        ("policies",): ("allowed", "tables"),
        ("services",): ("denied", "promises"),
    }
