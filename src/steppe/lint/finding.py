"""What lint finds."""

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
    """One thing that is hardly meant, where it stands, and what would cure it."""

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
    """`shop/db`: a pod as people write it."""
    return f"{ref.namespace}/{ref.name}"
