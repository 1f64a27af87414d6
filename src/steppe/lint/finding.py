"""A finding of lint, and how it is worded."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from steppe.kube.cause import Cause, ObjectRef
from steppe.printable import printable

Severity = Literal["error", "warning", "note"]
"""error: it cannot work as it is written. warning: it is probably not what was meant. note: worth
knowing, and often right.
"""


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that is probably not intended, its object and field, and what would cure it."""

    cause: Cause
    check: str
    message: str
    severity: Severity = "warning"

    def __str__(self) -> str:
        return f"{self.cause}: {printable(self.message)} [{self.check}]"


def listed(names: Iterable[str], most: int = 3) -> str:
    """`a, b, c and 4 more`; `a and b`."""
    known = list(dict.fromkeys(names))
    more = len(known) - most
    if more > 0:
        return f"{', '.join(known[:most])} and {more} more"
    *before, last = known
    return f"{', '.join(before)} and {last}" if before else last


def named(ref: ObjectRef) -> str:
    """An object without its kind: `shop/db`."""
    return f"{ref.namespace}/{ref.name}"


def known_as(ref: ObjectRef) -> str:
    """An object with its kind: `Service shop/db`."""
    return f"{ref.full_kind} {ref.namespace}/{ref.name}" if ref.namespace else str(ref)
