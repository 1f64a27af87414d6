"""The service table: what each address, protocol and port of a Service leads to on one node.

    Frontend(10.96.0.1, "TCP", 80)  ──▶  Backends(inside, outside, affinity, source ranges, …)

It says what shall happen and not by which means: every data plane renders it in its own words
(dataplane/registry.py), and whoever asks what a Service leads to asks it, not a kernel's tables.
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
    """The senders that are admitted, of the frontend's family, and the field that says so."""

    prefixes: tuple[IPNetwork, ...]
    cause: Cause


class Backends(msgspec.Struct, frozen=True, gc=False):
    """What becomes of packets that are sent to a frontend, each backend alike likely.

    `inside` is for pods and processes of this node, `outside` for everyone else; they differ
    only where traffic from outside is kept `local`, under externalTrafficPolicy Local. No backends
    mean `refuse` where the Service has none anywhere, and a silent drop where a Local policy only
    finds none here.

    `masquerade`: every sender's address becomes the node's; else that of senders alone that are no
    pods of this node. What comes from outside to `local` backends keeps its address.

    `affinity_seconds`: how long a sender keeps its backend, 0 for not at all. `admitted`: only
    these senders; None for anyone.
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
        """The address and port of every backend, whoever sends."""
        return frozenset((each.address, each.port) for each in (*self.inside, *self.outside))


class ServiceTable(msgspec.Struct, frozen=True, gc=False):
    """All that one Service is on one node: a function of it, its slices and the node's vantage.

    `addresses` are its cluster IPs, of which no port but the frontends' may be reached. A frontend
    that an older Service has is not in `rows`: it is among the `problems`.
    """

    service: ObjectRef
    addresses: tuple[tuple[IPAddress, Cause], ...] = ()
    rows: tuple[tuple[Frontend, Backends], ...] = ()
    problems: tuple[Problem, ...] = ()
