"""Packets of pods that leave the cluster get the node's address as source; others keep theirs.

The rules are fixed (skeleton.py). They use two sets for each family: `local_pods` has the prefixes
of this node's pods (the senders), `cluster` has all pod prefixes and node addresses (destinations
that are not masqueraded).
"""

from collections.abc import Iterable, Iterator

from steppe.dataplane.nft.sets import CLUSTER, LOCAL_PODS
from steppe.kube.cause import Cause
from steppe.kube.objects import Node, Workload
from steppe.net.address import IPAddress, host_prefix, parse_prefix
from steppe.state.claim import Claim
from steppe.state.nft import Element
from steppe.state.node import NodeClaim


def local_pod_elements(here: Node) -> Iterator[NodeClaim]:
    """The pod prefixes of this node, whose packets may be masqueraded."""
    for prefix in here.prefixes:
        yield Claim(LOCAL_PODS.key(prefix.network), Element(), prefix.cause)


def stray_pod_elements(workload: Workload, addresses: Iterable[IPAddress]) -> Iterator[NodeClaim]:
    """Pods of this node that are in none of its prefixes, one by one."""
    cause = Cause(workload.ref, "status.podIPs")
    for address in addresses:
        yield Claim(LOCAL_PODS.key(host_prefix(address)), Element(), cause)


def everything_is_inside(here: Node) -> Iterator[NodeClaim]:
    """In place of `cluster_elements` if nothing is to be masqueraded: all addresses are inside."""
    for prefix in (parse_prefix("0.0.0.0/0"), parse_prefix("::/0")):
        yield Claim(CLUSTER.key(prefix), Element(), Cause(here.ref))


def cluster_elements(node: Node) -> Iterator[NodeClaim]:
    """The prefixes and addresses of one node, as inside the cluster."""
    for prefix in node.prefixes:
        yield Claim(CLUSTER.key(prefix.network), Element(), prefix.cause)
    for address in node.addresses:
        key = CLUSTER.key(host_prefix(address))
        yield Claim(key, Element(), Cause(node.ref, "status.addresses"))
