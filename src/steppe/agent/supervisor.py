"""Runs the agent's jobs independently: an error in one job ends only that job.

    job ──▶ runs ──expected error────▶ a log line, a Problem ──back-off──▶ runs again
              └────any other exception─▶ the process ends: a bug in the agent

Expected errors are SteppeError and OSError: answers of a kernel, an API server or a file system.
Trying again may cure them, and meanwhile `steppe status` shows them. Any other exception means that
the agent's own state may be wrong; to go on with it could do harm.

A failed job counts as recovered once it says that it has done one full turn of its work (`turned`),
or after it has run for STEADY_SECONDS. Only after the latter the pauses start anew with the first:
a job may fail in every second turn.
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
"""Seconds that a job runs without an error until its Problem is removed; longer than any call to
the kernel, so that a job which fails slowly does not count as recovered in between."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first and before any later restart of a job that fails again and again."""


class Job(msgspec.Struct, frozen=True):
    """A task of the agent.

    `run`: called for each try; returns the coroutine to run.

    `lasts`: whether it should run until it is cancelled; else it is done when it returns.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    lasts: bool = True


class JobEndedError(SteppeError):
    """A job with `lasts` has returned."""


class Supervisor:
    """Restarts the failed jobs of one node's agent, and knows which jobs are failing."""

    def __init__(
        self,
        node: str,
        failed: Callable[[str], None] = lambda _: None,
        backoff: Callable[[], Backoff] = lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE),
        steady: float = STEADY_SECONDS,
    ) -> None:
        """`failed` is called with the name of a job each time it fails."""
        self._node = Cause(ObjectRef("Node", "", node))
        self._failed = failed
        self._backoff = backoff
        self._steady = steady
        self._problems: dict[str, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One Problem for each failing job."""
        return tuple(self._problems[name] for name in sorted(self._problems))

    def is_failing(self, job: str) -> bool:
        """Whether the job of this name has failed and not recovered since."""
        return job in self._problems

    def turned(self, job: str) -> None:
        """The job of this name has done one full turn of its work."""
        if self._problems.pop(job, None) is not None:
            log.info(line("job-well-again", job=job))

    async def one(self, job: Job) -> None:
        """Run a job until it is done, again after each expected error; raises other exceptions."""
        backoff = self._backoff()
        while True:
            well = asyncio.get_running_loop().call_later(self._steady, self._is_well, job, backoff)
            try:
                await _run(job)
            except Exception as error:  # a job's boundary: unexpected errors are raised again
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
        self.turned(job.name)


async def _run(job: Job) -> None:
    await job.run()
    if job.lasts:
        raise JobEndedError("it ended, and was to go on for as long as the agent runs")


def is_expected(error: BaseException) -> bool:
    """Whether an error is a SteppeError or OSError; for a group, whether all its errors are."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_expected, error.exceptions))
    return isinstance(error, SteppeError | OSError)


def causes(error: BaseException) -> list[str]:
    """The text of an error, or of each error in a group."""
    if isinstance(error, BaseExceptionGroup):
        return [text for each in error.exceptions for text in causes(each)]
    return [str(error) or type(error).__name__]


def _raise_if_cancelled(error: Exception) -> None:
    """Raise CancelledError if the task is cancelled: an error during that must not restart it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
