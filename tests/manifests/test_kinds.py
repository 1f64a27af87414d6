"""Kinds beside those that Steppe judges: read all the same, or named and not judged."""

from typing import Any

import pytest
import yaml

from steppe.explain.explain import Explainer
from steppe.lint.lint import lint
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest

PODS = """
{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: b, labels: {team: b}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: a}, spec: {containers: [{name: c}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: y, namespace: b}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 80}, {containerPort: 90}]}]}
---
"""
ADMIN = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\n"
BASELINE = ADMIN.replace("Admin", "BaselineAdmin")
SUBJECT = "subject: {namespaces: {matchLabels: {team: b}}}"
PEER = "{namespaces: {matchLabels: {team: a}}}"
TCP_80 = "{portNumber: {protocol: TCP, port: 80}}"
OPEN = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
OPEN += "metadata: {name: open, namespace: b}\nspec: {podSelector: {}, ingress: [{}]}\n"


def load(text: str) -> Loaded:
    return loaded_from(map(Manifest, yaml.safe_load_all(text)))


def answers(text: str, *ports: int) -> list[str]:
    explainer = Explainer(load(PODS + text).cluster)
    return [explainer.explain(explainer.flow("a/x", "b/y", str(port))[0]).kind for port in ports]


def admin(rule: str, priority: int = 10) -> str:
    return (
        f"{ADMIN}metadata: {{name: n{priority}}}\n"
        f"spec: {{priority: {priority}, {SUBJECT}, ingress: [{rule}]}}\n"
    )


def baseline(rule: str) -> str:
    return f"{BASELINE}metadata: {{name: default}}\nspec: {{{SUBJECT}, ingress: [{rule}]}}\n"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (admin(f"{{action: Deny, from: [{PEER}]}}"), ["denied", "denied"]),
        (admin(f"{{action: Allow, from: [{PEER}]}}"), ["allowed", "allowed"]),
        (
            admin(f"{{action: Deny, from: [{PEER}], ports: [{TCP_80}]}}"),
            ["denied", "allowed"],
        ),
        (
            admin(f"{{action: Deny, from: [{PEER}], ports: [{{namedPort: web}}]}}"),
            ["denied", "allowed"],
        ),
        (
            admin(
                f"{{action: Deny, from: [{PEER}], ports: [{{portRange: {{start: 85, end: 95}}}}]}}"
            ),
            ["allowed", "denied"],
        ),
        # Lower priorities are asked first.
        (
            admin(f"{{action: Allow, from: [{PEER}]}}", 1)
            + "---\n"
            + admin(f"{{action: Deny, from: [{PEER}]}}", 2),
            ["allowed", "allowed"],
        ),
        # Pass leaves it to the tiers behind.
        (
            admin(f"{{action: Pass, from: [{PEER}]}}", 1)
            + "---\n"
            + admin(f"{{action: Deny, from: [{PEER}]}}", 2),
            ["allowed", "allowed"],
        ),
        (baseline(f"{{action: Deny, from: [{PEER}]}}"), ["denied", "denied"]),
        (baseline(f"{{action: Deny, from: [{PEER}]}}") + OPEN, ["allowed", "allowed"]),
        (admin(f"{{action: Deny, from: [{PEER}]}}") + OPEN, ["denied", "denied"]),
        # What is not understood fails closed: Accept is the newer kind's word.
        (admin(f"{{action: Accept, from: [{PEER}]}}"), ["denied", "denied"]),
        (
            admin(f"{{action: Deny, from: [{PEER}], ports: [{{portNumber: {{port: 80}}}}]}}"),
            ["denied", "denied"],
        ),
    ],
)
def test_admin_policies_are_judged_by_their_tier_and_priority(text: str, kinds: list[str]) -> None:
    assert answers(text, 80, 90) == kinds


def test_an_admin_policy_is_called_by_its_own_kind() -> None:
    explainer = Explainer(load(PODS + admin(f"{{action: Deny, from: [{PEER}]}}")).cluster)
    said = explainer.explain(explainer.flow("a/x", "b/y", "80")[0])
    assert "AdminNetworkPolicy n10" in said.verdict


@pytest.mark.parametrize("version", ["v1alpha2", "v1beta1"])
def test_cluster_policies_of_both_versions_are_judged(version: str) -> None:
    head = f"apiVersion: policy.networking.k8s.io/{version}\nkind: ClusterNetworkPolicy\n"
    rule = f"{{name: r, action: Deny, from: [{PEER}]}}"
    spec = f"{{tier: Admin, priority: 1, {SUBJECT}, ingress: [{rule}]}}"
    assert answers(f"{head}metadata: {{name: c}}\nspec: {spec}\n", 80) == ["denied"]


def test_equal_priorities_are_told_to_leave_the_order_open() -> None:
    twice = [admin(f"{{action: Deny, from: [{PEER}]}}").replace("n10", name) for name in "ab"]
    (gap,) = load(PODS + "---\n".join(twice)).gaps
    assert gap.startswith("AdminNetworkPolicy/a and AdminNetworkPolicy/b have one priority (10)")
    assert not load(PODS + admin("{action: Deny}", 1) + "---\n" + admin("{action: Deny}", 2)).gaps


@pytest.mark.parametrize(("priority", "covered"), [(10, False), (11, True)])
def test_of_equal_priorities_none_is_called_void(priority: int, covered: bool) -> None:
    policies = [
        admin(f"{{action: Deny, from: [{PEER}]}}", number).replace(f"n{number}", name)
        for name, number in (("a", 10), ("b", priority))
    ]
    found = lint(load(PODS + "---\n".join(policies)))
    assert ("already-covered" in {each.check for each in found}) == covered


NOT_JUDGED = (
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
    ("crd.projectcalico.org/v1", "NetworkPolicy"),
    ("projectcalico.org/v3", "GlobalNetworkPolicy"),
    ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("networking.istio.io/v1", "VirtualService"),
    ("k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy"),
    ("k8s.ovn.org/v1", "UserDefinedNetwork"),
    ("k8s.ovn.org/v1", "ClusterUserDefinedNetwork"),
    ("k8s.ovn.org/v1", "EgressFirewall"),
    ("route.openshift.io/v1", "Route"),
    ("networking.k8s.io/v1", "Ingress"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
)


@pytest.mark.parametrize(("version", "kind"), NOT_JUDGED)
def test_what_decides_and_is_not_judged_is_named(version: str, kind: str) -> None:
    found = load(f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: x, namespace: d}}}}")
    (gap,) = found.gaps
    assert gap.startswith(f"kind {kind}")
    assert "is not understood (d/x): what it allows or denies is not in this answer" in gap


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("v1", "ConfigMap"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("cert-manager.io/v1", "Certificate"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ],
)
def test_what_has_nothing_to_do_with_traffic_is_not_told(version: str, kind: str) -> None:
    assert not load(f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: x}}}}").gaps


MIRRORED: tuple[tuple[dict[str, Any], bool], ...] = (
    ({}, True),
    ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, False),
    ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, False),
)


@pytest.mark.parametrize(("metadata", "mirrored"), MIRRORED)
def test_endpoints_are_mirrored_for_services_that_select_no_pods(
    metadata: dict[str, Any], mirrored: bool
) -> None:
    ports = [{"name": "pg", "port": 5433}]
    subset = {"addresses": [{"ip": "198.51.100.1"}, {"ip": "2001:db8::1"}], "ports": ports}
    waiting = {"notReadyAddresses": [{"ip": "198.51.100.2"}], "ports": ports}
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "db", "namespace": "a"} | metadata,
        "subsets": [subset, waiting],
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db", "namespace": "a"},
        "spec": {"ports": [{"name": "pg", "port": 5432}]},
    }
    found = loaded_from(map(Manifest, (service, endpoints)))
    slices = found.cluster.slices_of(found.cluster.services["a", "db"])
    addresses = {(str(e.address), e.ready) for s in slices for e in s.endpoints}
    wanted = {("198.51.100.1", True), ("2001:db8::1", True), ("198.51.100.2", False)}
    assert addresses == (wanted if mirrored else set())
    assert all(slice_.ports == (("pg", "TCP", 5433),) for slice_ in slices)
