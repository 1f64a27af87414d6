"""Objects for strangers: no answer changes, and nothing secret is left."""

import json
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from steppe.cli.main import main
from steppe.kube.objects import UNDERLAY_ANNOTATION, Underlay, underlay_annotation
from steppe.manifests.shareable import shareable

Json = dict[str, Any]
SECRET = "hunter2"  # noqa: S105
UPLINK = ip_interface("192.0.2.1/24")
HIDDEN = {"kubectl.kubernetes.io/last-applied-configuration": SECRET, "note": SECRET}


def pod(name: str, number: int, app: str) -> Json:
    address = f"10.244.0.{number}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{number}",
            "labels": {"app": app},
            "annotations": HIDDEN,
            "managedFields": [{"manager": SECRET}],
        },
        "spec": {
            "nodeName": "node-a",
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/main",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "PASSWORD", "value": SECRET}],
                    "args": ["--token", SECRET],
                    "command": [SECRET],
                    "volumeMounts": [{"name": SECRET, "mountPath": "/x"}],
                    "lifecycle": {"preStop": {"exec": {"command": [SECRET]}}},
                    "readinessProbe": {
                        "httpGet": {"port": 80, "httpHeaders": [{"name": "a", "value": SECRET}]}
                    },
                }
            ],
            "initContainers": [{"name": "first", "image": "x", "args": [SECRET]}],
            "volumes": [{"name": SECRET, "hostPath": {"path": SECRET}}],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}, {"ip": f"fd00:10:244::{number}"}],
            "conditions": [{"type": "Ready", "status": "True", "message": SECRET}],
            "containerStatuses": [{"name": "main", "state": {"waiting": {"message": SECRET}}}],
        },
    }


NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "node-a",
        "annotations": {
            UNDERLAY_ANNOTATION: underlay_annotation(Underlay("eth0", 1500, (UPLINK,))),
            **HIDDEN,
        },
    },
    "spec": {"podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"], "providerID": SECRET},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "images": [{"names": [SECRET]}],
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "db", "namespace": "shop", "annotations": HIDDEN},
    "spec": {
        "selector": {"app": "db"},
        "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"],
        "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}],
    },
}
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "db-1",
        "namespace": "shop",
        "labels": {"kubernetes.io/service-name": "db"},
    },
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.244.0.2"], "conditions": {"ready": True}}],
    "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
}
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "db", "namespace": "shop", "annotations": HIDDEN},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                "ports": [{"port": "http"}],
            }
        ],
    },
}
OTHER = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "l7", "namespace": "shop"},
    "spec": {"description": SECRET},
}
CLUSTER = [
    NODE,
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    pod("web", 1, "web"),
    pod("db", 2, "db"),
    pod("other", 3, "other"),
    SERVICE,
    SLICE,
    POLICY,
    OTHER,
]


def test_nothing_secret_is_left() -> None:
    assert SECRET in json.dumps(CLUSTER)
    assert SECRET not in json.dumps([shareable(each) for each in CLUSTER])


@pytest.mark.parametrize(
    "question",
    [
        ("reach", "-o", "json"),
        ("lint", "-o", "json"),
        ("explain", "-o", "json", "shop/web", "svc/shop/db:80"),
        ("explain", "-o", "json", "shop/other", "shop/db:8080"),
    ],
)
def test_no_answer_changes(tmp_path: Path, question: tuple[str, ...]) -> None:
    answers = []
    for documents in (CLUSTER, [shareable(each) for each in CLUSTER]):
        file = tmp_path / "cluster.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
        command, *rest = question
        result = CliRunner().invoke(main, [command, "-f", str(file), *rest])
        answers.append((result.exit_code, result.output))
    assert answers[0] == answers[1]
    assert '"schema": "steppe.' in answers[0][1]


@pytest.mark.parametrize("odd", [{}, {"kind": "Pod", "spec": []}, {"kind": "Pod", "metadata": 1}])
def test_what_is_no_object_is_no_error(odd: Json) -> None:
    assert set(shareable(odd)) <= set(odd)
