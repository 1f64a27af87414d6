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
from steppe.net.address import IPAddress, IPNetwork, parse_prefix

_Bits = tuple[int, int, int]
"""An address or prefix: its IP version, its length, and its leading bits as a number."""


def _bits(what: IPAddress | IPNetwork) -> _Bits:
    if isinstance(what, IPAddress):
        return what.version, what.max_prefixlen, int(what)
    length = what.prefixlen
    return what.version, length, int(what.network_address) >> what.max_prefixlen - length


def _nobodys(*texts: str) -> tuple[_Bits, ...]:
    return tuple(_bits(parse_prefix(text)) for text in texts)


_NOBODYS = {
    4: _nobodys("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4"),
    6: _nobodys("::/96", "::ffff:0:0/96", "ff00::/8"),
}
_LINK_LOCAL = {4: _nobodys("169.254.0.0/16"), 6: _nobodys("fe80::/10")}


def honoured(cluster: Cluster, pod_ranges: tuple[IPNetwork, ...] = ()) -> Cluster:
    """The cluster with what each Node and ServiceCIDR may have of what it claims."""
    given = _Given()
    nodes, ranges = dict(cluster.nodes), dict(cluster.service_ranges)
    asking: list[Node | ServiceRange] = [*nodes.values(), *ranges.values()]
    for each in sorted(asking, key=lambda one: (one.created, one.ref)):
        if isinstance(each, ServiceRange):
            kept = tuple(p for p in each.prefixes if given.is_free_for_services(p))
            given.give_range(kept)
            if kept != each.prefixes:
                ranges[each.name] = msgspec.structs.replace(each, prefixes=kept)
            continue
        addresses = tuple(filter(given.is_free, each.addresses))
        given.give_node(addresses)
        prefixes = tuple(
            prefix
            for prefix in each.prefixes
            if given.is_free(prefix.network) and _is_inside(prefix.network, pod_ranges)
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

    def give_node(self, what: Iterable[IPAddress | IPNetwork]) -> None:
        self._nodes.add(map(_bits, what))

    def give_range(self, prefixes: Iterable[IPNetwork]) -> None:
        self._ranges.add(map(_bits, prefixes))

    def is_free(self, what: IPAddress | IPNetwork) -> bool:
        """Whether a Node may have it: it is fit for pods or nodes, and nobody has any of it."""
        bits = _bits(what)
        return _is_fit(bits) and not (self._nodes.overlap(bits) or self._ranges.overlap(bits))

    def is_free_for_services(self, prefix: IPNetwork) -> bool:
        """Whether a ServiceCIDR may have it: such may overlap each other."""
        bits = _bits(prefix)
        return _is_fit(bits) and not self._nodes.overlap(bits)


class _Prefixes:
    """Prefixes by version and length, as the numbers of their leading bits.

    `_cut` has, for each length that was asked for, the prefixes that are at least as long, cut to
    this length.
    """

    def __init__(self) -> None:
        self._given: dict[tuple[int, int], set[int]] = {}
        self._cut: dict[tuple[int, int], set[int]] = {}

    def add(self, prefixes: Iterable[_Bits]) -> None:
        for version, own, bits in prefixes:
            self._given.setdefault((version, own), set()).add(bits)
            for (family, length), found in self._cut.items():
                if family == version and length <= own:
                    found.add(bits >> own - length)

    def overlap(self, prefix: _Bits) -> bool:
        """Whether one of them holds the prefix, or lies inside it."""
        version, own, bits = prefix
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


def _is_fit(prefix: _Bits) -> bool:
    version, length, bits = prefix
    if length < (8 if version == 4 else 32):
        return False
    alone = length == (32 if version == 4 else 128)
    # A node may well be known by an address that its neighbours alone reach.
    for _, other, nobodys in (
        _NOBODYS[version] if alone else _NOBODYS[version] + _LINK_LOCAL[version]
    ):
        common = min(length, other)
        if bits >> length - common == nobodys >> other - common:
            return False
    return True


def _is_inside(prefix: IPNetwork, ranges: tuple[IPNetwork, ...]) -> bool:
    """Whether the operator's ranges for pods, where there are any, hold the prefix."""
    return not ranges or any(
        prefix.version == each.version and prefix.subnet_of(each)  # type: ignore[arg-type]
        for each in ranges
    )
