"""What a walk answers: where the packet ends, and every step on the way with its causes."""

from fractions import Fraction
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

    `target` is `namespace/pod`, a node's name, or "" for outside and where the packet does not
    arrive, of which `reason` says why.
    """

    kind: Literal["pod", "node", "outside", "dropped", "refused"]
    target: str = ""
    source: IPAddress | None = None
    reason: str = ""


class Trace(msgspec.Struct, frozen=True):
    """One path that a packet may take; `share` is how likely it takes this one."""

    steps: tuple[Step, ...]
    end: End
    share: Fraction = Fraction(1)
