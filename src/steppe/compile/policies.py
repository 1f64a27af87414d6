"""What policies put into the tables of a pod's own node: elements only, never a rule.

    ingress_isolated4  10.244.1.5                                 some policy isolates the pod
    ingress_pod4       10.244.2.7 . 10.244.1.5 : goto allow-tcp-80   a pod that selectors chose
    ingress_block4     10.0.0.0/8 . 10.244.1.5 : goto allow          addresses of ipBlocks

The peer's address stands first, the pod's own second; egress has the same three. What a pod's
peers may do is the union of both maps: the rules ask one after the other
(state/policy_chains.py). One peer's entries depend on that peer and the pod alone, so a peer that
changes costs an element a pod that it may concern.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

import msgspec

from steppe.compile.blocks import Area, apart
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Pod, Workload
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    Direction,
    Namespace,
    NetworkPolicy,
    Pods,
    Port,
    PortName,
    PortRange,
    Rule,
)
from steppe.net.address import IPAddress, parse_prefix
from steppe.state.claim import Claim
from steppe.state.nft import Atom, Element, ElementKey
from steppe.state.node import NodeClaim
from steppe.state.policy_chains import ALLOW, Span, allowing

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_EVERYWHERE = (parse_prefix("0.0.0.0/0"), parse_prefix("::/0"))

Traffic = tuple[Cause, tuple[Span, ...] | None]
"""A rule, and what it lets through; None is everything."""


class Subject(msgspec.Struct, frozen=True):
    """A pod of this node and the policies that select it.

    `pod` is None while the API has none. Its labels are not known then, so any policy of its
    namespace may select it: if there is one, the pod is `doubtful`.
    """

    workload: Workload
    pod: Pod | None
    policies: tuple[NetworkPolicy, ...] = ()
    doubtful: bool = False

    def isolated(self, direction: Direction) -> bool:
        """A pod that policies may or may not select is closed."""
        return self.doubtful or any(direction in p.isolates for p in self.policies)

    def rules(self, direction: Direction) -> Iterator[tuple[Cause, Rule]]:
        for policy in self.policies:
            if direction in policy.isolates:
                for rule in policy.rules(direction):
                    yield Cause(policy.ref, rule.field), rule


def subject_of(workload: Workload, pod: Pod | None, policies: Iterable[NetworkPolicy]) -> Subject:
    """The pod with those of its namespace's policies that select it, by name."""
    near = [policy for policy in policies if policy.namespace == workload.namespace]
    if pod is None:
        return Subject(workload, None, doubtful=bool(near))
    chosen = (policy for policy in near if policy.pods.takes(pod.labels))
    return Subject(workload, pod, tuple(sorted(chosen, key=lambda policy: policy.name)))


def subject_claims(subject: Subject) -> Iterator[NodeClaim | Problem]:
    """Whether the pod is isolated, and what is let through whoever the peer is."""
    for direction in DIRECTIONS:
        if not subject.isolated(direction):
            continue
        causes = [
            Cause(policy.ref, "spec.podSelector")
            for policy in subject.policies
            if direction in policy.isolates
        ] or [Cause(subject.workload.ref, "metadata.labels")]
        for address in subject.workload.addresses:
            version = address.version
            for cause in causes:
                yield _claim(f"{direction}_isolated{version}", (address,), cause)
                # "a pod cannot block access to itself" (Network Policies), through a Service.
                yield _claim(f"{direction}_pod{version}", (address, address), cause, ALLOW)
            yield from _block_claims(subject, direction, address)


def peer_claims(
    subject: Subject, peer: Pod, namespaces: Mapping[str, Namespace]
) -> Iterator[NodeClaim | Problem]:
    """What is let through between the pod and one other pod, because of who that is."""
    if peer.host_network or peer.finished or peer.ref == subject.workload.ref:
        return
    for direction in DIRECTIONS:
        rules = tuple(subject.rules(direction))
        for own in subject.workload.addresses if rules else ():
            for address in peer.addresses:
                if address.version == own.version:
                    receiver = subject.pod if direction == "ingress" else peer
                    matching = _matching(rules, direction, peer, address, namespaces)
                    traffic = tuple(
                        found
                        for cause, ports in matching
                        for found in _traffic(cause, ports, receiver)
                    )
                    name = f"{direction}_pod{own.version}"
                    yield from _let_through(name, (address, own), traffic)


def _matching(
    rules: Iterable[tuple[Cause, Rule]],
    direction: Direction,
    peer: Pod,
    address: IPAddress,
    namespaces: Mapping[str, Namespace],
) -> Iterator[tuple[Cause, tuple[Port, ...]]]:
    """The rules that mean this peer as a pod, each with the ports that it lets through to it."""
    for cause, rule in rules:
        if any(isinstance(p, Pods) and _selects(p, peer, namespaces) for p in rule.peers):
            yield cause, rule.ports
        elif direction == "egress" and any(_is_inside(p, address) for p in rule.peers):
            # Names of ports mean nothing until the receiver is known, so blocks leave them out.
            yield cause, tuple(port for port in rule.ports if isinstance(port, PortName))


def _block_claims(
    subject: Subject, direction: Direction, own: IPAddress
) -> Iterator[NodeClaim | Problem]:
    receiver = subject.pod if direction == "ingress" else None
    areas: list[Area[Traffic]] = []
    for cause, rule in subject.rules(direction):
        for traffic in _traffic(cause, rule.ports, receiver):
            for peer in rule.peers:
                if isinstance(peer, Block):
                    areas.append(Area(peer.prefix, peer.excepted, traffic))
                elif isinstance(peer, Anyone):
                    areas += (Area(prefix, (), traffic) for prefix in _EVERYWHERE)
    for prefix, held in apart(areas, own.version):
        yield from _let_through(f"{direction}_block{own.version}", (prefix, own), held)


def _let_through(
    name: str, key: tuple[Atom, ...], traffic: tuple[Traffic, ...]
) -> Iterator[NodeClaim | Problem]:
    """The element for all that these rules let through together."""
    spans: list[Span] = []
    everything = False
    for _, found in traffic:
        everything = everything or found is None
        spans += found or ()
    chain, left_out = (ALLOW, ()) if everything else allowing(spans)
    for cause, _ in traffic:
        yield _claim(name, key, cause, chain)
        if left_out:
            message = (
                f"{len(left_out)} ranges of ports from {left_out[0].protocol} {left_out[0].first} "
                "on are too many for one peer and stay closed; use endPort for wider ranges"
            )
            yield Problem(cause, message)


def _traffic(cause: Cause, ports: Iterable[Port], receiver: Pod | None) -> Iterator[Traffic]:
    """What a rule's ports come to at this receiver; nothing if that is nothing."""
    spans: list[Span] = []
    for port in ports:
        match port:
            case AnyTraffic():
                yield cause, None
                return
            case PortRange(protocol, first, last):
                spans.append(Span(protocol.lower(), first, last))
            case PortName(name, protocol):
                spans += (
                    Span(known.protocol.lower(), known.number, known.number)
                    for known in (receiver.ports if receiver is not None else ())
                    if known.name == name and protocol in ("", known.protocol)
                )
    if spans:
        yield cause, tuple(spans)


def _selects(chosen: Pods, pod: Pod, namespaces: Mapping[str, Namespace]) -> bool:
    if not chosen.pods.takes(pod.labels):
        return False
    if chosen.within:
        return pod.namespace == chosen.within
    namespace = namespaces.get(pod.namespace)
    return namespace is not None and chosen.namespaces.takes(namespace.labels)


def _is_inside(peer: object, address: IPAddress) -> bool:
    if isinstance(peer, Block):
        return address in peer.prefix and not any(address in part for part in peer.excepted)
    return isinstance(peer, Anyone)


def _claim(name: str, key: tuple[Atom, ...], cause: Cause, chain: str | None = None) -> NodeClaim:
    return Claim(ElementKey(name, key), Element((chain,) if chain else ()), cause)
