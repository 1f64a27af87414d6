"""What a cluster is made of manifests, and what is invented for it."""

import copy
from ipaddress import ip_address
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from steppe.compile.node import compile_cluster
from steppe.kube.cause import ObjectRef
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest
from steppe.net.packet import Packet
from steppe.settings import Settings
from steppe.walk.walk import Walker


def load(text: str) -> Loaded:
    return loaded(*yaml.safe_load_all(text))


def loaded(*documents: Any) -> Loaded:
    return loaded_from(Manifest(d, f"test.yaml:{n}") for n, d in enumerate(documents, start=1))


def workload(kind: str, name: str = "web", **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
    }
    selector: Any = {"matchLabels": {"app": name}}
    if kind == "ReplicationController":
        selector = {"app": name}
    body: dict[str, Any] = {"template": template} | spec
    if kind not in ("Job", "CronJob"):
        body = {"selector": selector} | body
    if kind == "CronJob":
        body = {"schedule": "@daily", "jobTemplate": {"spec": body}}
    return {"kind": kind, "metadata": {"name": name}, "spec": body}


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    body = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def pod(name: str, labels: dict[str, str], status: Any = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels}
    return {"kind": "Pod", "metadata": metadata, "spec": spec} | (
        {"status": status} if status else {}
    )


def pod_names(found: Loaded) -> list[str]:
    return sorted(name for _, name in found.cluster.pods)


@pytest.mark.parametrize(
    ("kind", "spec", "names"),
    [
        ("Deployment", {}, ["web-0"]),
        ("Deployment", {"replicas": 2}, ["web-0", "web-1"]),
        ("Deployment", {"replicas": 0}, []),
        ("ReplicaSet", {"replicas": 2}, ["web-0", "web-1"]),
        ("StatefulSet", {"replicas": 2}, ["web-0", "web-1"]),
        ("ReplicationController", {"replicas": 2}, ["web-0", "web-1"]),
        ("StatefulSet", {"replicas": 2, "ordinals": {"start": 3}}, ["web-3", "web-4"]),
        ("DaemonSet", {}, ["web-node-a", "web-node-b"]),
        ("Job", {}, ["web-0"]),
        ("Job", {"parallelism": 2}, ["web-0", "web-1"]),
        ("CronJob", {}, ["web-0"]),
    ],
)
def test_workloads_have_the_pods_that_their_controller_would_make(
    kind: str, spec: dict[str, Any], names: list[str]
) -> None:
    found = loaded(workload(kind, **spec))
    assert not found.problems
    assert pod_names(found) == names
    for made in found.cluster.pods.values():
        assert made.labels["app"] == "web"
        assert [port.number for port in made.ports] == [8080]
        assert [address.version for address in made.addresses] == [4, 6]
        assert made.node in found.cluster.nodes
        assert made.ref in found.invented


@pytest.mark.parametrize(("kind", "field"), [("Deployment", "replicas"), ("Job", "parallelism")])
def test_more_pods_than_any_cluster_has_are_a_problem(kind: str, field: str) -> None:
    found = loaded(workload(kind, **{field: 2**40}))
    assert not found.cluster.pods
    (problem,) = found.problems
    assert "more than any cluster has" in problem.message


def test_a_workload_whose_pods_are_listed_gets_no_others() -> None:
    found = loaded(workload("Deployment"), pod("web-6d4cf-x2x", {"app": "web", "hash": "6d4cf"}))
    assert pod_names(found) == ["web-6d4cf-x2x"]


def test_a_replica_set_that_a_deployment_made_is_the_deployments() -> None:
    owned = workload("ReplicaSet", replicas=2)
    owned["metadata"] = {
        "name": "web-6d4cf",
        "ownerReferences": [{"kind": "Deployment", "name": "web"}],
    }
    assert pod_names(loaded(workload("Deployment"), owned)) == ["web-0"]


def test_two_workloads_of_one_name_keep_their_pods_apart() -> None:
    other = workload("StatefulSet")
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    other["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert pod_names(loaded(workload("Deployment"), other)) == ["web-0", "web-statefulset-0"]


def test_pods_with_a_status_are_left_as_they_are() -> None:
    pending = pod("pending", {}, {"phase": "Pending"})
    running = pod("running", {}, {"phase": "Running", "podIP": "10.9.8.7"}, nodeName="n1")
    cluster = loaded(pending, running).cluster
    assert cluster.pods["default", "pending"].addresses == ()
    assert cluster.pods["default", "running"].addresses == (ip_address("10.9.8.7"),)
    assert list(cluster.nodes) == ["n1"]
    assert cluster.nodes["n1"].networks == ()


def test_a_node_that_is_not_described_has_the_addresses_its_pods_tell() -> None:
    status = {"phase": "Running", "podIP": "10.9.8.7", "hostIP": "198.51.100.7"}
    cluster = loaded(pod("running", {}, status, nodeName="n1")).cluster
    assert cluster.nodes["n1"].addresses == (ip_address("198.51.100.7"),)


def test_pods_are_placed_on_the_nodes_there_are_in_their_prefixes() -> None:
    node = {
        "kind": "Node",
        "metadata": {"name": "n1", "labels": {"disk": "ssd"}},
        "spec": {"podCIDRs": ["10.1.2.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    }
    other = copy.deepcopy(node)
    other["metadata"] = {"name": "n2"}
    other["spec"] = {"podCIDRs": ["10.1.3.0/24"]}
    picky = workload("Deployment", replicas=3)
    picky["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    found = loaded(node, other, picky)
    for made in found.cluster.pods.values():
        assert made.node == "n1"
        assert made.addresses[0] in found.cluster.nodes["n1"].networks[0]
    assert ObjectRef("Node", "", "n1") not in found.invented


def test_a_full_prefix_is_a_problem() -> None:
    node = {"kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.1.2.0/29"]}}
    found = loaded(node, workload("Deployment", replicas=6))
    assert sum(not p.addresses for p in found.cluster.pods.values()) == 1
    assert [p.message for p in found.problems] == ["node n1 has no free pod address for it"]


def test_a_node_known_by_its_name_alone_is_described() -> None:
    found = loaded({"kind": "Node", "metadata": {"name": "n1", "labels": {"a": "b"}}})
    node = found.cluster.nodes["n1"]
    assert node.labels["a"] == "b"
    assert [prefix.version for prefix in node.networks] == [4, 6]
    assert [address.version for address in node.addresses] == [4, 6]
    assert node.ref in found.invented


def test_host_network_pods_have_their_nodes_addresses() -> None:
    daemons = workload("DaemonSet")
    daemons["spec"]["template"]["spec"]["hostNetwork"] = True
    cluster = loaded(daemons).cluster
    for made in cluster.pods.values():
        assert made.host_network
        assert made.addresses == cluster.nodes[made.node].addresses


def test_namespaces_that_nobody_wrote_are_there_and_all_have_their_label() -> None:
    written = {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}}
    mentioned = pod("web", {})
    mentioned["metadata"]["namespace"] = "other"
    found = loaded(written, mentioned)
    assert found.cluster.namespaces["shop"].labels == {
        "team": "a",
        "kubernetes.io/metadata.name": "shop",
    }
    assert found.cluster.namespaces["other"].labels == {"kubernetes.io/metadata.name": "other"}
    assert ObjectRef("Namespace", "", "other") in found.invented
    assert ObjectRef("Namespace", "", "shop") not in found.invented


@pytest.mark.parametrize(
    ("spec", "versions"),
    [
        ({}, [4]),
        ({"ipFamilyPolicy": "SingleStack"}, [4]),
        ({"ipFamilyPolicy": "PreferDualStack"}, [4, 6]),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, [6, 4]),
        ({"ipFamilies": ["IPv6"]}, [6]),
        ({"clusterIP": "None"}, []),
        ({"type": "ExternalName", "externalName": "example.org"}, []),
        ({"clusterIP": "10.96.0.10", "ipFamilyPolicy": "PreferDualStack"}, [4, 6]),
        ({"clusterIPs": ["fd00:10:96::a"]}, [6]),
    ],
)
def test_services_get_addresses_of_their_families(
    spec: dict[str, Any], versions: list[int]
) -> None:
    found = loaded(service(**spec)).cluster.services["default", "web"]
    assert [address.version for address in found.cluster_ips] == versions
    for given_one in spec.get("clusterIPs", [spec.get("clusterIP")]):
        if given_one not in (None, "None"):
            assert ip_address(given_one) in found.cluster_ips


def test_a_single_stack_cluster_has_services_of_its_family() -> None:
    node = {"kind": "Node", "metadata": {"name": "n"}, "spec": {"podCIDRs": ["fd00:1::/64"]}}
    found = loaded(node, service(ipFamilyPolicy="PreferDualStack"))
    assert [a.version for a in found.cluster.services["default", "web"].cluster_ips] == [6]


def test_node_ports_are_given_where_they_are_missing() -> None:
    ports = [{"port": 53, "protocol": "UDP", "name": "u"}, {"port": 53, "name": "t"}]
    given_one = [{"port": 80, "nodePort": 30080}]
    both = loaded(
        service("dns", type="NodePort", ports=ports), service(type="NodePort", ports=given_one)
    )
    numbers = [port.node_port for port in both.cluster.services["default", "dns"].ports]
    assert numbers[0] == numbers[1]  # one number over two protocols
    assert 30000 <= numbers[0] < 32768
    assert both.cluster.services["default", "web"].ports[0].node_port == 30080
    without = loaded(service(type="LoadBalancer", allocateLoadBalancerNodePorts=False))
    assert without.cluster.services["default", "web"].ports[0].node_port == 0


def test_endpoints_are_the_pods_selected_with_named_ports_by_pod() -> None:
    old = workload("Deployment", "old")
    old["spec"]["template"]["metadata"]["labels"]["role"] = "web"
    new = copy.deepcopy(old)
    new["metadata"]["name"] = new["spec"]["template"]["metadata"]["labels"]["app"] = "new"
    new["spec"]["selector"] = {"matchLabels": {"app": "new"}}
    new["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090
    found = loaded(old, new, service(selector={"role": "web"}))
    held = {
        (slice_.ports[0][2], endpoint.address)
        for slice_ in found.cluster.slices.values()
        for endpoint in slice_.endpoints
    }
    pods = found.cluster.pods
    assert held == {
        (8080, pods["default", "old-0"].addresses[0]),
        (9090, pods["default", "new-0"].addresses[0]),
    }
    assert all(name.startswith("web-made") for _, name in found.cluster.slices)


def test_slices_that_are_written_or_nobodys_are_not_made() -> None:
    written = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "mine", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
    }
    found = loaded(service(), written, service("foreign", selector=None), workload("Deployment"))
    assert list(found.cluster.slices) == [("default", "mine")]


def test_only_pods_that_are_ready_are_endpoints_that_serve() -> None:
    unready = {
        "phase": "Running",
        "podIP": "10.9.8.7",
        "conditions": [{"type": "Ready", "status": "False"}],
    }
    done = {"phase": "Succeeded", "podIP": "10.9.8.8"}
    found = loaded(
        service(ports=[{"port": 80}]),
        pod("a", {"app": "web"}, unready),
        pod("b", {"app": "web"}, done),
    )
    (endpoint,) = [e for s in found.cluster.slices.values() for e in s.endpoints]
    assert endpoint.address == ip_address("10.9.8.7")
    assert not endpoint.ready


@pytest.mark.parametrize(
    ("version", "kind", "told"),
    [
        ("cilium.io/v2", "CiliumNetworkPolicy", "kind CiliumNetworkPolicy is not understood"),
        ("networking.k8s.io/v1", "Ingress", "kind Ingress is not understood"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "kind HTTPRoute is not understood"),
        ("projectcalico.org/v3", "NetworkPolicy", "kind NetworkPolicy (projectcalico.org)"),
        ("crd.projectcalico.org/v1", "GlobalNetworkPolicy", "kind GlobalNetworkPolicy"),
        ("serving.knative.dev/v1", "Service", "kind Service.serving.knative.dev may have pods"),
        ("v1", "ConfigMap", ""),
    ],
)
def test_what_is_not_understood_is_a_gap_if_it_decides_about_traffic(
    version: str, kind: str, told: str
) -> None:
    found = loaded({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}})
    assert not found.problems
    assert not found.cluster.services
    assert not found.cluster.network_policies
    assert bool(found.gaps) == bool(told)
    assert all(gap.startswith(told) for gap in found.gaps)


def test_twins_are_told_with_their_places_and_the_later_counts() -> None:
    found = loaded(pod("a", {"v": "1"}), pod("a", {"v": "2"}), pod("b", {}), pod("b", {}))
    (problem,) = found.problems
    assert str(problem).startswith("Pod/default/a: was already given in test.yaml:1")
    assert "test.yaml:2" in problem.message
    assert found.cluster.pods["default", "a"].labels == {"v": "2"}


def test_lists_are_opened_also_those_of_one_kind() -> None:
    some = {"kind": "List", "items": [pod("a", {}), None]}
    typed = {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "b"}}]}
    assert pod_names(loaded(some, typed)) == ["a", "b"]


@pytest.mark.parametrize("document", ["text", 7, ["a"], {"metadata": {"name": "x"}}, {"kind": 7}])
def test_what_is_no_object_is_a_gap_with_its_place(document: Any) -> None:
    (gap,) = loaded(document).gaps
    assert gap.startswith("test.yaml:1 ")


def test_names_are_made_of_generate_name() -> None:
    jobs = [workload("Job") | {"metadata": {"generateName": "run-"}} for _ in range(2)]
    found = loaded(*jobs)
    assert not found.problems
    assert {ref.name for ref in found.objects if ref.kind == "Job"} == {"run-0", "run-1"}


@pytest.mark.parametrize(
    ("distribution", "hints"),
    [
        (None, [((), ())]),
        ("PreferClose", [(("z",), ())]),
        ("PreferSameZone", [(("z",), ())]),
        ("PreferSameNode", [(("z",), ("n",))]),
    ],
)
def test_invented_slices_have_the_hints_of_the_services_traffic_distribution(
    distribution: str | None, hints: list[tuple[tuple[str, ...], tuple[str, ...]]]
) -> None:
    labels = {"topology.kubernetes.io/zone": "z"}
    node = {"kind": "Node", "metadata": {"name": "n", "labels": labels}}
    found = loaded(node, pod("a", {"app": "web"}), service(trafficDistribution=distribution))
    slices = found.cluster.slices_of(found.cluster.services["default", "web"])
    assert [
        (e.zones, e.nodes) for s in slices for e in s.endpoints if s.name == "web-made"
    ] == hints


@pytest.mark.parametrize("metadata", [None, {}, {"name": ""}, {"generateName": ""}])
def test_an_object_without_a_name_is_a_problem(metadata: Any) -> None:
    (problem,) = loaded({"kind": "Pod", "metadata": metadata}).problems
    assert problem.message == "has no name (test.yaml:1)"


DOCUMENTS = (
    workload("Deployment", replicas=2),
    workload("CronJob", "cron"),
    service(type="NodePort", ipFamilyPolicy="PreferDualStack"),
    pod("live", {"app": "web"}, {"phase": "Running", "podIP": "10.9.8.7"}, nodeName="n1"),
    {"kind": "Node", "metadata": {"name": "n2"}},
    {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}},
    {
        "kind": "NetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {"podSelector": {}, "ingress": [{}]},
    },
)

JUNK = st.sampled_from((None, True, 0, -1, 2**40, "", "x", [], [None], {}, {"x": 1}, [{}], [[1]]))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value inside another."""
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else ())
    )
    return [
        *([path] if path else ()),
        *(found for key, sub in inside for found in _paths(sub, (*path, key))),
    ]


@st.composite
def _spoiled(draw: st.DrawFn) -> list[Any]:
    """Documents of which one has junk in the place of some value."""
    documents = copy.deepcopy(list(DOCUMENTS))
    *way, last = draw(st.sampled_from(_paths(documents)))
    place: Any = documents
    for key in way:
        place = place[key]
    place[last] = draw(JUNK)
    return documents


@given(_spoiled())
def test_whatever_is_written_nothing_raises(documents: list[Any]) -> None:
    loaded(*documents)


@given(st.permutations(DOCUMENTS))
def test_the_order_of_documents_decides_nothing(documents: list[Any]) -> None:
    assert loaded(*documents).cluster == loaded(*DOCUMENTS).cluster


@given(st.sets(st.sampled_from(("web", "db", "cache", "front", "api-1")), min_size=1))
def test_what_is_added_moves_nothing_else(names: set[str]) -> None:
    both = [loaded(*(f(n) for n in more for f in (lambda n: workload("Deployment", n), service)))
            for more in (names, {*names, "another"})]  # fmt: skip
    before, after = (found.cluster for found in both)
    assert before.pods.items() <= after.pods.items()
    assert before.services.items() <= after.services.items()
    assert before.slices.items() <= after.slices.items()


def test_packets_find_their_way_in_a_cluster_that_is_invented() -> None:
    cluster = loaded(workload("Deployment", replicas=4), service()).cluster
    states, problems = compile_cluster(Settings(), cluster)
    assert not problems
    walker = Walker(cluster, states)
    pods = list(cluster.pods.values())
    ends = [
        walker.walk(Packet(a.addresses[i], b.addresses[i], "TCP", 5, 8080)).end.kind
        for a in pods
        for b in pods
        for i in (0, 1)
    ]
    assert set(ends) == {"pod"}
