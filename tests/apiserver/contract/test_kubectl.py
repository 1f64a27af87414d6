"""What people type: the kubectl verbs against a running server."""

import json
import subprocess
import time
from ipaddress import ip_network
from typing import Any

import pytest

from steppe_lab.manifests import DEFINITIONS
from tests.apiserver.cluster import Kubectl
from tests.apiserver.contract.http import fresh

NAMESPACE = fresh("kubectl")

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
spec:
  replicas: 2
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers:
      - {name: web, image: "echo:1", ports: [{containerPort: 80}]}
      - {name: side, image: "pause"}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {nodeName: node-a, containers: [{name: main, image: pause}]}
"""
WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              color: {type: string, default: red}
          status: {type: object, properties: {size: {type: integer}}}
  - name: v1alpha1
    served: true
    storage: false
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
WIDGET = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: 3}
"""


def get(kubectl: Kubectl, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", *what, "-o", "json"))
    return found


def test_a_new_cluster_has_its_namespaces_and_its_service(kubectl: Kubectl) -> None:
    names = kubectl("get", "ns", "-o", "name").split()
    assert {"namespace/default", "namespace/kube-system"} <= set(names)
    table = kubectl("-n", "default", "get", "service", "kubernetes", "-o", "wide")
    assert table.split()[:3] == ["NAME", "TYPE", "CLUSTER-IP"]


def test_the_service_of_the_api_has_the_first_address(kubectl: Kubectl) -> None:
    ranges = get(kubectl, "servicecidr", "kubernetes")["spec"]["cidrs"]
    found = get(kubectl, "-n", "default", "service", "kubernetes")["spec"]["clusterIP"]
    assert found == str(ip_network(ranges[0])[1])


def test_apply_changes_only_what_changed_in_the_manifest(kubectl: Kubectl) -> None:
    manifest = DEPLOYMENT.replace("NAME", "applied")
    assert "created" in kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("scale", "deployment", "applied", "--replicas=5")
    kubectl("label", "deployment", "applied", "team=blue")
    changed = manifest.replace("echo:1", "echo:2").replace("  replicas: 2\n", "")
    assert "configured" in kubectl("apply", "-f", "-", stdin=changed)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=changed)
    spec = get(kubectl, "deployment", "applied")["spec"]
    web, side = spec["template"]["spec"]["containers"]
    assert (web["image"], side["image"]) == ("echo:2", "pause")
    assert web["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert get(kubectl, "deployment", "applied")["metadata"]["labels"] == {"team": "blue"}
    without = changed.replace('      - {name: side, image: "pause"}\n', "")
    kubectl("apply", "-f", "-", stdin=without)
    spec = get(kubectl, "deployment", "applied")["spec"]
    assert [item["name"] for item in spec["template"]["spec"]["containers"]] == ["web"]


def test_server_side_apply_owns_shares_and_conflicts(kubectl: Kubectl) -> None:
    manifest = DEPLOYMENT.replace("NAME", "ssa")
    kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    kubectl("scale", "deployment", "ssa", "--replicas=7")
    message = kubectl.refused("apply", "--server-side", "-f", "-", stdin=manifest)
    assert 'conflict with "kubectl" with subresource "scale"' in message
    assert ".spec.replicas" in message
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    assert get(kubectl, "deployment", "ssa")["spec"]["replicas"] == 2
    # What is no longer listed, and nobody else owns, goes.
    without = manifest.replace('      - {name: side, image: "pause"}\n', "")
    kubectl("apply", "--server-side", "-f", "-", stdin=without)
    spec = get(kubectl, "deployment", "ssa")["spec"]
    assert [item["name"] for item in spec["template"]["spec"]["containers"]] == ["web"]


def test_label_annotate_patch_and_replace(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POD.replace("NAME", "edited"))
    kubectl("label", "pod", "edited", "a=b", "c=d")
    kubectl("label", "pod", "edited", "a-")
    kubectl("annotate", "pod", "edited", "note=yes")
    kubectl("patch", "pod", "edited", "--type=merge", "-p", '{"metadata":{"labels":{"x":"y"}}}')
    operations = '[{"op":"add","path":"/metadata/labels/z","value":"1"}]'
    kubectl("patch", "pod", "edited", "--type=json", "-p", operations)
    pod = get(kubectl, "pod", "edited")
    assert pod["metadata"]["labels"] == {"c": "d", "x": "y", "z": "1"}
    pod["metadata"]["labels"] = {"new": "only"}
    kubectl("replace", "-f", "-", stdin=json.dumps(pod))
    assert "edited" in kubectl("get", "pods", "-l", "new=only,!x", "-o", "name")
    # The version that was replaced is stale now.
    assert "the object has been modified" in kubectl.refused(
        "replace", "-f", "-", stdin=json.dumps(pod)
    )
    kubectl("delete", "pod", "edited", "--force", "--grace-period=0")


def test_a_watch_shows_what_happens(kubectl: Kubectl) -> None:
    with subprocess.Popen(
        kubectl.command(
            *("get", "configmaps", "-w", "--no-headers", "--output-watch-events"),
            "--field-selector=metadata.name=watched",
        ),
        stdout=subprocess.PIPE,
        text=True,
        env=kubectl.environment(),
    ) as watcher:
        assert watcher.stdout is not None
        try:
            kubectl("create", "-f", "-", stdin=json.dumps(config_map("watched")))
            kubectl("delete", "configmap", "watched")
            seen = [watcher.stdout.readline().split()[:2] for _ in range(2)]
        finally:
            watcher.terminate()
    assert seen == [["ADDED", "watched"], ["DELETED", "watched"]]


def config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


def test_wait_sees_conditions_and_deletion(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POD.replace("NAME", "waited"))
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    kubectl("patch", "pod", "waited", "--subresource=status", "-p", json.dumps(ready))
    assert "condition met" in kubectl("wait", "--for=condition=Ready", "pod/waited", "--timeout=5s")
    kubectl("delete", "pod", "waited", "--wait=false")
    pod = get(kubectl, "pod", "waited")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    # What a kubelet does when the containers are gone.
    kubectl("delete", "pod", "waited", "--grace-period=0", "--force")
    kubectl("wait", "--for=delete", "pod/waited", "--timeout=5s")


def test_describe_explain_and_api_resources(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("NAME", "told"))
    assert "2 desired" in kubectl("describe", "deployment", "told")
    assert "nodeName" in kubectl("explain", "pod.spec.nodeName")
    listed = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert {"pods", "deployments.apps", "endpointslices.discovery.k8s.io"} <= set(listed)
    assert "yes" in kubectl("auth", "can-i", "create", "pods")


def test_unknown_fields_and_bad_values_are_refused(kubectl: Kubectl) -> None:
    wrong = DEPLOYMENT.replace("NAME", "wrong").replace("replicas: 2", "replica: 2")
    assert 'unknown field "spec.replica"' in kubectl.refused("create", "-f", "-", stdin=wrong)
    invalid = DEPLOYMENT.replace("NAME", "wrong").replace("replicas: 2", "replicas: -1")
    assert "spec.replicas" in kubectl.refused("create", "-f", "-", stdin=invalid)
    assert "wrong" not in kubectl("get", "deployments", "-o", "name")


def test_a_dry_run_stores_nothing(kubectl: Kubectl) -> None:
    manifest = DEPLOYMENT.replace("NAME", "dry")
    assert "dry run" in kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest)
    assert "NotFound" in kubectl.refused("get", "deployment", "dry")


def test_diff_tells_a_change_by_its_exit_code(kubectl: Kubectl) -> None:
    manifest = DEPLOYMENT.replace("NAME", "diffed")
    kubectl("apply", "-f", "-", stdin=manifest)
    assert kubectl.run("diff", "-f", "-", stdin=manifest).returncode == 0
    changed = manifest.replace("echo:1", "echo:9")
    done = kubectl.run("diff", "-f", "-", stdin=changed)
    assert done.returncode == 1
    assert "echo:9" in done.stdout


def test_a_custom_kind_is_served_at_once_and_goes_with_its_definition(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WIDGETS)
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=5s")
    kubectl("apply", "-f", "-", stdin=WIDGET)
    assert get(kubectl, "wd", "one")["spec"] == {"size": 3, "color": "red"}
    assert kubectl("get", "widgets").split() == ["NAME", "SIZE", "one", "3"]
    assert "spec.size" in kubectl.refused(
        "create", "-f", "-", stdin=WIDGET.replace("size: 3", "size: 0").replace("one", "bad")
    )
    kubectl("scale", "widget", "one", "--replicas=9")
    assert (
        get(kubectl, "widgets.v1alpha1.example.com", "one")["apiVersion"] == "example.com/v1alpha1"
    )
    assert get(kubectl, "widget.v1.example.com", "one")["spec"]["size"] == 9
    kubectl("delete", "crd", "widgets.example.com", "--timeout=10s")
    assert "the server could not find" in kubectl.refused("get", "--raw", "/apis/example.com/v1")


@pytest.mark.embedded_only("a controller for namespaces finalizes them at once")
def test_a_namespace_stays_until_it_is_finalized(kubectl: Kubectl) -> None:
    kubectl(
        "create",
        "-f",
        "-",
        stdin='{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"going"}}',
    )
    kubectl("delete", "namespace", "going", "--wait=false")
    namespace = get(kubectl, "namespace", "going")
    assert namespace["status"]["phase"] == "Terminating"
    refused = kubectl.refused("-n", "going", "create", "-f", "-", stdin=json.dumps(config_map("x")))
    assert "being terminated" in refused
    namespace["spec"]["finalizers"] = []
    kubectl(
        "replace",
        "--raw",
        "/api/v1/namespaces/going/finalize",
        "-f",
        "-",
        stdin=json.dumps(namespace),
    )
    assert "NotFound" in kubectl.refused("get", "namespace", "going")


@pytest.mark.embedded_only("it has no way to containers")
def test_logs_and_exec_say_what_to_use_instead(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POD.replace("NAME", "silent"))
    assert "steppe lab exec" in kubectl.refused("logs", "silent")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "configmap", "typed", "--from-literal=a=b"),
        ("create", "namespace", f"{NAMESPACE}-typed"),
        ("create", "deployment", "typed", "--image=echo", "--replicas=2", "--port=80"),
        ("create", "serviceaccount", "typed"),
        ("create", "secret", "generic", "typed", "--from-literal=a=b"),
        ("create", "service", "clusterip", "typed", "--tcp=80:8080"),
        ("create", "job", "typed", "--image=echo"),
        ("run", "typed", "--image=echo"),
    ],
    ids=lambda arguments: " ".join(arguments[1:3]) if arguments[0] == "create" else "run",
)
def test_kubectl_commands_that_make_objects(kubectl: Kubectl, arguments: tuple[str, ...]) -> None:
    assert "created" in kubectl(*arguments)


def test_deleting_waits_for_nothing_that_is_gone(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(config_map("brief")))
    begin = time.monotonic()
    assert "deleted" in kubectl("delete", "configmap", "brief")
    assert time.monotonic() - begin < 5


CLUSTER_POLICY = """
apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: no-guests}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  egress:
  - name: guests
    action: Deny
    to: [{networks: [192.0.2.0/24, "2001:db8::/32"]}]
    protocols: [{tcp: {destinationPort: {range: {start: 1, end: 9}}}}]
"""


@pytest.mark.embedded_only("it removes the definitions, which another cluster may be using")
def test_cluster_network_policies_are_served_and_judged(kubectl: Kubectl) -> None:
    for definition in DEFINITIONS:
        assert "Warning" not in kubectl.run("apply", "-f", str(definition)).stderr
    kubectl("apply", "-f", "-", stdin=CLUSTER_POLICY)
    assert kubectl("get", "cnp", "--no-headers").split()[:3] == ["no-guests", "Admin", "10"]
    assert "2001:db8::/32" in kubectl("describe", "cnp", "no-guests")
    for version in ("v1beta1", "v1alpha2"):
        versioned = f"clusternetworkpolicies.{version}.policy.networking.k8s.io"
        told = json.loads(kubectl("get", versioned, "no-guests", "-o", "json"))
        assert told["apiVersion"] == f"policy.networking.k8s.io/{version}"
    older = CLUSTER_POLICY.replace("v1beta1", "v1alpha2")
    assert "configured" in kubectl("apply", "-f", "-", stdin=older)
    host_bits = CLUSTER_POLICY.replace("192.0.2.0/24", "192.0.2.1/24")
    assert "Invalid CIDR format" in kubectl.refused("apply", "-f", "-", stdin=host_bits)
    refused = kubectl.refused("apply", "-f", "-", stdin=CLUSTER_POLICY.replace("end: 9", "end: 1"))
    assert "destinationPort.range: Invalid value" in refused
    assert "Start port must be less than End port" in refused
    kubectl("delete", "-f", ",".join(map(str, DEFINITIONS)))
    assert "could not find" in kubectl.refused("get", "cnp")
