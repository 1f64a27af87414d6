"""The prefixes that a node's pods get their addresses from, each with what says so.

Today they are the Node's podCIDRs. Whatever else gives a node prefixes (address pools, prefixes
derived from its address) adds to `Node.prefixes` here; no reader names a field of an object.
"""

from collections.abc import Iterable, Sequence

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.net.address import IPNetwork, parse_prefix


class NodePrefix(msgspec.Struct, frozen=True):
    """One prefix of a node, and the object and field that give it."""

    network: IPNetwork
    cause: Cause

    def __str__(self) -> str:
        return str(self.network)

    @property
    def version(self) -> int:
        return self.network.version


def pod_cidrs(node: str, networks: Iterable[IPNetwork]) -> tuple[NodePrefix, ...]:
    """These networks as the podCIDRs of a node, in the order of the list."""
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
    """Where a node's prefixes would have to be given that has none."""
    return Cause(ref, "spec.podCIDRs")


def _cause(ref: ObjectRef, index: int) -> Cause:
    return Cause(ref, f"spec.podCIDRs[{index}]")
