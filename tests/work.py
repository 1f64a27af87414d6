"""Counts the steps of a computation, so that a test can say how its work grows without a clock."""

import sys
from collections.abc import Callable
from types import FrameType


def steps(run: Callable[[], object]) -> int:
    """How many lines of Python it executes: the same on any machine."""
    count = 0

    def line(_frame: FrameType, event: str, _arg: object) -> object:
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)  # type: ignore[arg-type]
    try:
        run()
    finally:
        sys.settrace(before)
    return count
