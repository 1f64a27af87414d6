from typing import Any

import pytest

from steppe_lab.controllers.matching import requires, selects
from steppe_lab.controllers.objects import LabelSelector, Requirement, Taint
from steppe_lab.controllers.scheduling import Placement, Refused, choose_node
from tests.lab.controllers.objects import node, pod

GPU = Taint("gpu", "NoSchedule", "yes")
SELECTOR = "node(s) didn't match Pod's node affinity/selector"


def affinity(*requirements: tuple[str, str, list[str]], field: bool = False) -> dict[str, Any]:
    terms = [{"key": k, "operator": o, "values": v} for k, o, v in requirements]
    kind = "matchFields" if field else "matchExpressions"
    required = {"nodeSelectorTerms": [{kind: terms}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ({}, "a"),
        ({"nodeSelector": {"kubernetes.io/hostname": "b"}}, "b"),
        (affinity(("kubernetes.io/hostname", "In", ["b", "c"])), "b"),
        (affinity(("kubernetes.io/hostname", "NotIn", ["a"])), "b"),
        (affinity(("metadata.name", "In", ["b"]), field=True), "b"),
        (affinity(("size", "Gt", ["3"])), "b"),
        ({"nodeSelector": {"kubernetes.io/hostname": "gpu"}}, "1 node(s) had untolerated taint"),
        ({"nodeSelector": {"kubernetes.io/hostname": "gpu"},
          "tolerations": [{"key": "gpu", "operator": "Exists"}]}, "gpu"),
        ({"nodeSelector": {"kubernetes.io/hostname": "gpu"},
          "tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}, "gpu"),
        ({"nodeSelector": {"kubernetes.io/hostname": "gpu"},
          "tolerations": [{"key": "gpu", "value": "no"}]}, "{gpu: yes}"),
        ({"nodeSelector": {"kubernetes.io/hostname": "cordoned"}}, "node(s) were unschedulable"),
        ({"nodeSelector": {"kubernetes.io/hostname": "sick"}}, "{node.kubernetes.io/not-ready: }"),
        ({"nodeSelector": {"kubernetes.io/hostname": "sick"},
          "tolerations": [{"operator": "Exists"}]}, "sick"),
        ({"nodeSelector": {"nothing": "has this"}}, f"0/5 nodes are available: 5 {SELECTOR}."),
        (affinity(), "5 node(s)"),
    ],
)  # fmt: skip
def test_where_a_pod_goes_or_why_nowhere(spec: dict[str, Any], chosen: str) -> None:
    nodes = [
        node("a", labels={"size": "1"}),
        node("b", labels={"size": "4"}),
        node("cordoned", spec={"unschedulable": True}),
        node("gpu", GPU),
        node("sick", ready="False"),
    ]
    answer = choose_node(pod("p", spec=spec), nodes, {})
    if isinstance(answer, Refused):
        assert chosen in answer.message
        assert answer.message.startswith("0/5 nodes are available: ")
    else:
        assert answer == chosen


def test_reasons_are_counted_and_sorted() -> None:
    nodes = [node("a", GPU), node("b", GPU), node("c", spec={"unschedulable": True})]
    answer = choose_node(pod("p"), nodes, {})
    assert answer == Refused(
        "0/3 nodes are available: 1 node(s) were unschedulable,"
        " 2 node(s) had untolerated taint {gpu: yes}."
    )
    assert choose_node(pod("p"), [], {}) == Refused("no nodes available to schedule pods")


@pytest.mark.parametrize(
    ("load", "chosen"),
    [
        ({"a": (1, 1), "b": (0, 9)}, "b"),  # fewest of the same owner
        ({"a": (1, 5), "b": (1, 2)}, "b"),  # then fewest of all
        ({"a": (1, 1), "b": (1, 1)}, "a"),
    ],
)
def test_pods_are_spread(load: dict[str, tuple[int, int]], chosen: str) -> None:
    assert choose_node(pod("p", owner="rs"), [node("b"), node("a")], load) == chosen


def apart(key: str = "zone", near: str = "podAntiAffinity") -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "x"}}}
    return {"affinity": {near: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


@pytest.mark.parametrize(
    ("mine", "theirs", "chosen"),
    [
        (apart(), {}, "b"),
        ({}, apart(), "b"),  # anti-affinity is symmetric
        (apart("kubernetes.io/hostname"), {}, "a2"),
        (apart(near="podAffinity"), {}, "a2"),
    ],
)
def test_pods_keep_apart_or_together(
    mine: dict[str, Any], theirs: dict[str, Any], chosen: str
) -> None:
    nodes = [node(n, labels={"zone": n[0]}) for n in ("a1", "a2", "b")]
    there = Placement(pod("other", labels={"app": "x"}, spec=theirs), "a1")
    mover = pod("mover", labels={"app": "x"}, spec=mine)
    load = {"a1": (5, 5)}
    assert choose_node(mover, nodes, load, placements=[there]) == chosen


def test_the_first_of_a_group_that_wants_company_may_begin() -> None:
    first = pod("first", labels={"app": "x"}, spec=apart(near="podAffinity"))
    stranger = pod("s", labels={"app": "y"}, spec=apart(near="podAffinity"))
    nodes = [node("a", labels={"zone": "a"})]
    assert choose_node(first, nodes, {}) == "a"
    assert isinstance(choose_node(stranger, nodes, {}), Refused)


def test_null_selectors_match_nothing_and_empty_ones_everything() -> None:
    assert not selects(None, {"a": "b"})
    assert selects(LabelSelector(), {"a": "b"})


@pytest.mark.parametrize(
    ("operator", "values", "held", "met"),
    [
        ("In", ("1",), "1", True),
        ("In", ("1",), None, False),
        ("NotIn", ("1",), None, True),
        ("Exists", (), "", True),
        ("DoesNotExist", (), None, True),
        ("Gt", ("x",), "2", False),
        ("Lt", ("3",), "2", True),
        ("Nonsense", (), "2", False),
    ],
)
def test_requirements(operator: str, values: tuple[str, ...], held: str | None, met: bool) -> None:
    labels = {} if held is None else {"k": held}
    assert requires(Requirement("k", operator, values), labels) is met
