"""An explanation: the verdict, every path that the packet may take, and what would change it."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Literal

import msgspec

from steppe.ends.target import Target
from steppe.explain.steps import What
from steppe.judge.verdict import Said, Verdict
from steppe.kube.cause import Cause, ObjectRef
from steppe.net.address import IPAddress
from steppe.net.packet import Packet, Protocol
from steppe.oracle.policy import Decision
from steppe.oracle.promised_path import Fate
from steppe.walk.trace import Stage

Kind = Literal["allowed", "denied", "partly", "doubtful", "unknown"]
"""`doubtful`: by the tables it is allowed, or denied by policies, but something else on a node may
do otherwise (Doubt).
`unknown`: it hangs on what the objects at hand do not tell (kube/doubt.py)."""


_KINDS: Mapping[Said, Kind] = {
    "yes": "allowed",
    "no": "denied",
    "partly": "partly",
    "unknown": "unknown",
}
_NAMED = 3


class Flow(msgspec.Struct, frozen=True):
    """The question: who sends to whom, and how; `port` is 0 if the protocol has none."""

    source: Target
    destination: Target
    protocol: Protocol
    port: int = 0


class Step(msgspec.Struct, frozen=True):
    """One thing that happens to the packet, and the objects behind it (steps.py has its text).

    `promised`: it comes from the oracle (the API's text), not from tables.
    """

    node: str
    stage: Stage
    what: What
    because: tuple[Cause, ...] = ()
    promised: bool = False


class Mtu(msgspec.Struct, frozen=True):
    """The largest packet that fits the whole path, in bytes, and what limits it."""

    bytes: int
    text: str
    because: tuple[Cause, ...] = ()


class Miss(msgspec.Struct, frozen=True):
    """A rule that does not match the packet, or a policy without rules; what it allows instead."""

    cause: Cause
    text: str


class Path(msgspec.Struct, frozen=True):
    """One path that the connection may take; `share` is its probability.

    `receiver` names the receiver, also if the packet does not arrive. `decisive` are the objects
    that stop it, and `misses` the rules that do not match it but could allow it.
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
    """One packet that represents the flow: of one family, or from one part of a range.

    `stands_for` names the part; `entering` is the node at which a packet from outside comes in.
    `sender` is the sending pod's own address, where the packet's source is another's. `by_nodes`
    are the nodes by which it comes in, where another verdict is true of others. `judged` is the
    judge's verdict, which is the case's where its paths are not told.
    """

    stands_for: str
    packet: Packet
    paths: tuple[Path, ...] = ()
    entering: str = ""
    sender: IPAddress | None = None
    by_nodes: tuple[str, ...] = ()
    judged: Verdict | None = None

    @property
    def name(self) -> str:
        """What it stands for, with the nodes by which it comes in if others differ."""
        nodes = ", ".join(self.by_nodes[:_NAMED])
        if len(self.by_nodes) > _NAMED:
            nodes += f" and {len(self.by_nodes) - _NAMED} more"
        return f"{self.stands_for}, coming in by {nodes}" if nodes else self.stands_for

    @property
    def by(self) -> IPAddress:
        """An address of who really sends."""
        return self.packet.source if self.sender is None else self.sender

    @property
    def kind(self) -> Kind:
        if self.judged is not None and (self.judged.said == "unknown" or not self.paths):
            return _KINDS[self.judged.said]
        return kind_of(path.open for path in self.paths)


class Patch(msgspec.Struct, frozen=True):
    """What to add to an object, and where.

    `path` is a JSON pointer (RFC 6901), "" for a new object.
    """

    object: ObjectRef
    path: str
    value: Any


class Change(msgspec.Struct, frozen=True):
    """Edits that open the flow together: this was tried on the judge."""

    text: str
    objects: tuple[Cause, ...]
    patches: tuple[Patch, ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """A table entry of the path that differs in a kernel; "" where there is no entry."""

    node: str
    entry: str
    actual: str
    desired: str
    because: tuple[Cause, ...] = ()

    def __str__(self) -> str:
        shall = f"be {self.desired}" if self.desired else "not be there"
        return f"{self.node}: {self.entry} is {self.actual or 'not there'}, shall {shall}"


class Doubt(msgspec.Struct, frozen=True):
    """Something on a node of the path, not Steppe's, that may stop or change the packet."""

    node: str
    entry: str
    effect: str
    cure: str


Basis = Literal["promises", "tables", "kernels"]
"""What an explanation is based on: the API's promises, Steppe's desired tables, or the kernels."""


class Explanation(msgspec.Struct, frozen=True):
    """The verdict on a flow, and everything behind it.

    `conflicts` are differences between the paths and the oracle. With desired tables there must be
    none: each is a bug in Steppe. Kernels differ if their tables are wrong, and `differences` are
    the entries that are. `unknown` says what an answer that is not known hangs on.
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
    doubts: tuple[Doubt, ...] = ()
    unknown: tuple[str, ...] = ()


def kind_of(open_: Iterable[bool]) -> Kind:
    """The kind for these results: all, none or some of them are open."""
    seen = set(open_)
    return "partly" if len(seen) > 1 else "allowed" if True in seen else "denied"
