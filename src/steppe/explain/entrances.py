"""The nodes by which packets from outside come in, as far as it matters which.

With externalTrafficPolicy Cluster an endpoint on another node sees the node as the sender, and one
on the same node sees the sender itself: so policies may decide otherwise for each node. Nodes act
alike if no ipBlock, no zone and no hint tells them apart, and as many endpoints of each kind are on
them: one is looked at for all of these.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from steppe.explain.model import Case
from steppe.judge.fronts import Fronts
from steppe.judge.judge import Judge
from steppe.judge.verdict import Verdict
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Node
from steppe.kube.policies import Block
from steppe.kube.services import Endpoint, Service, ServicePort
from steppe.net.address import IPAddress, IPNetwork, parse_prefix

MOST = 16
"""Of how many kinds of nodes the paths are told: each has one to every endpoint. All are judged."""
_EVERYWHERE = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))


def entrances(
    cluster: Cluster, fronts: Fronts, service: Service, version: int, port: ServicePort | None
) -> tuple[tuple[Node, ...], ...]:
    """The nodes, those that act alike together; with externalTrafficPolicy Local, those with
    endpoints if any has one.
    """
    nodes = [node for _, node in sorted(cluster.nodes.items()) if node.address(version)]
    endpoints = [e for s in cluster.slices_of(service) for e in s.endpoints]
    if service.external_local:
        nodes = [n for n in nodes if _has_endpoints(fronts, n, service, version, port)] or nodes
    blocks = tuple(_blocks(cluster, (e.address for e in endpoints)))
    zoned = any(endpoint.zones for endpoint in endpoints)
    of_node = _kinds_by_node(cluster, endpoints, here=bool(blocks) or service.external_local)
    found: dict[object, list[Node]] = {}
    for node in nodes:
        own = node.address(version)
        inside = tuple(block for block in blocks if own is not None and own in block)
        key = (of_node.get(node.name), inside, node.zone if zoned else "")
        found.setdefault(key, []).append(node)
    return tuple(map(tuple, found.values()))


def _kinds_by_node(
    cluster: Cluster, endpoints: Sequence[Endpoint], *, here: bool
) -> Mapping[str, object]:
    """What sets a node apart: how many endpoints of each kind are on it, if that matters, and how
    many are hinted to it.
    """
    found: dict[str, Counter[object]] = {}
    known: dict[IPAddress, object] = {}
    for each in endpoints:
        kind = known.setdefault(each.address, _kind(cluster, each.address))
        if here and each.node:
            found.setdefault(each.node, Counter())["on", kind] += 1
        for name in each.nodes:
            found.setdefault(name, Counter())["hinted", kind] += 1
    return {name: frozenset(counts.items()) for name, counts in found.items()}


def _kind(cluster: Cluster, address: IPAddress) -> object:
    """All by which ingress policies tell endpoints apart, and the address of one that is no pod."""
    pods = cluster.pods_at(address)
    if not pods:
        return address
    pod = pods[-1]
    subjects = [policy.subject for policy in cluster.cluster_policies.values()]
    keys = {each.key for subject in subjects for each in subject.pods.requirements}
    return (
        address.version,
        pod.namespace,
        frozenset(policy.ref for policy in cluster.policies_on(pod)),
        frozenset((key, pod.labels.get(key)) for key in keys),
        pod.ports,
    )


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


def followed(cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The cases whose paths are told, and those that are judged alone: of each part of the flow so
    many are told that nobody reads more, and every answer that the part has is among them.
    """
    found: dict[tuple[str, str], dict[str, list[Case]]] = {}
    for case in cases:
        key = (case.stands_for, str(case.packet.destination) if case.entering else "")
        said = case.judged.said if case.judged is not None else ""
        found.setdefault(key, {}).setdefault(said, []).append(case)
    some = (case for by_answer in found.values() for case in islice(_in_turn(by_answer), MOST))
    chosen = set(map(id, some))
    return (
        tuple(case for case in cases if id(case) in chosen),
        tuple(case for case in cases if id(case) not in chosen),
    )


def _in_turn(by_answer: Mapping[str, list[Case]]) -> Iterator[Case]:
    """One case of each answer, then all others."""
    yield from (cases[0] for cases in by_answer.values())
    yield from (case for cases in by_answer.values() for case in cases[1:])


def _each(alike: Mapping[object, list[Case]]) -> Iterator[Case]:
    for cases in alike.values():
        names = tuple(dict.fromkeys(name for case in cases for name in case.by_nodes))
        yield msgspec.structs.replace(cases[0], by_nodes=names if len(alike) > 1 else ())


def _result(said: Verdict) -> object:
    ways = sorted((str(way.address), way.port, way.said) for way in said.ways)
    return said.said, said.stop, tuple(ways)
