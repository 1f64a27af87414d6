from typing import Any

import pytest

from steppe_lab.apiserver import kinds
from tests.apiserver.kinds.objects import (
    CONTEXT,
    NETWORKING,
    admitted,
    deployment,
    kind,
    pod,
    service,
)


def at(obj: Any, path: str) -> Any:
    for name in path.split("."):
        obj = obj[int(name)] if isinstance(obj, list) else obj.get(name)
    return obj


POD = [
    ("spec.restartPolicy", "Always"),
    ("spec.dnsPolicy", "ClusterFirst"),
    ("spec.terminationGracePeriodSeconds", 30),
    ("spec.schedulerName", "default-scheduler"),
    ("spec.securityContext", {}),
    ("spec.enableServiceLinks", True),
    ("spec.serviceAccountName", "default"),
    ("spec.containers.0.imagePullPolicy", "Always"),
    ("spec.containers.0.terminationMessagePath", "/dev/termination-log"),
    ("spec.containers.0.resources", {}),
    ("status.phase", "Pending"),
    ("status.qosClass", "BestEffort"),
]
DEPLOYMENT = [
    ("spec.replicas", 1),
    ("spec.strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}),
    ("spec.revisionHistoryLimit", 10),
    ("spec.progressDeadlineSeconds", 600),
    ("spec.template.spec.restartPolicy", "Always"),
    ("spec.template.spec.enableServiceLinks", None),
]
SERVICE = [
    ("spec.type", "ClusterIP"),
    ("spec.sessionAffinity", "None"),
    ("spec.internalTrafficPolicy", "Cluster"),
    ("spec.externalTrafficPolicy", None),
    ("spec.ports", [{"port": 80, "protocol": "TCP", "targetPort": 80}]),
    ("status.loadBalancer", {}),
]


@pytest.mark.parametrize(
    ("name", "group", "obj", "expected"),
    [
        ("Pod", "", pod(), POD),
        ("Deployment", "apps", deployment(), DEPLOYMENT),
        ("Service", "", service(), SERVICE),
        (
            "Secret",
            "",
            {"metadata": {"name": "s"}, "stringData": {"a": "b"}},
            [("type", "Opaque"), ("data", {"a": "Yg=="}), ("stringData", None)],
        ),
        (
            "Namespace",
            "",
            {"metadata": {"name": "n"}},
            [
                ("status.phase", "Active"),
                ("spec.finalizers", ["kubernetes"]),
                ("metadata.labels", {"kubernetes.io/metadata.name": "n"}),
            ],
        ),
        (
            "Node",
            "",
            {"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.0.0.0/24"]}},
            [("spec.podCIDR", "10.0.0.0/24")],
        ),
    ],
)
def test_what_is_filled_in(
    name: str, group: str, obj: dict[str, Any], expected: list[tuple[str, Any]]
) -> None:
    found = admitted(kind(name, group), obj)
    for path, value in expected:
        got = at(found, path)
        if path == "spec.strategy":
            value = {**value, "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}  # noqa: PLW2901
        assert got == value, path


@pytest.mark.parametrize("spec", [{"type": "NodePort"}, {"type": "LoadBalancer"}])
def test_external_services_get_a_traffic_policy(spec: dict[str, Any]) -> None:
    assert admitted(kind("Service"), service(**spec))["spec"]["externalTrafficPolicy"] == "Cluster"


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_policy_types_follow_the_rules(spec: dict[str, Any], types: list[str]) -> None:
    obj = {"metadata": {"name": "p"}, "spec": {"podSelector": {}, **spec}}
    assert admitted(kind("NetworkPolicy", NETWORKING), obj)["spec"]["policyTypes"] == types


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    obj = pod(containers=[{"name": "c", "image": image}])
    assert admitted(kind("Pod"), obj)["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], qos: str) -> None:
    obj = pod(containers=[{"name": "c", "image": "nginx", "resources": resources}])
    assert admitted(kind("Pod"), obj)["status"]["qosClass"] == qos


def test_defaulting_twice_changes_nothing() -> None:
    for name, group, obj in (
        ("Pod", "", pod()),
        ("Deployment", "apps", deployment()),
        ("Service", "", service(type="LoadBalancer")),
    ):
        once = admitted(kind(name, group), obj)
        again = kinds.admit_update(kind(name, group), once, once, "", CONTEXT)
        assert (again.object, again.errors) == (once, [])


def test_status_and_spec_are_kept_apart() -> None:
    pods = kind("Pod")
    old = admitted(pods, pod() | {"status": {"phase": "Running"}})
    assert old["status"]["phase"] == "Pending", "a creator does not set status"
    running = kinds.admit_update(
        pods, old, {**old, "spec": {}, "status": {"podIP": "10.0.0.1"}}, "status", CONTEXT
    ).object
    assert running["spec"] == old["spec"]
    assert running["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    after = kinds.admit_update(pods, running, {**old, "status": {}}, "", CONTEXT).object
    assert after["status"] == running["status"]


def test_a_service_keeps_what_was_allocated() -> None:
    services = kind("Service")
    old = admitted(services, service(type="NodePort"))
    old["spec"] |= {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"]}
    old["spec"]["ports"][0]["nodePort"] = 30080
    same = kinds.admit_update(services, old, service(type="NodePort"), "", CONTEXT)
    assert same.errors == []
    assert same.object["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert same.object["spec"]["ports"][0]["nodePort"] == 30080
    inside = {**old, "spec": {**old["spec"], "type": "ClusterIP"}}
    found = kinds.admit_update(services, old, inside, "", CONTEXT)
    assert found.errors == []
    assert "nodePort" not in found.object["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in found.object["spec"]
