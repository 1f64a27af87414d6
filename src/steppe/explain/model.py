"""What an explanation says: the verdict, every way the packet may go, and what would change it."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal

import msgspec

from steppe.ends.target import Target
from steppe.explain.steps import What
from steppe.kube.cause import Cause, ObjectRef
from steppe.net.address import IPAddress
from steppe.net.packet import Packet, Protocol
from steppe.oracle.policy import Decision
from steppe.oracle.promised_path import Fate
from steppe.walk.trace import Stage

Kind = Literal["allowed", "denied", "partly"]


class Flow(msgspec.Struct, frozen=True):
    """Who wants to talk to whom, and how; `port` is 0 where the protocol has none."""

    source: Target
    destination: Target
    protocol: Protocol
    port: int = 0


class Step(msgspec.Struct, frozen=True):
    """One thing that happens to the packet, and the objects behind it; `told` has words for it.

    `promised`: the API's text says that it happens; nobody has looked at how.
    """

    node: str
    stage: Stage
    what: What
    because: tuple[Cause, ...] = ()
    promised: bool = False


class Mtu(msgspec.Struct, frozen=True):
    """The largest packet that fits the whole way, in bytes, and what bounds it."""

    bytes: int
    text: str
    because: tuple[Cause, ...] = ()


class Miss(msgspec.Struct, frozen=True):
    """A rule that does not take the packet, or a policy without any: what it takes instead."""

    cause: Cause
    text: str


class Path(msgspec.Struct, frozen=True):
    """One way that the connection may take, and how likely it is.

    `receiver` says who is at its end, or would be; `decisive` are the objects that said no, and
    `misses` the rules that would have to say yes.
    """

    fate: Fate
    share: Fraction
    receiver: str
    sent: Packet
    received: Packet
    egress: Decision
    ingress: Decision
    reason: str = ""
    decisive: tuple[Cause, ...] = ()
    misses: tuple[Miss, ...] = ()
    steps: tuple[Step, ...] = ()
    reply: tuple[Step, ...] = ()
    mtu: Mtu | None = None

    @property
    def open(self) -> bool:
        return self.fate == "delivered"


class Case(msgspec.Struct, frozen=True):
    """One packet that stands for the flow: of one family, or from one part of a range.

    `stands_for` names the part; `entering` is the node by which a sender outside comes in.
    `sender` is the sending pod's own address, where the packet's source is another's.
    """

    stands_for: str
    packet: Packet
    paths: tuple[Path, ...] = ()
    entering: str = ""
    sender: IPAddress | None = None

    @property
    def by(self) -> IPAddress:
        """An address of who really sends."""
        return self.packet.source if self.sender is None else self.sender

    @property
    def kind(self) -> Kind:
        return kind_of(path.open for path in self.paths)


class Patch(msgspec.Struct, frozen=True):
    """What to add to an object, and where: a JSON pointer as in RFC 6902, "" for a new object."""

    object: ObjectRef
    path: str
    value: Any


class Change(msgspec.Struct, frozen=True):
    """An edit that would open the flow: it was tried on the oracle, and it does."""

    text: str
    objects: tuple[Cause, ...]
    patches: tuple[Patch, ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """A table entry on the way that a kernel holds otherwise than it shall; "" is not at all."""

    node: str
    entry: str
    actual: str
    desired: str
    because: tuple[Cause, ...] = ()


Basis = Literal["promises", "tables", "kernels"]
"""What the API promises, what Steppe's tables shall hold, or what the kernels do hold."""


class Explanation(msgspec.Struct, frozen=True):
    """The verdict on a flow, and everything behind it.

    `conflicts` are where the paths and the oracle part. Tables never may: that is a fault of ours.
    Kernels do where they are not as they shall be, and `differences` says in which entries.
    """

    flow: Flow
    kind: Kind
    verdict: str
    basis: Basis
    cases: tuple[Case, ...]
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()


def kind_of(open_: Iterable[bool]) -> Kind:
    """All, none or some."""
    seen = set(open_)
    return "partly" if len(seen) > 1 else "allowed" if True in seen else "denied"
