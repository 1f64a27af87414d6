"""The words of a benchmark: a target, and what was measured against it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from steppe.errors import SteppeError


class BenchError(SteppeError):
    """Something could not be measured; the message says why."""


# Tells the person who waits what is going on.
Say = Callable[[str], None]


class Target(msgspec.Struct, frozen=True):
    """A number to reach."""

    what: str
    reach: float
    unit: str = ""
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        return value <= self.reach if self.at_most else value >= self.reach

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.reach:g} {self.unit}".rstrip()


class Result(msgspec.Struct, frozen=True):
    """A target and the number found, None where there is none and `details` say why.

    Otherwise `details` are what the number was calculated from.
    """

    target: Target
    value: float | None
    details: dict[str, Any] = {}

    @property
    def ok(self) -> bool:
        return self.value is not None and self.target.met_by(self.value)

    def __str__(self) -> str:
        if self.value is None:
            return "not measured"
        digits = f"{self.value:.0f}" if self.value >= 100 else f"{self.value:.3g}"
        return f"{digits} {self.target.unit}".rstrip()


class Benchmark(msgspec.Struct, frozen=True):
    """Measures for some targets, together because they need the same set-up."""

    targets: tuple[Target, ...]
    measure: Callable[[Say], Iterator[Result]]


def percentile(values: list[float], share: float) -> float:
    """The smallest value that is no less than this share of all (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[rank - 1]
