import pytest

from steppe_lab.kubelet.probes import Backoff, Streak
from steppe_lab.kubelet.records import (
    Condition,
    Container,
    Pod,
    PodMeta,
    PodSpec,
    PodStatus,
    Probe,
    ReadinessGate,
)
from steppe_lab.kubelet.status import (
    Ended,
    Running,
    Seen,
    View,
    Waiting,
    phase,
    pod_status,
    should_restart,
)

META = PodMeta(name="p", namespace="n", uid="u")
OK = Ended("id", 0, 1.0, 2.0)
BAD = Ended("id", 3, 1.0, 2.0)
RUNS = View(Running("id", 1.0), started=True, ready=True)
WAITS = View()
CRASHING = View(Waiting("CrashLoopBackOff"), last=BAD, restarts=2)


def pod(policy: str = "Always", init: tuple[Container, ...] = (), **spec: object) -> Pod:
    containers = (Container(name="a"), Container(name="b"))
    return Pod(
        metadata=META,
        spec=PodSpec(restart_policy=policy, init_containers=init, containers=containers, **spec),
    )


@pytest.mark.parametrize(
    ("policy", "a", "b", "terminal", "expected"),
    [
        ("Always", WAITS, WAITS, False, "Pending"),
        ("Always", RUNS, WAITS, False, "Pending"),
        ("Always", RUNS, RUNS, False, "Running"),
        ("Always", RUNS, CRASHING, False, "Running"),
        ("Always", CRASHING, CRASHING, False, "Running"),
        ("Always", View(OK), View(OK), False, "Running"),
        ("OnFailure", View(OK), View(OK), False, "Succeeded"),
        ("OnFailure", View(OK), View(BAD), False, "Running"),
        ("Never", View(OK), View(OK), False, "Succeeded"),
        ("Never", View(OK), View(BAD), False, "Failed"),
        ("Never", View(OK), RUNS, False, "Running"),
        ("Always", View(OK), View(OK), True, "Succeeded"),
        ("Always", View(OK), View(BAD), True, "Failed"),
        ("Always", WAITS, WAITS, True, "Failed"),
    ],
)
def test_the_phase_follows_the_containers(
    policy: str, a: View, b: View, terminal: bool, expected: str
) -> None:
    assert phase(pod(policy), Seen({"a": a, "b": b}, terminal=terminal)) == expected


INIT = Container(name="i")
SIDECAR = Container(name="s", restart_policy="Always")


@pytest.mark.parametrize(
    ("policy", "views", "expected"),
    [
        ("Always", {"i": RUNS}, "Pending"),
        ("Always", {"i": View(BAD)}, "Pending"),
        ("Never", {"i": View(BAD)}, "Failed"),
        ("Always", {"i": View(OK), "a": RUNS, "b": RUNS}, "Pending"),
        ("Always", {"i": View(OK), "s": RUNS, "a": RUNS, "b": RUNS}, "Running"),
    ],
)
def test_init_containers_come_first(policy: str, views: dict[str, View], expected: str) -> None:
    assert phase(pod(policy, (INIT, SIDECAR)), Seen(views)) == expected


@pytest.mark.parametrize(
    ("policy", "init", "sidecar", "code", "again"),
    [
        ("Always", False, False, 0, True),
        ("OnFailure", False, False, 0, False),
        ("OnFailure", False, False, 1, True),
        ("Never", False, False, 1, False),
        ("Always", True, False, 0, False),
        ("Always", True, False, 1, True),
        ("Never", True, False, 1, False),
        ("Never", True, True, 0, True),
    ],
)
def test_restart_policy(policy: str, init: bool, sidecar: bool, code: int, again: bool) -> None:
    assert should_restart(policy, init=init, sidecar=sidecar, exit_code=code) is again


def conditions(status: dict) -> dict[str, tuple[str, str | None]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def test_a_running_pod_is_ready_and_has_its_addresses() -> None:
    seen = Seen({"a": RUNS, "b": RUNS}, ("10.0.0.2", "fd00::2"), ("192.0.2.1",), sandbox_ready=True)
    status = pod_status(pod(), seen, 100.0)
    assert status["podIP"] == "10.0.0.2"
    assert status["podIPs"] == [{"ip": "10.0.0.2"}, {"ip": "fd00::2"}]
    assert status["hostIPs"] == [{"ip": "192.0.2.1"}]
    assert set(conditions(status).values()) == {("True", None)}


def test_readiness_gates_hold_ready_back_but_not_containers_ready() -> None:
    gated = pod(readiness_gates=(ReadinessGate(condition_type="x/y"),))
    found = conditions(pod_status(gated, Seen({"a": RUNS, "b": RUNS}), 1.0))
    assert found["Ready"] == ("False", "ReadinessGatesNotReady")
    assert found["ContainersReady"] == ("True", None)


def test_a_condition_that_stands_keeps_its_time() -> None:
    before = Condition(type="Initialized", status="True", last_transition_time="T0")
    known = Pod(metadata=META, spec=pod().spec, status=PodStatus(conditions=(before,)))
    status = pod_status(known, Seen({"a": RUNS, "b": WAITS}), 5.0)
    times = {one["type"]: one["lastTransitionTime"] for one in status["conditions"]}
    assert times["Initialized"] == "T0"
    assert times["Ready"] == "1970-01-01T00:00:05Z"


def test_container_states_as_the_api_shows_them() -> None:
    status = pod_status(pod(), Seen({"a": CRASHING, "b": View(OK)}), 1.0)
    a, b = status["containerStatuses"]
    assert a["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
    assert a["lastState"]["terminated"]["exitCode"] == 3
    assert a["restartCount"] == 2
    assert b["state"]["terminated"]["reason"] == "Completed"


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("+", [True]),
        ("-", [None]),
        ("---", [None, None, False]),
        ("--+---", [None, None, True, True, True, False]),
        ("---+", [None, None, False, True]),
    ],
)
def test_a_probe_changes_its_verdict_at_its_thresholds(
    results: str, verdicts: list[bool | None]
) -> None:
    streak, seen = Streak(), []
    for result in results:
        streak = streak.after(result == "+", Probe())
        seen.append(streak.verdict)
    assert seen == verdicts


def test_success_may_need_several_in_a_row() -> None:
    probe = Probe(success_threshold=2)
    assert Streak().after(True, probe).verdict is None
    assert Streak().after(True, probe).after(True, probe).verdict is True


def test_the_first_restart_is_immediate_and_later_ones_double_up_to_the_cap() -> None:
    backoff, waits = Backoff(), []
    for _ in range(9):
        waits.append(backoff.wait(ran_for=0.1))
        backoff = backoff.after(ran_for=0.1)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.wait(ran_for=121.0) == 0
    assert backoff.after(ran_for=121.0).delay == 1
