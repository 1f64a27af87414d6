from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.kinds.printers.cells import duration
from tests.apiserver.kinds.objects import KINDS, admitted, deployment, kind, pod, service

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CREATED = {"name": "x", "creationTimestamp": (NOW - timedelta(minutes=5)).isoformat()}


def cells(name: str, group: str, obj: dict[str, Any]) -> dict[str, Any]:
    table = kinds.table(kind(name, group), [obj], NOW)
    (row,) = table["rows"]
    return dict(zip((c["name"] for c in table["columnDefinitions"]), row["cells"], strict=True))


def running(**more: Any) -> dict[str, Any]:
    return {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}, **more}


def state(**what: Any) -> dict[str, Any]:
    return running(ready=False, state=what)


@pytest.mark.parametrize("key", sorted(KINDS))
def test_every_kind_has_a_cell_for_every_column(key: tuple[str, str]) -> None:
    obj = {"metadata": {"name": "x"}}
    table = kinds.table(KINDS[key], [obj], NOW)
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
    assert "x" in table["rows"][0]["cells"]


@pytest.mark.parametrize(
    ("status", "ready", "shown"),
    [
        ({"phase": "Pending"}, "0/1", "Pending"),
        ({"phase": "Running", "containerStatuses": [running()]}, "1/1", "Running"),
        (
            {
                "phase": "Running",
                "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})],
            },
            "0/1",
            "CrashLoopBackOff",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [state(waiting={"reason": "ContainerCreating"})],
            },
            "0/1",
            "ContainerCreating",
        ),
        (
            {
                "phase": "Succeeded",
                "containerStatuses": [state(terminated={"reason": "Completed"})],
            },
            "0/1",
            "Completed",
        ),
        (
            {"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 3})]},
            "0/1",
            "ExitCode:3",
        ),
        (
            {
                "phase": "Failed",
                "containerStatuses": [state(terminated={"exitCode": 0, "signal": 9})],
            },
            "0/1",
            "Signal:9",
        ),
        ({"phase": "Pending", "initContainerStatuses": [state(running={})]}, "0/1", "Init:0/1"),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [state(terminated={"exitCode": 1, "reason": "Error"})],
            },
            "0/1",
            "Init:Error",
        ),
        ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
    ],
)
def test_pod_status_looks_through_the_phase(status: dict[str, Any], ready: str, shown: str) -> None:
    initial = [{"name": "c"}] if "initContainerStatuses" in status else []
    obj = pod(initContainers=initial) | {"status": status}
    assert (cells("Pod", "", obj)["Ready"], cells("Pod", "", obj)["Status"]) == (ready, shown)


def test_pod_restarts_deletion_and_wide_columns() -> None:
    ended = (NOW - timedelta(seconds=30)).isoformat()
    again = running(restartCount=2, lastState={"terminated": {"finishedAt": ended}})
    obj = pod(nodeName="node-a") | {
        "metadata": {**CREATED, "deletionTimestamp": ended},
        "status": {"phase": "Running", "containerStatuses": [again], "podIPs": [{"ip": "fd00::1"}]},
    }
    shown = cells("Pod", "", obj)
    assert shown == {
        "Name": "x",
        "Ready": "1/1",
        "Status": "Terminating",
        "Restarts": "2 (30s ago)",
        "Age": "5m",
        "IP": "fd00::1",
        "Node": "node-a",
        "Nominated Node": "<none>",
        "Readiness Gates": "<none>",
    }


@pytest.mark.parametrize(
    ("name", "group", "obj", "expected"),
    [
        (
            "Node",
            "",
            {
                "metadata": {**CREATED, "labels": {"node-role.kubernetes.io/control-plane": ""}},
                "spec": {"unschedulable": True},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                },
            },
            {
                "Status": "Ready,SchedulingDisabled",
                "Roles": "control-plane",
                "Internal-IP": "192.0.2.1",
            },
        ),
        ("Node", "", {"metadata": CREATED}, {"Status": "Unknown", "Roles": "<none>"}),
        (
            "Deployment",
            "apps",
            admitted(kind("Deployment", "apps"), deployment(replicas=2)),
            {"Ready": "0/2", "Up-to-date": 0, "Images": "nginx", "Selector": "a=b"},
        ),
        (
            "Service",
            "",
            service(
                type="LoadBalancer",
                clusterIP="10.96.0.1",
                ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
            ),
            {"Cluster-IP": "10.96.0.1", "External-IP": "<pending>", "Port(s)": "80:30080/TCP"},
        ),
        (
            "EndpointSlice",
            "discovery.k8s.io",
            {
                "metadata": CREATED,
                "addressType": "IPv4",
                "ports": [{"port": 80}],
                "endpoints": [{"addresses": [f"10.0.0.{n}"]} for n in range(5)],
            },
            {"Ports": "80", "Endpoints": "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."},
        ),
        (
            "Event",
            "",
            {
                "metadata": CREATED,
                "involvedObject": {"kind": "Pod", "name": "p"},
                "message": "hi\n",
                "lastTimestamp": NOW.isoformat(),
            },
            {"Last Seen": "0s", "Object": "pod/p", "Message": "hi", "Name": "x"},
        ),
        ("ConfigMap", "", {"metadata": CREATED, "data": {"a": "b"}}, {"Data": 1}),
    ],
)
def test_tables(name: str, group: str, obj: dict[str, Any], expected: dict[str, Any]) -> None:
    shown = cells(name, group, obj)
    assert {key: shown[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (47 * 3600, "47h"),
        (49 * 3600, "2d1h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (-5, "<invalid>"),
    ],
)
def test_ages_are_written_as_kubectl_does(seconds: int, text: str) -> None:
    assert duration(seconds) == text
