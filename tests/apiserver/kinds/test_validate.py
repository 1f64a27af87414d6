import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from steppe_lab.apiserver import kinds
from tests.apiserver.kinds.objects import (
    CONTEXT,
    NETWORKING,
    admitted,
    deployment,
    errors,
    kind,
    pod,
    service,
    update_errors,
)

CASES = json.loads((Path(__file__).parents[2] / "data/netpol-validation.json").read_text())["cases"]
REFUSED = yaml.safe_load(Path(__file__).with_name("refused.yaml").read_text())


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"podSelector": {}, **spec}}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["description"])
def test_network_policies_are_judged_as_the_api_server_does(case: dict[str, Any]) -> None:
    found = errors(kind("NetworkPolicy", NETWORKING), case["manifest"])
    assert bool(found) is (case["expect"] == "reject"), found


@pytest.mark.parametrize(
    "rule",
    [
        {"ports": [{"port": 80, "endPort": 90}]},
        {"ports": [{"port": "http", "protocol": "SCTP"}]},
        {"ports": [{}]},
        {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
        {"to": [{"ipBlock": {"cidr": "fd00::/16", "except": ["fd00:1::/32"]}}]},
        {"to": [{"podSelector": {}, "namespaceSelector": {"matchLabels": {"a": "b"}}}]},
        {},
    ],
)
def test_valid_network_policies(rule: dict[str, Any]) -> None:
    assert errors(kind("NetworkPolicy", NETWORKING), policy(egress=[rule])) == []


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case['kind']} {case['field']}")
def test_what_is_refused(case: dict[str, Any]) -> None:
    found = errors(kind(case["kind"], case.get("group", "")), case["object"])
    assert [at for at, text in found if case["message"] in text] == [case["field"]], found


@pytest.mark.parametrize(("families", "fits"), [(("IPv4", "IPv6"), True), (("IPv4",), False)])
def test_families_must_be_the_clusters(families: tuple[str, ...], fits: bool) -> None:
    context = kinds.Context(families=families)
    obj = service(ipFamilies=["IPv6"])
    assert (kinds.admit_create(kind("Service"), obj, context).errors == []) is fits


IMMUTABLE: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    ("Pod", "", pod(), pod(nodeName="n"), "spec"),
    (
        "Deployment",
        "apps",
        deployment(),
        deployment(selector={"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
        "spec.selector",
    ),
    (
        "ConfigMap",
        "",
        {"metadata": {"name": "c"}, "immutable": True, "data": {"a": "b"}},
        {"metadata": {"name": "c"}, "immutable": True, "data": {"a": "c"}},
        "data",
    ),
    (
        "Service",
        "",
        service(clusterIP="10.0.0.1"),
        service(clusterIP="10.0.0.2"),
        "spec.clusterIPs[0]",
    ),
    (
        "Node",
        "",
        {"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.0.0.0/24"]}},
        {"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.0.1.0/24"]}},
        "spec.podCIDRs",
    ),
    ("Secret", "", {"metadata": {"name": "s"}}, {"metadata": {"name": "s"}, "type": "a/b"}, "type"),
    (
        "EndpointSlice",
        "discovery.k8s.io",
        {"metadata": {"name": "e"}, "addressType": "IPv4"},
        {"metadata": {"name": "e"}, "addressType": "IPv6"},
        "addressType",
    ),
]


@pytest.mark.parametrize(("name", "group", "old", "new", "field"), IMMUTABLE)
def test_what_may_not_change(
    name: str, group: str, old: dict[str, Any], new: dict[str, Any], field: str
) -> None:
    assert [at for at, _ in update_errors(kind(name, group), old, new)] == [field]
    assert update_errors(kind(name, group), old, old) == []


def test_a_pod_may_get_another_image_and_be_bound() -> None:
    image = pod(containers=[{"name": "c", "image": "nginx:2", "imagePullPolicy": "Always"}])
    assert update_errors(kind("Pod"), pod(), image) == []
    assert update_errors(kind("Pod"), pod(), pod(nodeName="n"), "binding") == []


def test_a_node_without_prefixes_may_get_them() -> None:
    new = {"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.0.1.0/24", "fd00::/64"]}}
    assert update_errors(kind("Node"), {"metadata": {"name": "n"}}, new) == []


def test_a_clusters_usual_objects_are_accepted() -> None:
    for name, group, obj in (
        (
            "Endpoints",
            "",
            {
                "metadata": {"name": "e"},
                "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}],
            },
        ),
        (
            "Event",
            "",
            {
                "metadata": {"name": "e", "namespace": "default"},
                "involvedObject": {"kind": "Node", "name": "n"},
            },
        ),
        (
            "Lease",
            "coordination.k8s.io",
            {"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}},
        ),
        (
            "ClusterRole",
            "rbac.authorization.k8s.io",
            {"metadata": {"name": "system:x"}, "rules": []},
        ),
        (
            "Job",
            "batch",
            {
                "metadata": {"name": "j"},
                "spec": {"template": {"spec": {**pod()["spec"], "restartPolicy": "Never"}}},
            },
        ),
    ):
        admitted(kind(name, group), obj)
    assert kinds.admit_create(kind("Service"), service(), CONTEXT).warnings == []
