"""The peer that a rule would need to allow one end of a flow: as values, as text and as JSON.

A pod becomes a selector of its workload's labels, so that the rule still matches when the pod is
replaced. Everyone else becomes an ipBlock.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from steppe.ends.workloads import workload_labels, workload_name
from steppe.explain.sentences import listed
from steppe.kube.objects import Pod
from steppe.kube.policies import Block, Namespace, Peer, Pods
from steppe.kube.selectors import Selector, labels_are
from steppe.net.address import IPNetwork

Json = dict[str, Any]

_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


class NewPeer(msgspec.Struct, frozen=True):
    """The peers of a rule that would allow one end; `name` is short, for use in a policy's name."""

    name: str
    text: str
    peers: tuple[Peer, ...]

    def as_json(self) -> list[Json]:
        """Peers of a NetworkPolicy."""
        return [_peer(peer) for peer in self.peers]

    def as_cluster_json(self) -> list[Json]:
        """Peers of a ClusterNetworkPolicy."""
        pods = [{"pods": _peer(peer)} for peer in self.peers if isinstance(peer, Pods)]
        networks = [str(peer.prefix) for peer in self.peers if isinstance(peer, Block)]
        return [*pods, *([{"networks": networks}] if networks else ())]


def pod_peer(pod: Pod, space: Namespace | None, *, same_namespace: bool) -> NewPeer | None:
    """The pods of this pod's workload; None if no selector can match them (see policy_match.py)."""
    labels = workload_labels(pod)
    pods, name = labels_are(labels), workload_name(pod)
    text = f"podSelector {pods}" if labels else "podSelector {} (all pods)"
    if same_namespace:
        return NewPeer(name, text, (Pods(pods=pods, within=pod.namespace),))
    if space is None:
        return None
    if not space.labels:
        text = f"namespaceSelector {{}} (all namespaces) with {text}"
        return NewPeer(name, text, (Pods(pods=pods),))
    known = _NAMESPACE_LABEL if _NAMESPACE_LABEL in space.labels else min(space.labels)
    spaces = labels_are({known: space.labels[known]})
    return NewPeer(name, f"namespaceSelector {spaces} with {text}", (Pods(spaces, pods),))


def outside_peer(name: str, prefixes: Iterable[IPNetwork]) -> NewPeer:
    """Everyone with an address of these prefixes."""
    blocks = tuple(map(Block, prefixes))
    text = f"ipBlock {listed(str(block.prefix) for block in blocks)}"
    return NewPeer(name, text, blocks)


def object_name(*words: str) -> str:
    """The words as one name: "contain no more than 253 characters … only lowercase alphanumeric
    characters, '-' or '.'; start … and end with an alphanumeric character" (Object Names).
    """
    joined = re.sub("[^a-z0-9]+", "-", "-".join(words).lower())
    return joined[:253].strip("-")


def _peer(peer: Peer) -> Json:
    match peer:
        case Pods(namespaces, pods, within):
            own = {"podSelector": _selector(pods)}
            return own if within else {"namespaceSelector": _selector(namespaces)} | own
        case Block(prefix):
            return {"ipBlock": {"cidr": str(prefix)}}
    raise TypeError(peer)  # there are no other kinds of peer here


def _selector(selector: Selector) -> Json:
    if not selector.requirements:
        return {}
    return {"matchLabels": {each.key: min(each.values) for each in selector.requirements}}
