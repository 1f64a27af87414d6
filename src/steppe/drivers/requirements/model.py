"""The words of `steppe doctor`: a requirement, and what was found when it was tried."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

import msgspec

# Most of a probe is waiting for the kernel to make and unmake a namespace.
_AT_ONCE = 6


class Level(StrEnum):
    """What it means when something is missing."""

    REQUIRED = "required"  # the pod network, the lab or its demo do not work
    OPTIONAL = "optional"  # the feature that the purpose names does not work
    INFO = "info"  # nothing is wrong either way


class State(StrEnum):
    """What trying it has shown."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"  # could not be tried: the reason stands beside it


class Outcome(msgspec.Struct, frozen=True):
    """What a probe saw."""

    state: State
    found: str = ""


class Requirement(msgspec.Struct, frozen=True):
    """One thing a machine must or may have."""

    name: str
    level: Level
    purpose: str
    cure: str
    probe: Callable[[], Outcome]


class Finding(msgspec.Struct, frozen=True):
    """A requirement and its outcome: one line of `steppe doctor`."""

    name: str
    level: Level
    state: State
    found: str
    purpose: str
    cure: str

    @property
    def blocks(self) -> bool:
        """Whether Steppe cannot do its work because of this."""
        return self.level is Level.REQUIRED and self.state is not State.OK


def ok(found: str = "") -> Outcome:
    return Outcome(State.OK, found)


def missing(found: str = "") -> Outcome:
    return Outcome(State.MISSING, found)


def unknown(found: str) -> Outcome:
    return Outcome(State.UNKNOWN, found)


def examine(requirements: tuple[Requirement, ...]) -> Iterator[Finding]:
    """Try them several at a time; the findings come in order, each as soon as it is known."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for need, outcome in zip(
            requirements, pool.map(lambda need: need.probe(), requirements), strict=True
        ):
            yield Finding(
                name=need.name,
                level=need.level,
                state=outcome.state,
                found=outcome.found,
                purpose=need.purpose,
                cure="" if outcome.state is State.OK else need.cure,
            )
