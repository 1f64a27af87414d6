"""The service table: what each address, protocol and port of a Service leads to on one node.

    Frontend(10.96.0.1, "TCP", 80)  ──▶  Backends(inside, outside, affinity, source ranges, …)

It does not say how a node does this: each data plane renders it into its own tables
(dataplane/registry.py). Code that needs a Service's backends reads this table, not a kernel's.
"""

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.net.address import IPAddress, IPNetwork


class Frontend(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What packets are sent to: a Service's address, protocol ("TCP", "UDP", "SCTP") and port."""

    address: IPAddress
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.address} {self.protocol} {self.port}"


class Backend(msgspec.Struct, frozen=True, gc=False):
    """An endpoint's address and port, and the slice that lists it first."""

    address: IPAddress
    port: int
    cause: Cause


class SourceRanges(msgspec.Struct, frozen=True, gc=False):
    """The prefixes of admitted senders, in the frontend's family, and the field they come from."""

    prefixes: tuple[IPNetwork, ...]
    cause: Cause


class Backends(msgspec.Struct, frozen=True, gc=False):
    """The backends of a frontend, chosen with equal probability, and how packets are sent to them.

    `inside` are the backends for pods and processes of this node, `outside` those for all other
    senders. They differ only if `local` is set: externalTrafficPolicy Local. Without backends,
    packets are refused if `refuse` is set (the Service has no backend on any node), and dropped
    otherwise (a Local policy, and no backend on this node).

    `masquerade`: the source address is replaced by the node's for every sender; if not set, only
    for senders that are not pods of this node. Packets from other senders to the `outside`
    backends of a `local` frontend keep their source address.

    `affinity_seconds`: how long a sender keeps its backend; 0 without session affinity.
    `admitted`: only these senders may use the frontend; None for everyone.
    """

    cause: Cause
    inside: tuple[Backend, ...]
    outside: tuple[Backend, ...]
    refuse: bool
    local: bool = False
    masquerade: bool = False
    affinity_seconds: int = 0
    admitted: SourceRanges | None = None

    @property
    def all(self) -> frozenset[tuple[IPAddress, int]]:
        """The address and port of every backend, for any sender."""
        return frozenset((each.address, each.port) for each in (*self.inside, *self.outside))


class ServiceTable(msgspec.Struct, frozen=True, gc=False):
    """One Service on one node: a function of the Service, its slices and the node's vantage.

    `addresses` are its cluster IPs; ports of them that are no frontends must be refused. A frontend
    that an older Service owns is not in `rows` but among the `problems`.
    """

    service: ObjectRef
    addresses: tuple[tuple[IPAddress, Cause], ...] = ()
    rows: tuple[tuple[Frontend, Backends], ...] = ()
    problems: tuple[Problem, ...] = ()
