"""What a walk answers: where the packet ends, and every step on the way with its causes."""

from fractions import Fraction
from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress
from steppe.net.packet import Packet


class Step(msgspec.Struct, frozen=True):
    """One table's say: on which node, what it held, and the objects that put it there."""

    node: str
    stage: str
    text: str
    because: tuple[Cause, ...] = ()


EndKind = Literal["pod", "node", "outside", "dropped", "refused"]


class End(msgspec.Struct, frozen=True):
    """Where a packet ends. `source` is what the receiver sees as the sender's address.

    `target` is `namespace/pod`, a node's name, or "" for outside and where the packet does not
    arrive, of which `reason` says why.
    """

    kind: EndKind
    target: str = ""
    source: IPAddress | None = None
    reason: str = ""


class Translation(msgspec.Struct, frozen=True):
    """An address that a node rewrote: conntrack there undoes it in the replies."""

    node: str
    before: Packet
    after: Packet
    because: tuple[Cause, ...] = ()


class Trace(msgspec.Struct, frozen=True):
    """One path that a packet may take; `share` is how likely it takes this one.

    `packet` is what it looked like in the end, after all that was `translated` on the way.
    """

    steps: tuple[Step, ...]
    end: End
    packet: Packet
    share: Fraction = Fraction(1)
    translated: tuple[Translation, ...] = ()
