"""Whose an address is that several objects claim: the rule alone, read from the objects.

"Each pod in a cluster gets its own unique cluster-wide IP address" (The Kubernetes network model),
so of two nodes that claim an address one has to go without, and it is the younger one: what an
object gets must not be lost to one that comes later. The same holds between nodes and the ranges
that ServiceCIDRs keep for Services.

What no pod can have at all is no node's prefix: the unspecified, loopback, link-local and multicast
addresses (RFC 6890), and prefixes that are most of an address space.
"""

from collections.abc import Iterable

import msgspec

from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node
from steppe.kube.services import ServiceRange
from steppe.net.address import IPNetwork, host_prefix, parse_prefix

_NOBODYS = {
    4: tuple(map(parse_prefix, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"))),
    6: tuple(map(parse_prefix, ("::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8"))),
}
_LINK_LOCAL = (_NOBODYS[4][2], _NOBODYS[6][2])


def honoured(cluster: Cluster, pod_ranges: tuple[IPNetwork, ...] = ()) -> Cluster:
    """The cluster with what each Node and ServiceCIDR may have of what it claims."""
    given = _Given()
    nodes, ranges = dict(cluster.nodes), dict(cluster.service_ranges)
    asking: list[Node | ServiceRange] = [*nodes.values(), *ranges.values()]
    for each in sorted(asking, key=lambda one: (one.created, one.ref)):
        if isinstance(each, ServiceRange):
            kept = tuple(p for p in each.prefixes if _is_fit(p) and not given.to_nodes(p))
            given.give_range(kept)
            if kept != each.prefixes:
                ranges[each.name] = msgspec.structs.replace(each, prefixes=kept)
            continue
        addresses = tuple(
            address
            for address in each.addresses
            if _is_fit(host_prefix(address)) and not given.to_anyone(host_prefix(address))
        )
        given.give_node(map(host_prefix, addresses))
        prefixes = tuple(
            prefix
            for prefix in each.prefixes
            if _is_fit(prefix.network)
            and _is_inside(prefix.network, pod_ranges)
            and not given.to_anyone(prefix.network)
        )
        given.give_node(prefix.network for prefix in prefixes)
        if (addresses, prefixes) != (each.addresses, each.prefixes):
            nodes[each.name] = msgspec.structs.replace(each, addresses=addresses, prefixes=prefixes)
    if nodes == cluster.nodes and ranges == cluster.service_ranges:
        return cluster  # with its indexes
    return msgspec.structs.replace(cluster, nodes=nodes, service_ranges=ranges)


class _Given:
    """What has been given out so far, to Nodes and to ServiceCIDRs."""

    def __init__(self) -> None:
        self._nodes = _Prefixes()
        self._ranges = _Prefixes()

    def give_node(self, prefixes: Iterable[IPNetwork]) -> None:
        self._nodes.add(prefixes)

    def give_range(self, prefixes: Iterable[IPNetwork]) -> None:
        self._ranges.add(prefixes)

    def to_nodes(self, prefix: IPNetwork) -> bool:
        return self._nodes.overlap(prefix)

    def to_anyone(self, prefix: IPNetwork) -> bool:
        return self._nodes.overlap(prefix) or self._ranges.overlap(prefix)


class _Prefixes:
    """Prefixes by version and length, as the numbers of their leading bits.

    `_cut` has, for each length that was asked for, the prefixes that are at least as long, cut to
    this length.
    """

    def __init__(self) -> None:
        self._given: dict[tuple[int, int], set[int]] = {}
        self._cut: dict[tuple[int, int], set[int]] = {}

    def add(self, prefixes: Iterable[IPNetwork]) -> None:
        for prefix in prefixes:
            version, own, bits = prefix.version, prefix.prefixlen, _leading(prefix)
            self._given.setdefault((version, own), set()).add(bits)
            for (family, length), found in self._cut.items():
                if family == version and length <= own:
                    found.add(bits >> own - length)

    def overlap(self, prefix: IPNetwork) -> bool:
        """Whether one of them holds the prefix, or lies inside it."""
        version, own, bits = prefix.version, prefix.prefixlen, _leading(prefix)
        return bits in self._cut_to(version, own) or any(
            bits >> own - length in found
            for (family, length), found in self._given.items()
            if family == version and length < own
        )

    def _cut_to(self, version: int, wanted: int) -> set[int]:
        found = self._cut.get((version, wanted))
        if found is None:
            found = self._cut[version, wanted] = {
                bits >> length - wanted
                for (family, length), given in self._given.items()
                if family == version and length >= wanted
                for bits in given
            }
        return found


def _leading(prefix: IPNetwork) -> int:
    """The bits of the prefix itself, without those of hosts."""
    return int(prefix.network_address) >> prefix.max_prefixlen - prefix.prefixlen


def _is_fit(prefix: IPNetwork) -> bool:
    if prefix.prefixlen < (8 if prefix.version == 4 else 32):
        return False
    alone = prefix.prefixlen == prefix.max_prefixlen
    return not any(
        prefix.overlaps(each)
        for each in _NOBODYS[prefix.version]
        if not (alone and each in _LINK_LOCAL)
    )


def _is_inside(prefix: IPNetwork, ranges: tuple[IPNetwork, ...]) -> bool:
    """Whether the operator's ranges for pods, where there are any, hold the prefix."""
    return not ranges or any(
        prefix.version == each.version and prefix.subnet_of(each)  # type: ignore[arg-type]
        for each in ranges
    )
