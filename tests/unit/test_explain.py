"""What explanations say of situations that random clusters seldom meet."""

from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

from steppe.explain.document import document
from steppe.explain.explain import Explainer
from steppe.explain.flow import BadFlowError
from steppe.explain.model import Explanation
from steppe.explain.tables import compiled
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import NamedPort, Pod
from steppe.kube.policies import Block, Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.selectors import EVERYTHING, Requirement, Selector
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.packet import Protocol
from steppe.net.ports import PortRange
from steppe.settings import Settings
from tests.worlds import node_at, pod_on

NODES = [node_at(0), node_at(1)]
SPACE = Namespace("default", {"kubernetes.io/metadata.name": "default"})


def labelled(node: int, name: str, **labels: str) -> Pod:
    number = sum(map(ord, name)) % 100
    return msgspec.structs.replace(pod_on(NODES[node], number, name), labels=labels)


CLIENT, SERVER = labelled(0, "client", app="client"), labelled(1, "server", app="server")
PORTS = (ServicePort("http", "TCP", 80, 30080),)


def service(**fields: Any) -> Service:
    given = {"cluster_ips": (ip_address("10.96.0.10"),), "ports": PORTS} | fields
    return Service("default", "web", **given)


def slice_to(*endpoints: Endpoint) -> EndpointSlice:
    return EndpointSlice("default", "web-1", "web", (("http", "TCP", 8080),), endpoints)


READY = Endpoint(SERVER.addresses[0], NODES[1].name)


def lets_in(*rules: Rule, name: str = "guard", app: str = "server") -> NetworkPolicy:
    selector = Selector((Requirement("app", "In", frozenset((app,))),))
    return NetworkPolicy("default", name, selector, frozenset({"ingress"}), rules)


def world(*policies: NetworkPolicy, **objects: Any) -> Cluster:
    return cluster_of(NODES, [CLIENT, SERVER], [SPACE], policies, **objects)


def explained(
    cluster: Cluster, source: str, destination: str, port: str = "", protocol: Protocol = "TCP"
) -> Explanation:
    """What both ways of explaining say: they agree on all but the steps."""
    promised, tables = Explainer(cluster), Explainer(cluster, compiled(Settings(fabric="vxlan")))
    flow, _ = promised.flow(source, destination, port, protocol)
    one, other = promised.explain(flow), tables.explain(flow)
    assert other.conflicts == ()
    assert (one.kind, one.verdict, one.changes) == (other.kind, other.verdict, other.changes)
    return other


def from_clients(field: str = "spec.ingress[0]", port: int = 8080) -> Rule:
    clients = Selector((Requirement("role", "In", frozenset(("client",))),))
    return Rule(field, (Pods(pods=clients, within="default"),), (PortRange("TCP", port, port),))


def test_a_node_port_shows_other_nodes_pods_the_nodes_address() -> None:
    outside, node = ip_network("203.0.113.0/24"), ip_network("192.0.2.0/24")
    ports = (PortRange("TCP", 8080, 8080),)
    objects = {"services": [service()], "slices": [slice_to(READY)]}
    for prefix, kind in ((outside, "denied"), (node, "allowed")):
        policy = lets_in(Rule("spec.ingress[0]", (Block(prefix),), ports))
        said = explained(world(policy, **objects), "203.0.113.9", "192.0.2.11", "30080")
        assert said.kind == kind, prefix


def test_one_label_that_a_rule_asks_for_is_named() -> None:
    said = explained(world(lets_in(from_clients())), "default/client", "default/server", "8080")
    assert said.kind == "denied"
    texts = [change.text for change in said.changes]
    assert "label default/client role=client (in its workload's template)" in texts
    assert any("spec.ingress[0].from: podSelector app=client" in text for text in texts)


def test_a_port_that_is_missing_is_named() -> None:
    clients = Selector((Requirement("app", "In", frozenset(("client",))),))
    peers = (Pods(pods=clients, within="default"),)
    rule = Rule("spec.ingress[0]", peers, (PortRange("TCP", 80, 80),))
    said = explained(world(lets_in(rule)), "default/client", "default/server", "8080")
    assert "spec.ingress[0].ports: TCP 8080" in said.changes[0].text
    (miss, *_) = said.cases[0].paths[0].misses
    assert miss.text == "takes this peer, but only TCP 80"


def test_a_label_that_would_isolate_the_sender_is_not_suggested() -> None:
    """With the label the server takes it, but then another policy keeps it from sending."""
    shut = NetworkPolicy(
        "default",
        "shut",
        Selector((Requirement("role", "In", frozenset(("client",))),)),
        frozenset({"egress"}),
    )
    said = explained(
        world(lets_in(from_clients()), shut), "default/client", "default/server", "8080"
    )
    assert said.changes
    assert not any(change.text.startswith("label") for change in said.changes)


def test_where_both_ends_say_no_both_changes_are_named_together() -> None:
    out = NetworkPolicy("default", "out", EVERYTHING, frozenset({"egress"}))
    said = explained(world(lets_in(), out), "default/client", "default/server", "8080")
    assert said.changes
    for change in said.changes:
        assert {c.ref.name for c in change.objects} == {"guard", "allow-client-to-server"}


def test_a_part_of_a_range_that_differs_is_told_apart() -> None:
    # Through a node's port the server sees the node, unless it runs there.
    here = labelled(0, "local", app="server")
    slices = [slice_to(Endpoint(here.addresses[0], NODES[0].name))]
    block = Block(ip_network("203.0.113.0/24"), (ip_network("203.0.113.128/25"),))
    policy = lets_in(Rule("spec.ingress[0]", (block,), (PortRange("TCP", 8080, 8080),)))
    cluster = cluster_of(
        NODES, [CLIENT, here], [SPACE], [policy], services=[service()], slices=slices
    )
    said = explained(cluster, "203.0.113.0/24", "svc/default/web", "80")
    here, other = (node.name for node in NODES)
    assert {case.name: case.kind for case in said.cases} == {
        f"203.0.113.0/24, coming in by {here}": "allowed",
        f"203.0.113.0/24, coming in by {other}": "denied",
        "203.0.113.128/25": "denied",
    }
    assert said.kind == "partly"
    assert "from 203.0.113.128/25" in said.verdict
    assert f"from 203.0.113.0/24 coming in by {other}" in said.verdict


def test_the_internet_is_what_is_neither_private_nor_the_clusters_own() -> None:
    objects = {"services": [service()], "slices": [slice_to(READY)]}
    said = explained(world(**objects), "internet", "svc/default/web", "80")
    assert [str(case.packet.source) for case in said.cases] == ["1.0.0.1"]


@pytest.mark.parametrize(
    ("changes", "slices", "said"),
    [
        ({}, (), "Service default/web has no endpoint at all"),
        (
            {},
            (msgspec.structs.replace(READY, ready=False, serving=False),),
            "none of its 1 is ready",
        ),
        ({"internal_local": True}, (READY,), "node-a has none of its endpoints"),
        ({"ports": (ServicePort("http", "TCP", 81),)}, (READY,), "has no port TCP 80, only TCP 81"),
    ],
)
def test_what_a_service_lacks_is_said(
    changes: dict[str, Any], slices: tuple[Endpoint, ...], said: str
) -> None:
    cluster = world(services=[service(**changes)], slices=[slice_to(*slices)])
    found = explained(cluster, "default/client", "svc/default/web", "80")
    assert found.kind == "denied"
    assert said in found.verdict
    assert found.cases[0].paths[0].decisive


def test_source_ranges_that_keep_a_sender_out_are_named() -> None:
    address = ip_address("198.18.0.5")
    ranges = (ip_network("203.0.113.0/25"),)
    balanced = service(load_balancer_ips=(address,), source_ranges=ranges, restricted=True)
    cluster = world(services=[balanced], slices=[slice_to(READY)])
    said = explained(cluster, "203.0.113.0/24", "svc/default/web", "80")
    assert {case.stands_for: case.kind for case in said.cases} == {
        "203.0.113.0/24": "denied",
        "203.0.113.0/25": "allowed",
    }
    assert "source ranges only" in said.verdict


def test_nobody_from_outside_reaches_a_pod_directly() -> None:
    said = explained(world(), "203.0.113.9", "default/server", "8080")
    assert said.kind == "denied"
    assert "a pod needs a Service" in said.verdict


def test_families_that_differ_are_told_apart() -> None:
    four = Rule("spec.ingress[0]", (Block(ip_network("0.0.0.0/0")),), (PortRange("TCP"),))
    said = explained(world(lets_in(four)), "default/client", "default/server", "8080")
    assert [(case.stands_for, case.kind) for case in said.cases] == [
        ("IPv4", "allowed"),
        ("IPv6", "denied"),
    ]
    assert "by IPv4, not by IPv6" in said.verdict


def test_the_only_port_is_the_one_that_is_meant() -> None:
    named = msgspec.structs.replace(SERVER, ports=(NamedPort("web", "TCP", 8080),))
    cluster = cluster_of(NODES, [CLIENT, named], services=[service()], slices=[slice_to(READY)])
    explainer = Explainer(cluster)
    assert explainer.flow("default/client", "default/server")[0].port == 8080
    assert explainer.flow("default/client", "svc/default/web")[0].port == 80
    assert explainer.flow("default/client", "svc/default/web:http")[0].port == 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("default/client", "default/server"), "which port"),
        (("default/client", "svc/default/web:nothing"), "has no port 'nothing'"),
        (("default/client", "svc/default/web:80", "81"), "says port 80 and --port says 81"),
        (("default/client", "default/server", "70000"), "not between"),
        (("svc/default/web", "default/server", "80"), "sends nothing"),
        (("203.0.113.9", "203.0.113.10", "80"), "neither"),
        (("default/client", "svc/default/none", "80"), "has no address of its own"),
        (("default/client", "default/server", "80", "ICMP"), "no ports"),
    ],
)
def test_a_flow_that_cannot_be_is_a_sentence(words: tuple[Any, ...], said: str) -> None:
    headless = Service("default", "none")
    cluster = world(services=[service(), headless], slices=[slice_to(READY)])
    with pytest.raises(BadFlowError, match=said):
        Explainer(cluster).flow(*words)


def test_a_range_of_the_clusters_own_is_a_sentence() -> None:
    explainer = Explainer(world())
    flow, _ = explainer.flow("default/client", "10.244.1.0/24", "80")
    with pytest.raises(BadFlowError, match="the cluster's own"):
        explainer.explain(flow)


def test_the_document_is_json_and_says_what_is_promised() -> None:
    cluster = world(lets_in(from_clients()))
    explainer = Explainer(cluster)
    flow, _ = explainer.flow("default/client", "default/server", "8080")
    found = msgspec.json.decode(msgspec.json.encode(document(explainer.explain(flow))))
    assert found["schema"] == "steppe.explain/v1"
    assert (found["verdict"], found["basis"]) == ("denied", "promises")
    path = found["cases"][0]["paths"][0]
    assert path["decisive"][0]["name"] == "guard"
    assert {step["basis"] for step in path["steps"]} == {"fact", "promise"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "NodePort"}, "on TCP 80 (node port 30080 of any node), by its only endpoint"),
        ({"type": "NodePort", "external_local": True}, "30080 of nodes with endpoints)"),
        ({"type": "LoadBalancer"}, "as its load balancer has given it no address yet"),
        (
            {"type": "LoadBalancer", "load_balancer_hosts": ("lb.example.org",)},
            "of any node, to which its load balancer lb.example.org leads)",
        ),
    ],
)
def test_from_outside_the_sentence_says_which_node_port(fields: dict[str, Any], said: str) -> None:
    cluster = world(services=[service(**fields)], slices=[slice_to(READY)])
    assert said in explained(cluster, "internet", "svc/default/web", "80").verdict


def test_a_load_balancers_address_is_what_is_dialled() -> None:
    address = (ip_address("198.18.0.5"),)
    balanced = service(type="LoadBalancer", load_balancer_ips=address)
    cluster = world(services=[balanced], slices=[slice_to(READY)])
    assert "node port" not in explained(cluster, "internet", "svc/default/web", "80").verdict


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("ClusterIP", "a cluster IP, for the cluster alone"),
        ("NodePort", "has no node port yet"),
        ("LoadBalancer", "neither an address from its load balancer yet nor a node port"),
    ],
)
def test_a_service_without_a_way_in_says_what_it_lacks(type_: str, said: str) -> None:
    inner = service(type=type_, ports=(ServicePort("http", "TCP", 80),))
    cluster = world(services=[inner], slices=[slice_to(READY)])
    found = explained(cluster, "internet", "svc/default/web", "80")
    assert found.kind == "denied"
    assert said in found.verdict
    assert [str(cause) for cause in found.cases[0].paths[0].decisive] == [
        "Service/default/web spec.type"
    ]


def headless_world(*policies: NetworkPolicy, ready: bool = True) -> Cluster:
    other = labelled(0, "other", app="other")
    by_dns = tuple(Endpoint(a, SERVER.node, ready) for a in (*SERVER.addresses, other.addresses[0]))
    slices = [
        EndpointSlice("default", "web-1", "web", (("http", "TCP", 8080),), headless=by_dns),
    ]
    held = [Service("default", "web", headless=True)]
    pods = [CLIENT, SERVER, other]
    return cluster_of(NODES, pods, [SPACE], policies, services=held, slices=slices)


def test_a_headless_service_is_each_of_its_endpoints() -> None:
    said = explained(headless_world(lets_in()), "default/client", "svc/default/web")
    assert said.flow.port == 8080, "nobody translates ports"
    assert {case.stands_for: case.kind for case in said.cases} == {
        "default/server (IPv4)": "denied",
        "default/server (IPv6)": "denied",
        "default/other (IPv4)": "allowed",
    }
    assert said.kind == "partly"
    assert "1 of 2 endpoints can be reached" in said.verdict
    whole = explained(headless_world(), "default/client", "svc/default/web")
    assert whole.verdict.endswith("by any of its 2 endpoints.")


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (headless_world(ready=False), "no endpoint that is ready"),
        (
            world(services=[Service("default", "web", external_name="pay.example.com")]),
            "DNS answers with the name pay.example.com",
        ),
    ],
)
def test_services_that_dns_alone_knows_are_a_sentence(cluster: Cluster, said: str) -> None:
    with pytest.raises(BadFlowError, match=said):
        Explainer(cluster).flow("default/client", "svc/default/web", "80")


def test_an_address_that_a_service_must_not_take_is_a_note() -> None:
    greedy = service(external_ips=(ip_address("10.244.1.3"),))
    objects = {"services": [greedy], "slices": [slice_to(READY)]}
    said = explained(world(**objects), "default/client", "10.244.1.3", "80")
    assert any("spec.externalIPs[0]: 10.244.1.3 lies in the pod prefix" in n for n in said.notes)
