"""The nodes by which packets from outside come in, as far as it matters which.

With externalTrafficPolicy Cluster an endpoint on another node sees the node as the sender, and one
on the same node sees the sender itself: so policies may decide otherwise for each node. All nodes
are looked at that have endpoints, and of the others one of those that no ipBlock and no hint tells
apart.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.explain.model import Case
from steppe.judge.fronts import Fronts
from steppe.judge.judge import Judge
from steppe.judge.verdict import Verdict
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node
from steppe.kube.policies import Block
from steppe.kube.services import Service, ServicePort
from steppe.net.address import IPAddress, IPNetwork, parse_prefix

MOST = 16
"""How many nodes are looked at: each is a case with a path to every endpoint."""
_EVERYWHERE = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))


def entrances(
    cluster: Cluster, fronts: Fronts, service: Service, version: int, port: ServicePort | None
) -> tuple[Node, ...]:
    """The nodes to look at; with externalTrafficPolicy Local, those with endpoints if any."""
    nodes = [node for _, node in sorted(cluster.nodes.items()) if node.address(version)]
    endpoints = [e for s in cluster.slices_of(service) for e in s.endpoints]
    if service.external_local:
        nodes = [n for n in nodes if _has_endpoints(fronts, n, service, version, port)] or nodes
    blocks = tuple(_blocks(cluster, (e.address for e in endpoints)))
    by_node = bool(blocks) or service.external_local
    hosting = {endpoint.node for endpoint in endpoints} if by_node else set()
    hinted = {name for endpoint in endpoints for name in endpoint.nodes}
    zoned = any(endpoint.zones for endpoint in endpoints)
    found: dict[object, Node] = {}
    for node in nodes:
        alone = node.name if node.name in hosting | hinted else ""
        own = node.address(version)
        inside = tuple(block for block in blocks if own is not None and own in block)
        found.setdefault((alone, inside, node.zone if zoned else ""), node)
    return tuple(found.values())[:MOST]


def _has_endpoints(
    fronts: Fronts, node: Node, service: Service, version: int, port: ServicePort | None
) -> bool:
    return any(
        fronts.backends(node, service, named).outside
        for named in fronts.named(node, service)
        if named.kind != "cluster" and named.front.address.version == version and named.port == port
    )


def _blocks(cluster: Cluster, endpoints: Iterable[IPAddress]) -> Iterator[IPNetwork]:
    """The ipBlocks of the policies that isolate the endpoints; one of everything, if these name
    none; nothing, if no policy isolates any.
    """
    pods = {pod.ref: pod for address in endpoints for pod in cluster.pods_at(address)}
    policies = {p.ref: p for pod in pods.values() for p in cluster.policies_on(pod)}
    rules = [rule for policy in policies.values() for rule in policy.ingress]
    ruling = any("ingress" in policy.isolates for policy in policies.values())
    for admins in cluster.cluster_policies.values():
        ruling = ruling or bool(admins.ingress)
        for admin_rule in admins.ingress:
            yield from (p.prefix for p in admin_rule.peers if isinstance(p, Block))
    if ruling:
        yield from _EVERYWHERE
    for peer in (peer for rule in rules for peer in rule.peers):
        if isinstance(peer, Block):
            yield from (peer.prefix, *peer.excepted)


def joined(cases: Iterable[Case], judge: Judge) -> tuple[Case, ...]:
    """The cases with their verdicts; of entrances with the same verdict one stands for all."""
    found: dict[tuple[str, str], dict[object, list[Case]]] = {}
    for case in cases:
        said = judge.verdict(case.packet, case.entering, case.sender)
        judged = msgspec.structs.replace(case, judged=said)
        key = (case.stands_for, str(case.packet.destination) if not case.by_nodes else "")
        found.setdefault(key, {}).setdefault(_result(said), []).append(judged)
    return tuple(case for alike in found.values() for case in _each(alike))


def _each(alike: Mapping[object, list[Case]]) -> Iterator[Case]:
    for cases in alike.values():
        names = tuple(dict.fromkeys(name for case in cases for name in case.by_nodes))
        yield msgspec.structs.replace(cases[0], by_nodes=names if len(alike) > 1 else ())


def _result(said: Verdict) -> object:
    ways = sorted((str(way.address), way.port, way.said) for way in said.ways)
    return said.said, said.stop, tuple(ways)
