"""What a walk answers: where the packet ends, and every step on the way with its causes."""

from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress


class Step(msgspec.Struct, frozen=True):
    """One table's say: on which node, what it held, and the objects that put it there."""

    node: str
    stage: str
    text: str
    because: tuple[Cause, ...] = ()


class End(msgspec.Struct, frozen=True):
    """Where a packet ends. `source` is what the receiver sees as the sender's address.

    `target` is `namespace/pod`, a node's name, or "" for outside and for a drop, whose `reason`
    says why.
    """

    kind: Literal["pod", "node", "outside", "dropped"]
    target: str = ""
    source: IPAddress | None = None
    reason: str = ""


class Trace(msgspec.Struct, frozen=True):
    """The whole path of one packet."""

    steps: tuple[Step, ...]
    end: End
