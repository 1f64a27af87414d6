"""Tables for the smaller decisions: which pods go, which nodes are tainted, who owns what."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from steppe_lab.controllers.daemonset import HASH, daemon_plan
from steppe_lab.controllers.garbage import Verdict, verdict
from steppe_lab.controllers.nodelife import eviction_in, lifecycle_taints
from steppe_lab.controllers.objects import (
    DaemonSet,
    OwnerReference,
    StatefulSet,
    Taint,
)
from steppe_lab.controllers.podcontrol import short_hash
from steppe_lab.controllers.replicaset import deletion_order, replica_plan
from steppe_lab.controllers.statefulset import revision_of, stateful_plan
from tests.lab.controllers.objects import node, pod

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
EARLY, LATE = "2029-12-31T23:00:00Z", "2029-12-31T23:59:00Z"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"node": ""}, {"node": "a"}),
        ({"phase": "Pending"}, {"phase": "Running"}),
        ({"ready": False}, {"ready": True}),
        ({"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}, {}),
        ({"ready": True, "since": LATE}, {"ready": True, "since": EARLY}),
        ({"creationTimestamp": LATE}, {"creationTimestamp": EARLY}),
    ],
)
def test_which_pod_goes_first(first: dict[str, Any], then: dict[str, Any]) -> None:
    common = {"node": "n"}
    pods = [pod("then", **(common | then)), pod("first", **(common | first))]
    for order in (pods, pods[::-1]):
        assert [p.metadata.name for p in deletion_order(order)] == ["first", "then"]


def test_of_equal_pods_those_on_crowded_nodes_go_first() -> None:
    pods = [pod("alone", node="a"), pod("one", node="b"), pod("two", node="b")]
    assert deletion_order(pods)[-1].metadata.name == "alone"


@pytest.mark.parametrize(
    ("wanted", "there", "made", "gone"), [(3, 1, 2, 0), (1, 3, 0, 2), (2, 2, 0, 0)]
)
def test_replica_numbers(wanted: int, there: int, made: int, gone: int) -> None:
    plan = replica_plan(wanted, [pod(str(n)) for n in range(there)])
    assert (plan.create, len(plan.delete)) == (made, gone)


TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {}}


def daemonset(**spec: Any) -> DaemonSet:
    body = {"metadata": {"name": "ds"}, "spec": {"template": TEMPLATE} | spec}
    return msgspec.convert(body, DaemonSet)


def daemon(name: str, on: str, *, fresh: bool = True, **fields: Any) -> Any:
    labels = {HASH: short_hash(TEMPLATE) if fresh else "old"}
    return pod(name, node=on, labels=labels, **({"ready": True} | fields))


@pytest.mark.parametrize(
    ("nodes", "pods", "create", "delete"),
    [
        ([node("a"), node("b")], [daemon("pa", "a")], ["b"], []),
        ([node("a", spec={"unschedulable": True}), node("b", ready="False")], [], ["a", "b"], []),
        ([node("a", Taint("k", "NoSchedule"))], [], [], []),
        ([node("a", Taint("k", "NoSchedule"))], [daemon("pa", "a")], [], []),
        ([node("a", Taint("k", "NoExecute"))], [daemon("pa", "a")], [], ["pa"]),
        ([node("a")], [daemon("p1", "a"), daemon("p2", "a")], [], ["p2"]),
        ([node("a")], [daemon("pa", "a", phase="Failed")], [], ["pa"]),
        ([node("a")], [daemon("pa", "a", deletionTimestamp="now")], [], []),
        # a rolling update takes one node at a time, and what is broken at once
        ([node("a"), node("b")], [daemon("pa", "a", fresh=False), daemon("pb", "b", fresh=False)],
         [], ["pa"]),
        ([node("a"), node("b")],
         [daemon("pa", "a", ready=False), daemon("pb", "b", fresh=False)], [], []),
        ([node("a"), node("b")],
         [daemon("pa", "a", fresh=False, ready=False), daemon("pb", "b", fresh=False)], [], ["pa"]),
    ],
)  # fmt: skip
def test_daemons(nodes: Any, pods: Any, create: list[str], delete: list[str]) -> None:
    plan = daemon_plan(daemonset(), nodes, pods, NOW)
    assert list(plan.create) == create
    assert [p.metadata.name for p in plan.delete] == delete


def statefulset(replicas: int, **spec: Any) -> StatefulSet:
    body = {"metadata": {"name": "db"}, "spec": {"replicas": replicas, "template": TEMPLATE} | spec}
    return msgspec.convert(body, StatefulSet)


def member(number: int, *, fresh: bool = True, **fields: Any) -> Any:
    labels = {HASH: revision_of(statefulset(0)) if fresh else "old"}
    return pod(f"db-{number}", labels=labels, node="n", **({"ready": True} | fields))


@pytest.mark.parametrize(
    ("spec", "replicas", "pods", "create", "delete"),
    [
        ({}, 3, [], [0], []),
        ({}, 3, [member(0)], [1], []),
        ({}, 3, [member(0, ready=False)], [], []),
        ({}, 3, [member(0), member(2)], [1], []),
        ({"podManagementPolicy": "Parallel"}, 3, [member(0, ready=False)], [1, 2], []),
        ({}, 1, [member(0), member(1), member(2)], [], ["db-2"]),
        ({}, 1, [member(0), member(1), member(2, deletionTimestamp="now")], [], []),
        ({}, 1, [member(0, ready=False), member(1)], [], []),
        ({}, 2, [member(0), member(1, phase="Failed")], [], ["db-1"]),
        ({}, 2, [member(0, fresh=False), member(1, fresh=False)], [], ["db-1"]),
        ({}, 2, [member(0, fresh=False), member(1)], [], ["db-0"]),
        ({}, 2, [member(0, fresh=False), member(1, ready=False)], [], []),
        ({"updateStrategy": {"rollingUpdate": {"partition": 1}}}, 2,
         [member(0, fresh=False), member(1)], [], []),
        ({"updateStrategy": {"type": "OnDelete"}}, 1, [member(0, fresh=False)], [], []),
    ],
)  # fmt: skip
def test_stateful_members(
    spec: dict[str, Any], replicas: int, pods: Any, create: list[int], delete: list[str]
) -> None:
    plan = stateful_plan(statefulset(replicas, **spec), pods, NOW)
    assert list(plan.create) == create
    assert [p.metadata.name for p in plan.delete] == delete


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (node("a"), []),
        (node("a", Taint("mine", "NoSchedule")), ["mine"]),
        (node("a", ready="False"), ["node.kubernetes.io/not-ready"] * 2),
        (node("a", ready="Unknown"), ["node.kubernetes.io/unreachable"] * 2),
        (node("a", Taint("node.kubernetes.io/not-ready", "NoSchedule")), []),
        (node("a", spec={"unschedulable": True}), ["node.kubernetes.io/unschedulable"]),
    ],
)
def test_taints_follow_conditions(given: Any, keys: list[str]) -> None:
    taints = lifecycle_taints(given, NOW)
    assert [t.key for t in taints] == keys
    settled = msgspec.structs.replace(
        given, spec=msgspec.structs.replace(given.spec, taints=taints)
    )
    assert lifecycle_taints(settled, NOW + dt.timedelta(hours=1)) == taints


@pytest.mark.parametrize(
    ("tolerations", "taint", "delay"),
    [
        ([], Taint("k", "NoExecute"), 0),
        ([], Taint("k", "NoSchedule"), None),
        ([{"operator": "Exists"}], Taint("k", "NoExecute"), None),
        ([{"operator": "Exists", "tolerationSeconds": 90}],
         Taint("k", "NoExecute", time_added=LATE), 30),
        ([], Taint("node.kubernetes.io/unreachable", "NoExecute", time_added=LATE), 240),
    ],
)  # fmt: skip
def test_when_a_pod_is_evicted(
    tolerations: list[dict[str, Any]], taint: Taint, delay: float | None
) -> None:
    given = pod("p", spec={"tolerations": tolerations})
    assert eviction_in(given, (taint,), NOW) == delay


A, B = OwnerReference(uid="a"), OwnerReference(uid="b")


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ([], Verdict()),
        ([(A, True)], Verdict()),
        ([(A, False)], Verdict(delete=True)),
        ([(A, False), (B, True)], Verdict(keep_owners=(B,))),
        ([(A, False), (B, False)], Verdict(delete=True)),
    ],
)
def test_what_becomes_of_dependents(
    owners: list[tuple[OwnerReference, bool]], expected: Verdict
) -> None:
    assert verdict(owners) == expected
