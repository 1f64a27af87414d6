"""What the log says of changes: each one, or what many come to."""

import logging
from ipaddress import ip_address
from itertools import pairwise

import pytest

from steppe.agent.health.metrics import Metrics
from steppe.agent.node.change_log import MANY, NAMED_CHANGES, tell
from steppe.drivers.errors import Failure, KernelError
from steppe.kube.cause import Cause, ObjectRef
from steppe.plan.diff import Change
from steppe.state.nft import Element, ElementKey
from steppe.state.node import Key

NOBODY = "nothing asks for it"


def added(number: int) -> Change:
    key = ElementKey("ingress_peer4", (ip_address(0x0A000000 + number),))
    return Change(key, None, Element((7,)))


def because(changes: list[Change]) -> dict[Key, tuple[Cause, ...]]:
    """One object for the first half and one for each of the others."""
    half = len(changes) // 2
    return {
        change.key: (Cause(ObjectRef("Pod", "a", f"p{max(number, half)}"), "metadata.labels"),)
        for number, change in enumerate(changes)
    }


def counted(metrics: Metrics, verb: str) -> float | None:
    labels = {"table": "elements", "verb": verb}
    return metrics.registry.get_sample_value("steppe_changes_total", labels)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "steppe.agent")
    return caplog


def test_few_changes_are_a_line_each(told: pytest.LogCaptureFixture) -> None:
    metrics, changes = Metrics(), [added(1), Change(added(2).key, Element((7,)), None)]
    tell(changes, {**because(changes), changes[1].key: ()}, {}, metrics, {})
    first, second = (f'table=elements key="@ingress_peer4 10.0.0.{n}"' for n in (1, 2))
    assert told.messages == [
        f'add {first} value=": 7" cause="Pod/a/p1 metadata.labels"',
        f'delete {second} value=": 7" cause="{NOBODY}"',
    ]
    assert counted(metrics, "add") == counted(metrics, "delete") == 1


def test_many_changes_are_summed_up_by_what_asks_most(told: pytest.LogCaptureFixture) -> None:
    metrics, changes = Metrics(), [added(number) for number in range(MANY)]
    changes.append(Change(added(MANY).key, Element((7,)), None))
    tell(changes, {**because(changes), changes[-1].key: ()}, {}, metrics, {})
    half = MANY // 2
    named = f"Pod/a/p{half} ({half + 1}), Pod/a/p{half + 1} (1), Pod/a/p{half + 2} (1)"
    assert told.messages == [
        f'add table=elements count={MANY} because="{named}, {half - 3} more"',
        f'delete table=elements count=1 because="{NOBODY}"',
    ]
    assert counted(metrics, "add") == MANY


def test_each_of_many_is_reported_where_debug_is_asked_for(told: pytest.LogCaptureFixture) -> None:
    told.set_level(logging.DEBUG, "steppe.agent")
    changes = [added(number) for number in range(MANY + 1)]
    tell(changes, because(changes), {}, Metrics(), {})
    levels = [record.levelno for record in told.records]
    assert levels == [logging.DEBUG] * len(changes) + [logging.INFO]


def test_what_fails_among_many_is_reported_by_itself(told: pytest.LogCaptureFixture) -> None:
    metrics, changes = Metrics(), [added(number) for number in range(MANY + 1)]
    failure = Failure(changes[3], KernelError("add it", detail="no room"))
    tell(changes, because(changes), {changes[3].key: failure}, metrics, {})
    (error, summary) = told.records
    assert error.levelno == logging.ERROR
    assert error.getMessage().startswith('add-failed table=elements key="@ingress_peer4 10.0.0.3"')
    assert f"count={MANY} " in summary.getMessage()
    assert counted(metrics, "add") == MANY


def test_of_a_whole_start_only_failures_name_their_objects(told: pytest.LogCaptureFixture) -> None:
    metrics, changes = Metrics(), [added(number) for number in range(NAMED_CHANGES)]
    changes.append(Change(added(NAMED_CHANGES).key, Element((7,)), None))
    failed = {changes[0].key: Failure(changes[0], KernelError("add it", detail="no room"))}
    tell(changes, because(changes[:1]), failed, metrics, {})
    refused, *sums = told.messages
    assert 'cause="Pod/a/p0 metadata.labels"' in refused
    assert sums == [
        f'{verb} table=elements count={count} because="more objects than are counted here"'
        for verb, count in (("add", NAMED_CHANGES - 1), ("delete", 1))
    ]


def test_a_change_that_fails_again_is_reported_only_when_the_kernel_answers_something_else(
    told: pytest.LogCaptureFixture,
) -> None:
    """It is tried every second, for as long as the cause lasts."""
    changes = [added(1)]
    key = changes[0].key

    def failed(detail: str) -> dict[Key, Failure]:
        return {key: Failure(changes[0], KernelError("add it", detail=detail))}

    answers = [{}, failed("no room"), failed("no room"), failed("no right"), {}, failed("no right")]
    for before, after in pairwise(answers):
        tell(changes, because(changes), after, Metrics(), before)
    assert [text.partition(" ")[0] for text in told.messages] == [
        "add-failed",
        "add-failed",
        "add",
        "add-failed",
    ]
