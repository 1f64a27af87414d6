"""The prefixes from which a node's pods get their addresses, each with its cause.

Today they are the Node's podCIDRs. Other sources (address pools, prefixes derived from an address)
are to be added to `Node.prefixes` here. Readers use `Node.prefixes` and know no field of an object.
"""

from collections.abc import Iterable, Sequence

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.net.address import IPNetwork, parse_prefix


class NodePrefix(msgspec.Struct, frozen=True):
    """One prefix of a node, and the object and field that assign it."""

    network: IPNetwork
    cause: Cause

    def __str__(self) -> str:
        return str(self.network)

    @property
    def version(self) -> int:
        return self.network.version


def pod_cidrs(node: str, networks: Iterable[IPNetwork]) -> tuple[NodePrefix, ...]:
    """The prefixes of a node whose podCIDRs are these networks, in order."""
    return tuple(
        NodePrefix(network, _cause(ObjectRef("Node", "", node), index))
        for index, network in enumerate(networks)
    )


def read_pod_cidrs(
    ref: ObjectRef, texts: Sequence[str], problems: list[Problem]
) -> tuple[NodePrefix, ...]:
    """The podCIDRs of a Node object; those that cannot be used become Problems."""
    found: dict[int, NodePrefix] = {}
    for index, text in enumerate(texts):
        cause = _cause(ref, index)
        try:
            network = parse_prefix(text)
        except ValueError as error:
            problems.append(
                Problem(cause, f"not a prefix: {error}; give one such as 10.244.1.0/24")
            )
            continue
        # "It may contain at most 1 value for each of IPv4 and IPv6." (NodeSpec.podCIDRs)
        if network.version in found:
            problems.append(Problem(cause, f"a second IPv{network.version} prefix is not used"))
            continue
        found[network.version] = NodePrefix(network, cause)
    return tuple(found.values())


def no_prefix(ref: ObjectRef) -> Cause:
    """The field in which a node without prefixes would need them."""
    return Cause(ref, "spec.podCIDRs")


def _cause(ref: ObjectRef, index: int) -> Cause:
    return Cause(ref, f"spec.podCIDRs[{index}]")
