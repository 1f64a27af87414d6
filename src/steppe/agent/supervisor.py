"""Runs the agent's jobs, each by itself: what fails in one job ends that job alone.

    job ──▶ runs ──error of the outside──▶ a log line, a Problem ──back-off──▶ runs again
              └────any other exception───▶ the process ends: it is a bug of ours

An error of the outside is what a kernel, an API server or a file system answers: SteppeError and
OSError. Trying again may cure it, and meanwhile `steppe status` says what is wrong. Any other
exception means that our own state may be wrong; to go on with it could do harm.

A job that has failed counts as well again once it has run for STEADY_SECONDS.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from steppe.agent.log import line
from steppe.client.informer import Backoff
from steppe.errors import SteppeError
from steppe.kube.cause import Cause, ObjectRef, Problem

log = logging.getLogger("steppe.agent")

STEADY_SECONDS = 10.0
"""How long a job runs without an error until its Problem is gone; longer than any call to the
kernel takes, so that a job which fails slowly is not called well in between."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first and before any later restart of a job that fails again and again."""


class Job(msgspec.Struct, frozen=True):
    """Something the agent does beside all else.

    `run`: makes a new run of the job, for each try one.

    `lasts`: whether it goes on until it is cancelled; else it is done when it returns.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    lasts: bool = True


class JobEndedError(SteppeError):
    """A job returned that was to go on for as long as the agent runs."""


class Supervisor:
    """Keeps the jobs of one node's agent going, and knows which of them have failed."""

    def __init__(
        self,
        node: str,
        failed: Callable[[str], None] = lambda _: None,
        backoff: Callable[[], Backoff] = lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE),
        steady: float = STEADY_SECONDS,
    ) -> None:
        """`failed` is told the name of a job whenever it has failed."""
        self._node = Cause(ObjectRef("Node", "", node))
        self._failed = failed
        self._backoff = backoff
        self._steady = steady
        self._problems: dict[str, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with jobs now, one Problem a job."""
        return tuple(self._problems[name] for name in sorted(self._problems))

    def is_failing(self, job: str) -> bool:
        """Whether the job of this name failed and has not been well since."""
        return job in self._problems

    async def one(self, job: Job) -> None:
        """One job, tried again until it is done; an exception that is a bug of ours is raised."""
        backoff = self._backoff()
        while True:
            well = asyncio.get_running_loop().call_later(self._steady, self._is_well, job, backoff)
            try:
                await _run(job)
            except Exception as error:  # a job's boundary: what is not expected is raised again
                _raise_if_cancelled(error)
                if not is_expected(error):
                    raise
                pause = backoff.next()
                self._note(job, error, pause)
            else:
                self._is_well(job, backoff)
                return
            finally:
                well.cancel()
            await asyncio.sleep(pause)

    def _note(self, job: Job, error: Exception, pause: float) -> None:
        cause = "; ".join(causes(error))
        log.error(line("job-failed", job=job.name, error=cause, again_in=f"{pause:.1f}s"))
        message = f"the agent's job {job.name} failed and is tried again: {cause}"
        self._problems[job.name] = Problem(self._node, message)
        self._failed(job.name)

    def _is_well(self, job: Job, backoff: Backoff) -> None:
        backoff.reset()
        if self._problems.pop(job.name, None) is not None:
            log.info(line("job-well-again", job=job.name))


async def _run(job: Job) -> None:
    await job.run()
    if job.lasts:
        raise JobEndedError("it ended, and was to go on for as long as the agent runs")


def is_expected(error: BaseException) -> bool:
    """Whether an error is the outside's, and no bug of ours; of a group, whether all of it is."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_expected, error.exceptions))
    return isinstance(error, SteppeError | OSError)


def causes(error: BaseException) -> list[str]:
    """What an error says, and what each error of a group says."""
    if isinstance(error, BaseExceptionGroup):
        return [text for each in error.exceptions for text in causes(each)]
    return [str(error) or type(error).__name__]


def _raise_if_cancelled(error: Exception) -> None:
    """An error on the way out of a cancelled job must not make it go on."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
