"""The words of explain: they answer what was asked, and name whom policies see."""

import pytest
import yaml

from steppe.explain.explain import Explainer
from steppe.explain.model import Explanation
from steppe.explain.sentences import duration
from steppe.explain.tables import explainer_of
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest
from steppe.settings import Settings

WORLD = """
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24, "fd00:1::/64"]}
status:
  addresses: [{type: InternalIP, address: 192.0.2.11}, {type: InternalIP, address: "2001:db8::11"}]
---
kind: Node
metadata: {name: n2}
spec: {podCIDRs: [10.244.2.0/24, "fd00:2::/64"]}
status:
  addresses: [{type: InternalIP, address: 192.0.2.12}, {type: InternalIP, address: "2001:db8::12"}]
---
kind: Pod
metadata: {name: a, namespace: d, labels: {app: s}}
spec: {nodeName: n1, containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
status: {phase: Running, podIP: 10.244.1.5, podIPs: [{ip: 10.244.1.5}]}
---
kind: Pod
metadata: {name: c, namespace: d, labels: {app: c}}
spec: {nodeName: n1, containers: [{name: c, image: x}]}
"""


def loaded(*more: str) -> Loaded:
    documents = (d for text in (WORLD, *more) for d in yaml.safe_load_all(text))
    return loaded_from(Manifest(document) for document in documents)


def explained(*words: str, more: tuple[str, ...] = ()) -> Explanation:
    explainer = Explainer(loaded(*more).cluster)
    flow, notes = explainer.flow(*words)
    return explainer.explain(flow, notes=notes)


def service(spec: str, status: str = "") -> str:
    return f"kind: Service\nmetadata: {{name: s, namespace: d}}\nspec: {spec}\n{status}"


def test_a_pod_that_asks_for_itself_reads_itself() -> None:
    assert explained("d/a", "d/a:80").verdict == "d/a reaches itself on TCP 80."


def test_a_family_without_an_endpoint_is_named() -> None:
    dual = service(
        "{clusterIPs: [10.96.1.1, 'fd00:96::1'], clusterIP: 10.96.1.1, selector: {app: s}, "
        "ports: [{port: 80}]}"
    )
    said = explained("d/c", "svc/d/s", more=(dual,))
    assert said.kind == "partly"
    assert "by IPv4, not by IPv6" in said.verdict
    assert "Service d/s has no IPv6 endpoint, only IPv4 ones" in said.verdict


def test_a_slice_whose_port_has_another_name_is_named() -> None:
    slice_ = (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
        "metadata: {name: s-1, namespace: d, labels: {kubernetes.io/service-name: s}}\n"
        "ports: [{name: other, port: 80}]\nendpoints: [{addresses: [10.244.1.5]}]\n"
    )
    said = explained("d/c", "svc/d/s", more=(service("{ports: [{port: 80}]}"), slice_))
    assert "the ports of EndpointSlice d/s-1 have another name" in said.verdict


def test_with_affinity_the_choice_is_the_same_each_time() -> None:
    other = WORLD.split("---\n")[2].replace("name: a,", "name: b,").replace("1.5", "1.6")
    sticky = service("{sessionAffinity: ClientIP, selector: {app: s}, ports: [{port: 80}]}")
    said = explained("d/c", "svc/d/s", more=(other, sticky))
    assert "by the same endpoint each time (ClientIP affinity, kept for 3 hours)" in said.verdict


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(10800, "3 hours"), (3600, "1 hour"), (600, "10 minutes"), (90, "90 seconds")],
)
def test_a_duration_is_exact_in_its_largest_unit(seconds: int, text: str) -> None:
    assert duration(seconds) == text


GUARD = (
    "kind: NetworkPolicy\nmetadata: {name: p, namespace: d}\nspec: {podSelector: {matchLabels: "
    "{app: s}}, ingress: [{from: [{ipBlock: {cidr: 198.51.100.0/28}}]}]}\n"
)


def test_the_sender_that_policies_see_is_named_and_local_is_the_cure() -> None:
    out = service("{type: NodePort, selector: {app: s}, ports: [{port: 80, nodePort: 30080}]}")
    other = WORLD.split("---\n")[2].replace("name: a,", "name: b,").replace("1.5", "2.6")
    second = other.replace("nodeName: n1", "nodeName: n2")
    said = explained("198.51.100.10", "svc/d/s", more=(out, GUARD, second))
    assert "a node's address, 192.0.2.11, which replaces 198.51.100.10" in said.verdict
    assert any("set externalTrafficPolicy: Local in Service d/s" in c.text for c in said.changes)


def test_a_load_balancers_host_name_is_its_service() -> None:
    status = "status: {loadBalancer: {ingress: [{hostname: lb.example.org}]}}\n"
    spec = "{type: LoadBalancer, selector: {app: s}, ports: [{port: 80, nodePort: 30080}]}"
    said = explained("internet", "http://LB.example.org", more=(service(spec, status),))
    assert said.verdict.startswith("internet reaches svc/d/s on TCP 80")
    assert "to which its load balancer lb.example.org leads" in said.verdict


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("d/a:80", "1450 bytes: the link of d/c takes no more"),
        ("198.51.100.1:80", "1450 bytes: the link of d/c takes no more"),
    ],
)
def test_the_mtu_is_that_of_the_link_which_is_met(to: str, said: str) -> None:
    explainer = explainer_of(loaded().cluster, Settings(fabric="vxlan"))
    flow, _ = explainer.flow("d/c", to)
    (case, *_) = explainer.explain(flow).cases
    mtu = case.paths[0].mtu
    assert mtu is not None
    assert f"{mtu.bytes} bytes: {mtu.text}" == said


def test_between_nodes_the_nodes_own_link_is_the_reason_where_it_is_as_small() -> None:
    """Pods' links take what their node's link takes: the cure is there."""
    there = WORLD.split("---\n")[2].replace("name: a,", "name: b,").replace("1.5", "2.6")
    world = loaded(there.replace("nodeName: n1", "nodeName: n2"))
    explainer = explainer_of(world.cluster, Settings(fabric="direct"))
    flow, _ = explainer.flow("d/c", "d/b:80")
    (case, *_) = explainer.explain(flow).cases
    mtu = case.paths[0].mtu
    assert mtu is not None
    assert (mtu.bytes, mtu.text) == (1500, "eth0 of n1 takes no more")
