import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe_lab.controllers import rollout
from steppe_lab.controllers.objects import Deployment, ReplicaSet, condition
from tests.lab.controllers.objects import deployment, replicaset

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def rolling(surge: int | str, missing: int | str) -> dict[str, Any]:
    return {"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}}}


@pytest.mark.parametrize(
    ("replicas", "given_limits", "expected"),
    [
        (10, {}, (3, 2)),
        (4, rolling("25%", "25%"), (1, 1)),
        (1, rolling("25%", "25%"), (1, 0)),
        (3, rolling(0, 0), (0, 1)),
        (3, rolling(0, "10%"), (0, 1)),
        (2, rolling(1, 5), (1, 2)),
        (3, {"strategy": {"type": "Recreate"}}, (0, 3)),
    ],
)
def test_limits(replicas: int, given_limits: dict[str, Any], expected: tuple[int, int]) -> None:
    assert rollout.limits(deployment(replicas, **given_limits)) == expected


@pytest.mark.parametrize(
    ("spec", "new", "old", "changes"),
    [
        # up by the surge first, down when something is available
        (rolling(1, 0), ("new", 0, 0), [("old", 3, 3)], {"new": 1}),
        (rolling(1, 0), ("new", 1, 0), [("old", 3, 3)], {}),
        (rolling(1, 0), ("new", 1, 1), [("old", 3, 3)], {"old": 2}),
        (rolling(0, 1), ("new", 0, 0), [("old", 3, 3)], {"old": 2}),
        (rolling(0, 1), ("new", 0, 0), [("old", 2, 2)], {"new": 1}),
        # pods that never became available go first, and need not wait
        (rolling(1, 0), ("new", 1, 0), [("old", 2, 2), ("older", 1, 0)], {}),
        (rolling(1, 1), ("new", 1, 1), [("old", 2, 2), ("older", 1, 0)], {"older": 0, "old": 1}),
        # scaled down and up
        ({}, ("new", 5, 5), [], {"new": 3}),
        ({}, ("new", 1, 1), [], {"new": 3}),
        # Recreate
        ({"strategy": {"type": "Recreate"}}, ("new", 0, 0), [("old", 3, 3)], {"old": 0}),
        ({"strategy": {"type": "Recreate"}}, ("new", 0, 0), [("old", 0, 0)], {"new": 3}),
        # paused: nothing rolls
        ({"paused": True}, ("new", 1, 1), [("old", 2, 2)], None),
    ],
)
def test_one_step(
    spec: dict[str, Any],
    new: tuple[str, int, int],
    old: list[tuple[str, int, int]],
    changes: dict[str, int] | None,
) -> None:
    wanted = deployment(3, **spec)
    mark = {rollout.DESIRED: "3"}
    old_sets = [replicaset(*o, created=str(i), annotations=mark) for i, o in enumerate(old)]
    present = replicaset(*new, annotations=mark)
    assert rollout.scales(wanted, present, old_sets, 0) == (changes or {})


def test_recreate_waits_for_the_last_old_pod() -> None:
    wanted = deployment(3, strategy={"type": "Recreate"})
    new, old = replicaset("new", 0), [replicaset("old", 0)]
    assert rollout.scales(wanted, new, old, old_pods=1) == {}
    assert rollout.scales(wanted, new, old, old_pods=0) == {"new": 3}


def test_a_paused_deployment_that_is_scaled_keeps_its_mixture() -> None:
    wanted = deployment(8, paused=True, **rolling(0, 1))
    mark = {rollout.DESIRED: "4"}
    new, old = replicaset("new", 1, annotations=mark), [replicaset("old", 3, annotations=mark)]
    changed = rollout.scales(wanted, new, old, 4)
    assert changed == {"old": 6, "new": 2}


def simulate(wanted: Deployment, sizes: dict[str, int]) -> dict[str, int]:
    """Roll out, with pods that come and go at once, until nothing changes; the sizes then."""
    surge, missing = rollout.limits(wanted)
    sizes = {"new": 0} | sizes
    for _ in range(200):
        new = replicaset("new", sizes["new"])
        old = [replicaset(name, size) for name, size in sizes.items() if name != "new"]
        changes = rollout.scales(wanted, new, old, sum(rs.spec.replicas for rs in old))
        if not changes:
            return sizes
        before = sum(sizes.values())
        sizes |= changes
        assert sum(sizes.values()) <= max(before, wanted.spec.replicas + surge)
        assert sum(sizes.values()) >= min(before, wanted.spec.replicas - missing)
    raise AssertionError(f"the rollout never ends: {sizes}")


@given(
    st.integers(0, 12), st.integers(0, 4), st.integers(0, 4),
    st.dictionaries(st.sampled_from(["new", "o1", "o2", "o3"]), st.integers(0, 8)),
)  # fmt: skip
def test_every_rollout_ends_with_what_was_asked_for_and_keeps_its_limits(
    replicas: int, surge: int, missing: int, sizes: dict[str, int]
) -> None:
    ended = simulate(deployment(replicas, **rolling(surge, missing)), sizes)
    assert {name: size for name, size in ended.items() if size} == (
        {"new": replicas} if replicas else {}
    )


@given(st.integers(0, 20), st.booleans())
def test_a_finished_rollout_stands_still(replicas: int, paused: bool) -> None:
    wanted = deployment(replicas, paused=paused)
    mark = {rollout.DESIRED: str(replicas)}
    new = replicaset("new", replicas, annotations=mark)
    assert rollout.scales(wanted, new, [replicaset("old", 0)], 0) == {}


def numbered(name: str, number: int, **more: Any) -> ReplicaSet:
    return replicaset(name, 0, annotations={rollout.REVISION: str(number)}, **more)


def test_the_replicaset_of_an_older_template_becomes_the_newest_revision_again() -> None:
    sets = [numbered("first", 1), numbered("second", 2)]
    undone = deployment(3, image="first")
    new = rollout.newest(undone, sets)
    assert new is sets[0]
    assert rollout.next_revision(new, sets) == 3
    assert rollout.next_revision(sets[1], sets) == 2
    assert rollout.newest(deployment(3, image="third"), sets) is None
    assert rollout.next_revision(None, sets) == 3


def test_history_beyond_its_limit_goes_oldest_first() -> None:
    old = [numbered(f"r{n}", n) for n in (5, 3, 4)] + [replicaset("busy", 1)]
    surplus = rollout.surplus_history(deployment(1, revisionHistoryLimit=1), old)
    assert [rs.metadata.name for rs in surplus] == ["r3", "r4"]


def test_a_replicaset_knows_its_template_selector_and_owner() -> None:
    annotations = {
        "kubernetes.io/change-cause": "why",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    wanted = deployment(3, selector={"matchLabels": {"app": "x"}}, annotations=annotations)
    body = rollout.replicaset_body(wanted, {"uid": "d"}, "abc", 2, 7)
    made = msgspec.convert(body, ReplicaSet)
    assert made.spec.selector.match_labels == {"app": "x", "pod-template-hash": "abc"}
    assert rollout.same_template(made.spec.template, wanted.spec.template)
    assert made.metadata.annotations == {
        "kubernetes.io/change-cause": "why",
        rollout.REVISION: "7",
        rollout.DESIRED: "3",
        rollout.MAX: "4",
    }


@pytest.mark.parametrize(
    ("sets", "available", "progressing"),
    [
        ([("new", 3, 3)], "MinimumReplicasAvailable", "NewReplicaSetAvailable"),
        ([("new", 1, 0), ("old", 3, 3)], "MinimumReplicasAvailable", "ReplicaSetUpdated"),
        ([("new", 3, 1)], "MinimumReplicasUnavailable", "ReplicaSetUpdated"),
    ],
)
def test_conditions(sets: list[tuple[str, int, int]], available: str, progressing: str) -> None:
    held = [replicaset(*s) for s in sets]
    status = rollout.status_of(deployment(3), held[0], held, NOW)
    found = {c.type: c.reason for c in status.conditions}
    assert found == {"Available": available, "Progressing": progressing}
    assert status.observed_generation == 2
    again = rollout.status_of(
        deployment(3, status=msgspec.to_builtins(status)),
        held[0],
        held,
        NOW + dt.timedelta(1 / 864),
    )
    assert again == status


def test_a_rollout_without_progress_fails_after_its_deadline() -> None:
    held = [replicaset("new", 3, 1)]
    before = rollout.status_of(deployment(3), held[0], held, NOW)
    stuck = deployment(3, status=msgspec.to_builtins(before), progressDeadlineSeconds=60)
    assert rollout.deadline_in(stuck, NOW) == 60
    late = NOW + dt.timedelta(seconds=61)
    after = rollout.status_of(stuck, held[0], held, late)
    failed = condition(after.conditions, "Progressing")
    assert failed is not None
    assert (failed.status, failed.reason) == ("False", "ProgressDeadlineExceeded")
    # A pod that becomes available after all is progress again.
    held = [replicaset("new", 3, 2)]
    mended = deployment(3, status=msgspec.to_builtins(after), progressDeadlineSeconds=60)
    progressing = condition(
        rollout.status_of(mended, held[0], held, late).conditions, "Progressing"
    )
    assert progressing is not None
    assert progressing.status == "True"
