"""What Nodes and ServiceCIDRs may have of the addresses that they ask for.

No two objects may have one address: whoever routes it can follow only one of them. The older object
(by creationTimestamp, then by kind and name) keeps what it has, and the younger one goes without
the part that is taken:

    a Node's podCIDR, InternalIP    against those of any other Node, and against every ServiceCIDR
    a Node's podCIDR                against the Node's own addresses as well

Two ServiceCIDRs may overlap: a cluster IP is given out once (ipallocator, by IPAddress objects).
Besides, a prefix must be one that pods or Services can have at all (`unfit`), and a podCIDR must
lie in the cluster's pod ranges where the operator has said what those are.

`NodeClaims` follows events, and what it answers depends on the present objects alone, never on the
order in which they came.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import Node
from steppe.kube.services import ServiceRange
from steppe.net.address import IPAddress, IPNetwork, holds, parse_prefix
from steppe.net.overlaps import Block, Overlaps, block_of

Claimant = Node | ServiceRange
Kind = Literal["address", "prefix", "range", "public"]
Rank = tuple[str, ObjectRef, str, Block]
SHORTEST = {4: 8, 6: 32}
"""The shortest prefixes that a node or the Services may have; more would be half the Internet."""


class Part(msgspec.Struct, frozen=True, eq=False):
    """One address or prefix that an object asks for; lower ranks go first.

    `public` is a Node's ExternalIP: several nodes behind one translator may have the same, but no
    Service may.
    """

    what: IPAddress | IPNetwork
    block: Block
    kind: Kind
    cause: Cause
    rank: Rank

    @property
    def ref(self) -> ObjectRef:
        return self.cause.ref

    def same(self, other: "Part") -> bool:
        return (self.block, self.kind, self.cause, self.rank) == (
            other.block,
            other.kind,
            other.cause,
            other.rank,
        )

    def clashes(self, other: "Part") -> bool:
        """Whether one of them must go, given that they overlap."""
        kinds = {self.kind, other.kind}
        if "public" in kinds or kinds == {"range"}:
            return False
        return self.ref != other.ref or len(kinds) > 1

    def __str__(self) -> str:
        name = {"address": "address", "prefix": "pod prefix", "range": "range", "public": "address"}
        return f"{name[self.kind]} {self.what} of {self.ref}"


class NodeClaims:
    """The addresses that Nodes and ServiceCIDRs ask for, and who has them.

    Invariant: a part is refused if and only if it is unfit, or an older part that clashes with it
    is granted; `_blocker` has the oldest such part for each that is refused for that.
    """

    def __init__(self, pod_ranges: tuple[IPNetwork, ...] = ()) -> None:
        self._pod_ranges = pod_ranges
        self._asked: dict[ObjectRef, Claimant] = {}
        self._parts: dict[ObjectRef, tuple[Part, ...]] = {}
        self._unfit: dict[ObjectRef, tuple[tuple[Part, str], ...]] = {}
        self._index: Overlaps[Part] = Overlaps()
        self._blocker: dict[Part, Part] = {}

    @classmethod
    def of(cls, pod_ranges: tuple[IPNetwork, ...], asking: Iterable[Claimant]) -> "NodeClaims":
        claims = cls(pod_ranges)
        for each in asking:
            claims.ask(each)
        return claims

    def ask(self, asking: Claimant) -> frozenset[ObjectRef]:
        """What the object asks for now; answers whose grants may differ, it among them."""
        ref = asking.ref
        self._asked[ref] = asking
        parts, unfit = self._checked(asking)
        self._unfit.pop(ref, None)
        if unfit:
            self._unfit[ref] = unfit
        return self._replace(ref, parts)

    def withdraw(self, ref: ObjectRef) -> frozenset[ObjectRef]:
        self._asked.pop(ref, None)
        self._unfit.pop(ref, None)
        return self._replace(ref, ())

    def node(self, node: Node) -> Node:
        """The Node without what it may not have."""
        gone = self._gone(node.ref)
        if not gone:
            return node
        return msgspec.structs.replace(
            node,
            prefixes=tuple(p for p in node.prefixes if p.network not in gone),
            addresses=tuple(a for a in node.addresses if a not in gone),
        )

    def own_node(self, node: Node) -> Node:
        """The same for the node itself: it has its addresses, whatever others are told."""
        given = self.node(node)
        if given is node:
            return node
        return msgspec.structs.replace(given, addresses=node.addresses)

    def service_range(self, known: ServiceRange) -> ServiceRange:
        """The range without what it may not have."""
        gone = self._gone(known.ref)
        if not gone:
            return known
        prefixes = tuple(prefix for prefix in known.prefixes if prefix not in gone)
        return msgspec.structs.replace(known, prefixes=prefixes)

    def problems(self, ref: ObjectRef) -> tuple[Problem, ...]:
        """A Problem for each part that the object may not have."""
        parts = self._parts.get(ref, ())
        if ref not in self._unfit and self._blocker.keys().isdisjoint(parts):
            return ()
        unfit = (Problem(part.cause, why) for part, why in self._unfit.get(ref, ()))
        taken = (_taken(part, self._blocker[part]) for part in parts if part in self._blocker)
        return (*unfit, *taken)

    def holder(self, address: IPAddress) -> Part | None:
        """What is granted, and holds the address: of several the oldest."""
        return min(self._granted_over(block_of(address)), key=_rank, default=None)

    def blocks(self, ref: ObjectRef) -> frozenset[Block]:
        """All that the object asks for, given or not."""
        return frozenset(part.block for part in self._parts.get(ref, ()))

    def rivals(self, node: Node) -> frozenset[str]:
        """The other Nodes that ask for something that this one asks for, or does in future."""
        parts, _ = self._checked(node)
        return frozenset(
            other.ref.name
            for part in parts
            for other in self._index.overlapping(part.block)
            if other.ref != node.ref and other.ref.kind == node.ref.kind and part.clashes(other)
        )

    def _gone(self, ref: ObjectRef) -> frozenset[IPAddress | IPNetwork]:
        parts = self._parts.get(ref, ())
        if ref not in self._unfit and self._blocker.keys().isdisjoint(parts):
            return frozenset()
        unfit = (part.what for part, _ in self._unfit.get(ref, ()))
        return frozenset((*unfit, *(part.what for part in parts if part in self._blocker)))

    def _granted_over(self, block: Block) -> Iterator[Part]:
        return (part for part in self._index.over(block) if part not in self._blocker)

    def _checked(self, asking: Claimant) -> tuple[tuple[Part, ...], tuple[tuple[Part, str], ...]]:
        """What is asked for that can be given at all, and the rest, each with the reason."""
        fit: list[Part] = []
        wrong: list[tuple[Part, str]] = []
        for part in parts_of(asking):
            why = self._unfit_because(part)
            if why:
                wrong.append((part, why))
            else:
                fit.append(part)
        return tuple(fit), tuple(wrong)

    def _unfit_because(self, part: Part) -> str:
        why = unfit(part.what) if part.kind != "public" else ""
        if why or part.kind != "prefix" or not isinstance(part.what, IPv4Network | IPv6Network):
            return why
        ranges = [each for each in self._pod_ranges if each.version == part.what.version]
        if self._pod_ranges and not any(holds(each, part.what) for each in ranges):
            known = ", ".join(map(str, ranges)) or "none of this family"
            return (
                f"{part.what} lies in none of the cluster's pod ranges ({known}), so it is not "
                "used; give the node another prefix, or the agents another --pod-ranges"
            )
        return ""

    def _replace(self, ref: ObjectRef, parts: tuple[Part, ...]) -> frozenset[ObjectRef]:
        before = self._parts.pop(ref, ())
        kept = [next((old for old in before if old.same(part)), part) for part in parts]
        if kept:
            self._parts[ref] = tuple(kept)
        queue = _Queue()
        known, wanted = set(before), set(kept)
        gone = [part for part in before if part not in wanted]
        for part in gone:
            self._index.discard(part.block, part)
        for part in gone:
            if self._blocker.pop(part, None) is None:
                self._free(part, queue)
        for part in kept:
            if part not in known:
                self._index.add(part.block, part)
                queue.push(part)
        return frozenset((ref, *self._settle(queue, wanted - known)))

    def _settle(self, queue: "_Queue", new: set[Part]) -> Iterator[ObjectRef]:
        """Decide what may have changed, older parts first; whom that concerns."""
        while (part := queue.pop()) is not None:
            before, against = self._blocker.get(part), self._against(part)
            granted = (each for each in against if each not in self._blocker)
            older = (each for each in granted if each.rank < part.rank)
            now = min(older, key=_rank, default=None)
            if now is before and part not in new:
                continue
            yield part.ref
            if now is not None:
                self._blocker[part] = now
                if before is None and part not in new:
                    self._free(part, queue)
                continue
            self._blocker.pop(part, None)
            # Younger parts that it stands against now.
            for other in against:
                held = self._blocker.get(other)
                if other.rank > part.rank and (held is None or held.rank > part.rank):
                    queue.push(other)

    def _free(self, part: Part, queue: "_Queue") -> None:
        """The part is not granted any more: those that it alone kept out are to be looked at."""
        for other in self._against(part):
            if self._blocker.get(other) is part:
                queue.push(other)

    def _against(self, part: Part) -> list[Part]:
        found = self._index.overlapping(part.block)
        return [other for other in found if other is not part and part.clashes(other)]


class _Queue:
    """Parts to decide on, each once at a time, the oldest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[Rank, Part]] = []
        self._in: set[Part] = set()

    def push(self, part: Part) -> None:
        if part not in self._in:
            self._in.add(part)
            heappush(self._heap, (part.rank, part))

    def pop(self) -> Part | None:
        if not self._heap:
            return None
        _, part = heappop(self._heap)
        self._in.discard(part)
        return part


def parts_of(asking: Claimant) -> Iterator[Part]:
    """All that an object asks for; addresses go before prefixes, for a machine has them."""
    ref, created = asking.ref, asking.created
    if isinstance(asking, ServiceRange):
        for index, prefix in enumerate(dict.fromkeys(asking.prefixes)):
            yield _part(prefix, "range", Cause(ref, f"spec.cidrs[{index}]"), created)
        return
    because = Cause(ref, "status.addresses")
    for address in dict.fromkeys(asking.addresses):
        yield _part(address, "address", because, created)
    for address in dict.fromkeys(asking.external_addresses):
        yield _part(address, "public", because, created)
    for each in asking.prefixes:
        yield _part(each.network, "prefix", each.cause, created)


def _part(what: IPAddress | IPNetwork, kind: Kind, cause: Cause, created: str) -> Part:
    block = block_of(what)
    return Part(what, block, kind, cause, (created, cause.ref, kind, block))


def _rank(part: Part) -> Rank:
    return part.rank


def unfit(what: IPAddress | IPNetwork) -> str:
    """Why no node and no Service can have this address or prefix; "" where they can."""
    cure = "give it one of the cluster's own"
    block = block_of(what)
    version, _, length = block
    alone = length == what.max_prefixlen
    if length < SHORTEST[version]:
        return f"{what} is shorter than /{SHORTEST[version]}, so it is not used; {cure}"
    for name, special in _SPECIAL[version]:
        # A node may well be known by an address that its neighbours alone reach.
        if _overlap(special, block) and not (alone and name == "link-local"):
            return f"{what} overlaps what is kept for {name}, so it is not used; {cure}"
    return ""


def _blocks(*named: tuple[str, str]) -> tuple[tuple[str, Block], ...]:
    return tuple((name, block_of(parse_prefix(text))) for name, text in named)


_SPECIAL = {
    4: _blocks(
        ("this network", "0.0.0.0/8"),
        ("loopback", "127.0.0.0/8"),
        ("link-local", "169.254.0.0/16"),
        ("multicast", "224.0.0.0/4"),
    ),
    6: _blocks(
        ("loopback and the unspecified address", "::/96"),
        ("IPv4-mapped addresses", "::ffff:0:0/96"),
        ("link-local", "fe80::/10"),
        ("multicast", "ff00::/8"),
    ),
}
"""IANA's special-purpose address registries, as far as they can be nobody's pods."""


def _overlap(one: Block, other: Block) -> bool:
    """Of one IP version."""
    shift = (32 if one[0] == 4 else 128) - min(one[2], other[2])
    return one[1] >> shift == other[1] >> shift


def _taken(part: Part, by: Part) -> Problem:
    cure = {
        "address": "remove the Node that is gone, or correct the addresses that its kubelet or "
        "cloud reports",
        "prefix": "a Node keeps its podCIDRs, so delete it and have it registered anew with free "
        "ones",
        "range": "delete this ServiceCIDR, and make one of free addresses",
        "public": "",
    }[part.kind]
    older = "which is its own" if part.ref == by.ref else "which is older"
    return Problem(part.cause, f"{part.what} is not used: it overlaps {by}, {older}; {cure}")
