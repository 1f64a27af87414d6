"""What hangs on objects that cannot be read, and on what manifests do not say."""

import pytest
import yaml

from steppe.kube.doubt import AddressInDoubt, EndpointsInDoubt, PoliciesInDoubt
from steppe.manifests.api_service import with_api_service
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest

BASE = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: d, labels: {app: web}}
spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: d}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: d}
spec: {selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: d}
spec: {ports: [{port: 80}]}
---
"""
POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: d}\n"
)
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db, namespace: d}\n"
CUSTOM = "apiVersion: {0}\nkind: {1}\nmetadata: {{name: x, namespace: {2}}}\nspec: {3}\n"
NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDRs: [10.42.0.0/24]}\n---\n"


def load(text: str) -> Loaded:
    return loaded_from(Manifest(d, f"x:{n}") for n, d in enumerate(yaml.safe_load_all(text)))


def policies(found: Loaded) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (str(each.about.pods.pods), each.about.pods.within, each.about.directions)
        for each in found.cluster.doubts
        if isinstance(each.about, PoliciesInDoubt)
    ]


def endpoints(found: Loaded) -> set[str]:
    doubts = found.cluster.doubts
    return {d.about.service for d in doubts if isinstance(d.about, EndpointsInDoubt)}


BOTH = ("ingress", "egress")


@pytest.mark.parametrize(
    ("spec", "pods", "directions"),
    [
        ("{podSelector: {matchLabels: {app: web}}, ingress: {}}", "app=web", ("ingress",)),
        ("{podSelector: {matchLabels: {app: web}}, egress: [{from: []}]}", "app=web", BOTH),
        (
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{form: []}]}",
            "app=web",
            ("egress",),
        ),
        ("{podSelector: {matchLabels: {app: web}}, ingres: []}", "app=web", BOTH),
        ("{podselector: {matchLabels: {app: web}}}", "everything", BOTH),
        ("{podSelector: {matchLabel: {app: web}}}", "everything", ("ingress",)),
        ("[]", "everything", BOTH),
    ],
)
def test_a_policy_that_is_refused_puts_in_doubt_what_it_may_select(
    spec: str, pods: str, directions: tuple[str, ...]
) -> None:
    found = load(f"{BASE}{POLICY}spec: {spec}\n")
    assert policies(found) == [(pods, "d", directions)]
    assert "it cannot be counted on" in found.cluster.doubts[0].text
    closed = found.cluster.network_policies["d", "p"]
    assert not closed.ingress
    assert not closed.egress
    assert closed.isolates == frozenset(directions)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ("{namespace: d}", "has no name (x:4)"),
        ("{name: '', namespace: d}", "has no name (x:4)"),
        # In the YAML of Kubernetes' tools `name: n` is false.
        ("{name: false, namespace: d}", "has no name: n, no, off and false are no texts in YAML"),
    ],
)
def test_policies_without_a_name_put_in_doubt_what_they_may_select(metadata: str, why: str) -> None:
    nameless = POLICY.replace("{name: p, namespace: d}", metadata)
    one = f"{BASE}{nameless}spec: {{podSelector: {{matchLabels: {{app: web}}}}}}\n"
    found = load(f"{one}---\n{nameless}spec: {{podSelector: {{}}, policyTypes: [Egress]}}\n")
    assert policies(found) == [("app=web", "d", ("ingress",)), ("everything", "d", ("egress",))]
    assert found.problems[0].message.startswith(why)


def test_a_cluster_policy_that_is_refused_puts_every_pod_in_doubt() -> None:
    text = "apiVersion: policy.networking.k8s.io/v1beta1\nkind: ClusterNetworkPolicy\n"
    found = load(f"{BASE}{text}metadata: {{name: c}}\nspec: {{tier: Admin}}\n")
    assert policies(found) == [("everything", "", BOTH)]
    (closed,) = found.cluster.cluster_policies.values()
    assert [rule.action for rule in (*closed.ingress, *closed.egress)] == ["Deny", "Deny"]


@pytest.mark.parametrize("version", ["v1", "extensions/v1beta1", "networking.k8s.io/v1beta1"])
def test_a_policy_of_a_version_that_is_not_served_is_refused(version: str) -> None:
    text = POLICY.replace("networking.k8s.io/v1", version)
    found = load(f"{BASE}{text}spec: {{podSelector: {{matchLabels: {{app: web}}}}}}\n")
    assert policies(found) == [("app=web", "d", BOTH)]
    assert "write networking.k8s.io/v1" in str(found.problems[0])


def test_a_policy_that_can_be_read_puts_nothing_in_doubt() -> None:
    assert not load(f"{BASE}{POLICY}spec: {{podSelector: {{}}}}\n").cluster.doubts


@pytest.mark.parametrize(
    ("text", "services"),
    [
        # A workload's template says which Services it may be behind.
        (DEPLOYMENT + "spec: {template: {metadata: {labels: {app: db}}, spec: {x: 1}}}", {"db"}),
        (DEPLOYMENT + "spec: {template: {spec: {}}}", {"web", "db"}),
        (DEPLOYMENT + "spec: []", {"web", "db"}),
        # A kind that makes pods is behind those that have none.
        (CUSTOM.format("monitoring.coreos.com/v1", "Prometheus", "d", "{}"), {"db"}),
        (CUSTOM.format("argoproj.io/v1alpha1", "Rollout", "d", "{}"), {"db"}),
        (CUSTOM.format("apps.openshift.io/v1", "DeploymentConfig", "d", "{}"), {"db"}),
        (CUSTOM.format("serving.knative.dev/v1", "Service", "d", "{}"), {"db"}),
        (CUSTOM.format("kubevirt.io/v1", "VirtualMachine", "d", "{}"), {"db"}),
        (
            CUSTOM.format("own.example/v1", "App", "d", "{template: {spec: {containers: []}}}"),
            {"db"},
        ),
        (
            CUSTOM.format(
                "argoproj.io/v1alpha1", "Application", "argocd", "{destination: {namespace: d}}"
            ),
            {"db"},
        ),
        # Old API versions are no longer served.
        (CUSTOM.format("apps/v1beta1", "Deployment", "d", "{}"), {"web", "db"}),
        (CUSTOM.format("extensions/v1beta1", "DaemonSet", "d", "{}"), {"web", "db"}),
        (CUSTOM.format("v1", "Deployment", "d", "{}"), {"web", "db"}),
        # Endpoints of a Service that selects none.
        (CUSTOM.format("v1", "Endpoints", "d", "{}").replace("name: x", "name: far"), {"far"}),
        # What is elsewhere, or makes no pods, is no reason for doubt.
        (CUSTOM.format("argoproj.io/v1alpha1", "Rollout", "other", "{}"), set()),
        (CUSTOM.format("own.example/v1", "App", "d", "{template: {text: x}}"), set()),
        (CUSTOM.format("cert-manager.io/v1", "Certificate", "d", "{}"), set()),
    ],
)
def test_pods_that_are_not_known_put_endpoints_in_doubt(text: str, services: set[str]) -> None:
    assert endpoints(load(BASE + text)) == services


def test_kinds_that_make_pods_are_named() -> None:
    found = load(BASE + CUSTOM.format("argoproj.io/v1alpha1", "Rollout", "d", "{}"))
    assert found.gaps == ("kind Rollout may have pods that are not in this answer (d/x)",)
    assert "Rollout" in found.pods_unknown("d")
    assert not found.pods_unknown("other")


@pytest.mark.parametrize(
    ("node", "cidr", "unsure"),
    [
        ("", "10.42.0.0/16", True),
        ("", "10.128.0.0/9", True),
        ("", "0.0.0.0/0", False),
        (NODE, "10.42.0.0/16", False),
        (NODE, "192.168.0.0/16", False),
        (NODE, "10.42.0.0/28", True),
    ],
)
def test_invented_addresses_are_in_doubt_where_a_block_may_hold_them(
    node: str, cidr: str, unsure: bool
) -> None:
    rule = f"ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]"
    found = load(f"{node}{BASE}{POLICY}spec: {{podSelector: {{}}, {rule}}}\n")
    doubted = {d.about.pod for d in found.cluster.doubts if isinstance(d.about, AddressInDoubt)}
    assert doubted == ({"web"} if unsure else set())


def test_addresses_that_a_server_gave_are_not_in_doubt() -> None:
    status = "status: {phase: Running, podIP: 10.1.0.5, podIPs: [{ip: 10.1.0.5}]}\n---\n"
    rule = "ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16}}]}]"
    base = BASE.replace("{containerPort: 80}]}]}\n---\n", "{containerPort: 80}]}]}\n" + status)
    found = load(f"{base}{POLICY}spec: {{podSelector: {{}}, {rule}}}\n")
    assert not found.cluster.doubts


@pytest.mark.parametrize(
    ("asked", "assumed"),
    [
        ("svc/default/kubernetes:443", True),
        ("https://kubernetes.default.svc", True),
        ("kubernetes.default.svc.cluster.local", True),
        ("svc/d/kubernetes", False),
        ("d/web", False),
    ],
)
def test_the_apis_service_is_assumed_where_it_is_asked_for(asked: str, assumed: bool) -> None:
    found = with_api_service(load(BASE), [asked])
    assert (("default", "kubernetes") in found.cluster.services) == assumed
    assert endpoints(found) == ({"kubernetes"} if assumed else set())
