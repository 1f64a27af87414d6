"""Traffic that leaves the cluster takes its node's address; nothing inside it ever does.

The rules are fixed (skeleton.py). Two sets a family move: whose packets (pods here), and where to
(anything that is no pod prefix and no node address of this cluster).
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
    """The prefixes whose packets may need the node's address."""
    for prefix in here.prefixes:
        yield Claim(LOCAL_PODS.key(prefix.network), Element(), prefix.cause)


def stray_pod_elements(workload: Workload, addresses: Iterable[IPAddress]) -> Iterator[NodeClaim]:
    """Pods of this node that are in none of its prefixes, one by one."""
    cause = Cause(workload.ref, "status.podIPs")
    for address in addresses:
        yield Claim(LOCAL_PODS.key(host_prefix(address)), Element(), cause)


def everything_is_inside(here: Node) -> Iterator[NodeClaim]:
    """What `cluster_elements` becomes where nothing shall be masqueraded."""
    for prefix in (parse_prefix("0.0.0.0/0"), parse_prefix("::/0")):
        yield Claim(CLUSTER.key(prefix), Element(), Cause(here.ref))


def cluster_elements(node: Node) -> Iterator[NodeClaim]:
    """What one node adds to the inside of the cluster."""
    for prefix in node.prefixes:
        yield Claim(CLUSTER.key(prefix.network), Element(), prefix.cause)
    for address in node.addresses:
        key = CLUSTER.key(host_prefix(address))
        yield Claim(key, Element(), Cause(node.ref, "status.addresses"))
