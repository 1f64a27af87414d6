"""A job that fails ends alone, is told of, and is tried again; a bug of ours ends the process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from steppe.agent.__main__ import exit_code
from steppe.agent.supervisor import Job, Supervisor
from steppe.client.errors import ApiError
from steppe.client.informer import Backoff
from steppe.drivers.errors import KernelError
from steppe.errors import SteppeError
from tests.waiting import patience, until_async

OUTSIDE = [
    KernelError("list routes", 4, "the tables changed during each of 10 attempts to read them"),
    OSError(24, "Too many open files"),
    TimeoutError("the disk is slow"),
    ApiError(403, "Forbidden", "not yours"),
    ExceptionGroup("several", [SteppeError("one"), OSError(98, "Address already in use")]),
]
OURS = [
    ZeroDivisionError("division by zero"),
    KeyError("st1"),
    ExceptionGroup("several", [SteppeError("one"), KeyError("st1")]),
]


class Work:
    """Fails as often as it is told, then goes on."""

    def __init__(self, error: Exception, failures: int = 1) -> None:
        self.error = error
        self.failures = failures
        self.runs = 0
        self.going_on = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.runs <= self.failures:
            raise self.error
        self.going_on.set()
        await asyncio.Event().wait()


def supervisor(
    steady: float = 3600.0, failed: Callable[[str], None] = lambda _: None
) -> Supervisor:
    return Supervisor("node-a", failed, lambda: Backoff(0.001, 0.001), steady)


@asynccontextmanager
async def running(it: Supervisor, *jobs: Job) -> AsyncIterator[None]:
    async with asyncio.timeout(patience(10)), asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(it.one(job)) for job in jobs]
        yield
        for task in started:
            task.cancel()


@pytest.mark.parametrize("error", OUTSIDE, ids=lambda error: type(error).__name__)
async def test_an_expected_error_is_reported_and_the_job_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    work, failed = Work(error), []
    it = supervisor(failed=failed.append)
    async with running(it, Job("reading", work.run)):
        await work.going_on.wait()
        (problem,) = it.problems
        assert it.is_failing("reading")
    assert str(problem.cause) == "Node/node-a"
    assert "the agent's job reading failed and is tried again: " in problem.message
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.message.startswith("job-failed job=reading error=")
    assert "Traceback" not in caplog.text
    for said in error.exceptions if isinstance(error, ExceptionGroup) else (error,):
        assert str(said) in problem.message
        assert str(said) in record.message
    assert failed == ["reading"]


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
async def test_a_bug_of_ours_ends_all_jobs_and_is_raised(error: Exception) -> None:
    beside = Work(error, failures=0)
    with pytest.raises(ExceptionGroup) as raised:
        async with running(supervisor(), Job("beside", beside.run), Job("bug", Work(error).run)):
            await asyncio.Event().wait()
    assert raised.value.exceptions == (error,)
    assert beside.runs == 1


async def test_another_jobs_error_disturbs_no_other_job() -> None:
    beside, work = Work(KeyError(), failures=0), Work(OSError("no"), failures=5)
    it = supervisor()
    async with running(it, Job("beside", beside.run), Job("failing", work.run)):
        await work.going_on.wait()
    assert (beside.runs, work.runs) == (1, 6)
    assert not it.is_failing("beside")


async def test_a_job_that_has_run_for_a_while_is_well_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    work, it = Work(OSError("no")), supervisor(steady=0.02)

    async def is_well() -> bool:
        return not it.problems

    async with running(it, Job("reading", work.run)):
        await work.going_on.wait()
        assert it.problems
        await until_async(is_well, 5, "the Problem is gone")
    assert "job-well-again job=reading" in caplog.text


async def test_a_job_that_has_done_one_full_turn_is_well_at_once() -> None:
    work, it = Work(OSError("no"), failures=2), supervisor()

    async def run() -> None:
        if work.runs == work.failures:
            it.turned("reading")
        await work.run()

    async with running(it, Job("reading", run)):
        await work.going_on.wait()
        assert not it.is_failing("reading")
    assert it.problems == ()


async def test_a_job_that_ends_although_it_should_last_is_a_problem() -> None:
    runs = asyncio.Queue[int]()

    async def ends() -> None:
        await runs.put(1)

    it = supervisor()
    async with running(it, Job("following", ends)):
        await runs.get()
        await runs.get()
        (problem,) = it.problems
    assert "it ended, and was to go on" in problem.message


async def test_a_job_that_may_end_is_tried_until_it_is_done() -> None:
    tries: list[int] = []

    async def starts() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise KernelError("list links", 24)

    it = supervisor()
    async with asyncio.timeout(patience(5)):
        await it.one(Job("start", starts, lasts=False))
    assert len(tries) == 3
    assert it.problems == ()


async def test_pauses_grow_while_a_job_fails_and_begin_again_once_it_was_well() -> None:
    asked: list[str] = []

    class Noted(Backoff):
        def next(self) -> float:
            asked.append("next")
            return 0.001

        def reset(self) -> None:
            asked.append("reset")

    work = Work(OSError("no"), failures=2)
    it = Supervisor("node-a", backoff=Noted, steady=0.01)

    async def is_well() -> bool:
        return not it.problems

    async with running(it, Job("reading", work.run)):
        await work.going_on.wait()
        await until_async(is_well, 5, "the job is well")
    assert asked == ["next", "next", "reset"]


async def test_a_cancelled_job_that_fails_on_its_way_out_does_not_begin_again() -> None:
    runs = []
    begun = asyncio.Event()

    async def closes_badly() -> None:
        runs.append(1)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError(9, "Bad file descriptor")

    async with running(supervisor(), Job("server", closes_badly)):
        await begun.wait()
    assert runs == [1]


@pytest.mark.parametrize(
    ("error", "code", "traceback"),
    [
        (None, 0, False),
        (SteppeError("no credentials"), 1, False),
        (PermissionError(1, "Operation not permitted"), 1, False),
        (ExceptionGroup("jobs", [ZeroDivisionError()]), 70, True),
        (KeyError("st1"), 70, True),
    ],
)
def test_the_exit_code_tells_a_bug_of_ours_from_what_the_agent_cannot_help(
    error: Exception | None, code: int, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> None:
        if error is not None:
            raise error

    assert exit_code(run) == code
    assert ("Traceback" in caplog.text) == traceback
