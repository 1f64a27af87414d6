"""A finding of lint."""

from typing import Literal

import msgspec

from steppe.kube.cause import Cause, ObjectRef

Check = Literal[
    "problem",
    "selects-nothing",
    "matches-nobody",
    "port-not-served",
    "already-covered",
    "no-endpoints",
    "no-target-port",
    "ports-differ",
    "all-denied",
    "partly-denied",
    "mtu-differs",
    "not-its-own",
    "external-ips",
]


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that is probably not intended, its object and field, and what would cure it."""

    cause: Cause
    check: Check
    message: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.message} [{self.check}]"


def listed(names: list[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def named(ref: ObjectRef) -> str:
    """An object without its kind: `shop/db`."""
    return f"{ref.namespace}/{ref.name}"
