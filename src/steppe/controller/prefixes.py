"""Which node gets which pod prefixes. Pure: the only input is the Node objects and the ranges.

There is no separate table of allocations: every plan starts from the podCIDRs of all nodes, also of
those that others set, that are not aligned or have another length. The prefixes of a deleted node
are free again because the node is no longer in the input. A node's podCIDRs are never changed:

    "podCIDRs … may only be set once" (validation of core/v1 NodeSpec)
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

import msgspec

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EXHAUSTED = "PodCIDRExhausted"
FAMILY_MISSING = "PodCIDRFamilyMissing"
OVERLAP = "PodCIDROverlap"
INVALID = "PodCIDRInvalid"


class Range(msgspec.Struct, frozen=True):
    """Prefixes of one length that are given out from one network."""

    network: Network
    length: int

    @property
    def version(self) -> int:
        return self.network.version

    @property
    def size(self) -> int:
        """How many prefixes there are."""
        return 1 << (self.length - self.network.prefixlen)


class Node(msgspec.Struct, frozen=True):
    """The fields of a node that are used here."""

    name: str
    uid: str = ""
    created: str = ""
    pod_cidrs: tuple[str, ...] = ()

    @property
    def seniority(self) -> tuple[str, str]:
        return self.created, self.name


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a node's prefixes, why, and the cure."""

    node: Node
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """Prefixes to set, in the order of the ranges, and Problems."""

    assign: dict[str, tuple[Network, ...]]
    problems: tuple[Problem, ...]
    free: tuple[int, ...]
    """How many prefixes of each range are free; a foreign prefix takes all that it overlaps."""


def plan(nodes: Iterable[Node], ranges: Sequence[Range]) -> Plan:
    """Prefixes for every node that has none, oldest node first."""
    everyone = sorted(nodes, key=lambda node: node.seniority)
    taken, problems = _taken(everyone)
    problems += overlaps(taken)
    problems += _missing_families(taken, ranges)
    networks = [network for _, network in taken]
    sources = [free_prefixes(r, networks) for r in ranges]
    assign: dict[str, tuple[Network, ...]] = {}
    exhausted: Range | None = None
    for node in everyone:
        if node.pod_cidrs or not ranges:
            continue
        given: list[Network] = []
        for source, range_ in zip(sources, ranges, strict=True) if exhausted is None else ():
            prefix = next(source, None)
            if prefix is None:
                exhausted = range_
                break
            given.append(prefix)
        # All families or none: the other family could never be added later.
        if len(given) == len(ranges):
            assign[node.name] = tuple(given)
        elif exhausted is not None:
            problems.append(Problem(node, EXHAUSTED, _exhausted_message(exhausted)))
    given_now = [network for prefixes in assign.values() for network in prefixes]
    left = tuple(_count_free(r, [*networks, *given_now]) for r in ranges)
    return Plan(assign, tuple(problems), left)


def free_prefixes(range_: Range, taken: Iterable[Network]) -> Iterator[Network]:
    """The prefixes of a range that overlap no prefix in use, lowest first."""
    kind = type(range_.network)
    for start, end in _gaps(range_, taken):
        step = 1 << (range_.network.max_prefixlen - range_.length)
        first = -(-start // step) * step
        for base in range(first, end - step + 1, step):
            yield kind((base, range_.length))


def overlaps(taken: Sequence[tuple[Node, Network]]) -> list[Problem]:
    """A Problem of the younger node for each pair of nodes whose prefixes overlap."""
    found = []
    for version in (4, 6):
        # In this order, nested or equal prefixes are adjacent, the wider one first.
        held = sorted(
            ((n, node) for node, n in taken if n.version == version),
            key=lambda pair: (int(pair[0].network_address), pair[0].prefixlen, pair[1].seniority),
        )
        covering: list[tuple[Network, Node]] = []
        for network, node in held:
            while covering and int(covering[-1][0].broadcast_address) < int(
                network.network_address
            ):
                covering.pop()
            for other, holder in covering:
                if holder.name != node.name:
                    found.append(_overlap(network, node, other, holder))
            covering.append((network, node))
    return found


def _overlap(network: Network, node: Node, other: Network, holder: Node) -> Problem:
    if node.seniority < holder.seniority:
        network, node, other, holder = other, holder, network, node
    return Problem(
        node,
        OVERLAP,
        f"podCIDR {network} overlaps {other} of the older node {holder.name}, so pods of the two"
        " may get the same address; drain and delete this Node object, and let its kubelet"
        " register it again to get a prefix of its own",
    )


def _taken(nodes: list[Node]) -> tuple[list[tuple[Node, Network]], list[Problem]]:
    taken: list[tuple[Node, Network]] = []
    problems = []
    for node in nodes:
        for text in node.pod_cidrs:
            try:
                # Not strict: 10.0.0.7/24 takes as much as 10.0.0.0/24.
                taken.append((node, ipaddress.ip_network(text, strict=False)))
            except ValueError as error:
                message = f"podCIDR {text!r} is no prefix ({error}); no prefix is kept free for it"
                problems.append(Problem(node, INVALID, message))
    return taken, problems


def _missing_families(
    taken: Sequence[tuple[Node, Network]], ranges: Sequence[Range]
) -> list[Problem]:
    versions: dict[str, set[int]] = {}
    nodes = {}
    for node, network in taken:
        versions.setdefault(node.name, set()).add(network.version)
        nodes[node.name] = node
    return [
        Problem(
            nodes[name],
            FAMILY_MISSING,
            f"has no IPv{range_.version} podCIDR, and podCIDRs cannot be changed once set; its pods"
            f" have no IPv{range_.version} until the Node object is deleted and registered again",
        )
        for name, held in versions.items()
        for range_ in ranges
        if range_.version not in held
    ]


def _gaps(range_: Range, taken: Iterable[Network]) -> Iterator[tuple[int, int]]:
    """The free parts of a range, as half-open intervals of addresses."""
    at = int(range_.network.network_address)
    end = int(range_.network.broadcast_address) + 1
    inside = sorted(
        (int(n.network_address), int(n.broadcast_address) + 1)
        for n in taken
        if n.version == range_.version
    )
    for first, after in inside:
        if first > at:
            yield at, min(first, end)
        at = max(at, after)
        if at >= end:
            return
    yield at, end


def _count_free(range_: Range, taken: Iterable[Network]) -> int:
    step = 1 << (range_.network.max_prefixlen - range_.length)
    return sum(max(0, end // step - -(-start // step)) for start, end in _gaps(range_, taken))


def _exhausted_message(range_: Range) -> str:
    return (
        f"no /{range_.length} is left in {range_.network} ({range_.size} prefixes in all);"
        f" delete Node objects that are no more, or give a wider --pod-cidr{range_.version}"
        f" or a longer --node-mask{range_.version}"
    )
