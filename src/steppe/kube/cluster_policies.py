"""ClusterNetworkPolicy (policy.networking.k8s.io/v1beta1), checked.

"If an implementation sees no fields are set then it can infer that the deployed CRD is of an
incompatible version with an unknown field. In that case it should fail closed. For "Accept"
rules, "fail closed" means: "treat the rule as matching no traffic". For "Deny" and "Pass"
rules, "fail closed" means: "treat the rule as a 'Deny all' rule"." (ClusterNetworkPolicyEgressPeer)

The text says this of peers; Steppe does the same for every part of a policy that it cannot
understand. `domainNames` is not supported and is treated like an unknown field.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import msgspec

from steppe.kube import policy_wire as wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    Direction,
    Nodes,
    Peer,
    Pods,
    Port,
    PortName,
    blocks_of,
    prefix_from,
)
from steppe.kube.policy_limits import too_entangled, too_many
from steppe.kube.selectors import selector_from
from steppe.net.ports import LAST_PORT, PortProtocol, PortRange

Tier = Literal["Admin", "Baseline"]
Action = Literal["Accept", "Deny", "Pass"]
LAST_PRIORITY = 1000


class ClusterRule(msgspec.Struct, frozen=True):
    """What happens to traffic with any of the peers on any of the ports."""

    field: str
    name: str
    action: Action
    peers: tuple[Peer, ...]
    ports: tuple[Port, ...]


class ClusterNetworkPolicy(msgspec.Struct, frozen=True):
    """An administrator's policy: rules in order, for the pods that are its subject.

    `kind` is another one for the API's older kinds (kube/admin_policies.py).
    """

    name: str
    tier: Tier
    priority: int
    subject: Pods
    ingress: tuple[ClusterRule, ...] = ()
    egress: tuple[ClusterRule, ...] = ()
    kind: str = "ClusterNetworkPolicy"

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.kind, "", self.name)

    @property
    def key(self) -> str:
        """The name; with the kind if it is an older one, which may have the same names."""
        return self.name if self.kind == "ClusterNetworkPolicy" else f"{self.kind}/{self.name}"

    def rules(self, direction: Direction) -> tuple[ClusterRule, ...]:
        return self.ingress if direction == "ingress" else self.egress

    @property
    def precedence(self) -> tuple[int, str]:
        """Lower is checked first; between equal priorities, where the API leaves the choice to
        us, the name decides.
        """
        return self.priority, self.name


def cluster_policy_from(
    seen: wire.ClusterNetworkPolicy,
) -> tuple[ClusterNetworkPolicy, tuple[Problem, ...]]:
    """The checked policy, and a Problem for each part that could not be understood."""
    problems: list[Problem] = []
    spec, ref = seen.spec, ObjectRef("ClusterNetworkPolicy", "", seen.metadata.name)
    subject, sure = _subject(spec.subject, ref, problems)
    ingress, egress = _both(spec, ref, problems)
    tier, priority = spec.tier, spec.priority
    if tier not in get_args(Tier):
        message = f"the tier {tier!r} is not known; use Admin or Baseline"
        problems.append(Problem(Cause(ref, "spec.tier"), message))
        tier, priority, sure = "Admin", 0, False
    elif not 0 <= priority <= LAST_PRIORITY:
        message = f"priority {priority} is not between 0 and {LAST_PRIORITY}"
        problems.append(Problem(Cause(ref, "spec.priority"), message))
        priority, sure = 0, False
    if not sure:
        # The subject, tier or priority could not be understood. Fail closed: the rules apply to
        # every pod they may be meant for, before all other policies, and accept nothing.
        ingress, egress = tuple(_only_denying(ingress)), tuple(_only_denying(egress))
    policy = ClusterNetworkPolicy(
        seen.metadata.name,
        tier,  # type: ignore[arg-type]
        priority,
        subject,
        ingress,
        egress,
    )
    return policy, tuple(problems)


def _both(
    spec: wire.ClusterNetworkPolicySpec, ref: ObjectRef, problems: list[Problem]
) -> tuple[tuple[ClusterRule, ...], tuple[ClusterRule, ...]]:
    """The rules of both directions; where there are too many, each direction denies all."""
    seen: tuple[wire.ClusterIngressRule | wire.ClusterEgressRule, ...]
    seen = (*(spec.ingress or ()), *(spec.egress or ()))
    namespaced = spec.subject.pods or wire.NamespacedPod()
    selectors = (spec.subject.namespaces, namespaced.namespace_selector, namespaced.pod_selector)
    large = too_many(seen, *selectors)
    if not large:
        ingress = _rules(spec.ingress or (), ref, "spec.ingress", "from", problems)
        egress = _rules(spec.egress or (), ref, "spec.egress", "to", problems)
        large = too_entangled(blocks_of((*ingress, *egress)))
        if not large:
            return ingress, egress
    problems.append(Problem(Cause(ref, "spec"), large))
    return closed_rules() if spec.ingress else (), closed_rules() if spec.egress else ()


def closed_rules() -> tuple[ClusterRule, ...]:
    """The rules of one direction of a policy that is too large."""
    return (ClusterRule("spec", "", "Deny", (Anyone(),), (AnyTraffic(),)),)


def _only_denying(rules: Iterable[ClusterRule]) -> Iterator[ClusterRule]:
    for rule in rules:
        if rule.action != "Accept":
            yield msgspec.structs.replace(rule, action="Deny")


def _subject(seen: wire.Subject, ref: ObjectRef, problems: list[Problem]) -> tuple[Pods, bool]:
    """The pods that a policy selects, and whether the selector was understood completely."""
    if (seen.namespaces is None) == (seen.pods is None):
        message = "exactly one of namespaces and pods says for which pods; this is for all of them"
        problems.append(Problem(Cause(ref, "spec.subject"), message))
        return Pods(), False
    if seen.pods is not None:
        return _namespaced(seen.pods, ref, "spec.subject.pods", problems)
    spaces, sure = selector_from(seen.namespaces, ref, "spec.subject.namespaces", problems)
    return Pods(spaces), sure


def _namespaced(
    seen: wire.NamespacedPod, ref: ObjectRef, where: str, problems: list[Problem]
) -> tuple[Pods, bool]:
    # "NamespaceSelector follows standard label selector semantics; if empty, it selects all
    # Namespaces." and may be left out; podSelector is required.
    spaces, spaces_sure = selector_from(
        seen.namespace_selector, ref, f"{where}.namespaceSelector", problems
    )
    pods, pods_sure = selector_from(seen.pod_selector, ref, f"{where}.podSelector", problems)
    if seen.pod_selector is None:
        message = "podSelector is missing; write podSelector: {} for all pods"
        problems.append(Problem(Cause(ref, where), message))
        pods_sure = False
    return Pods(spaces, pods), spaces_sure and pods_sure


def _rules(
    seen: Iterable[wire.ClusterIngressRule | wire.ClusterEgressRule],
    ref: ObjectRef,
    field: str,
    peers: Literal["from", "to"],
    problems: list[Problem],
) -> tuple[ClusterRule, ...]:
    found = (
        _rule(rule, ref, f"{field}[{index}]", peers, problems) for index, rule in enumerate(seen)
    )
    return tuple(rule for rule in found if rule is not None)


def _rule(
    seen: wire.ClusterIngressRule | wire.ClusterEgressRule,
    ref: ObjectRef,
    where: str,
    field: Literal["from", "to"],
    problems: list[Problem],
) -> ClusterRule | None:
    """The rule, failed closed if it is not understood; None if it matches no traffic."""
    action = seen.action
    if action not in get_args(Action):
        message = (
            f"the action {action!r} is not known, so the rule denies; use Accept, Deny or Pass"
        )
        problems.append(Problem(Cause(ref, f"{where}.action"), message))
        action = "Deny"
    peers = _peers(seen.peers or (), ref, f"{where}.{field}", problems)
    ports: tuple[Port, ...] | None = (AnyTraffic(),)
    if seen.protocols is not None:
        ports = _ports(seen.protocols, ref, f"{where}.protocols", problems)
    if ports is not None and peers is not None:
        ports = _unless_unnamed(peers, ports, ref, where, problems)
    if peers is None or ports is None:
        if action == "Accept":
            return None
        # "treat the rule as a 'Deny all' rule"
        return ClusterRule(where, seen.name, "Deny", (Anyone(),), (AnyTraffic(),))
    return ClusterRule(where, seen.name, action, peers, ports)  # type: ignore[arg-type]


def _unless_unnamed(
    peers: tuple[Peer, ...],
    ports: tuple[Port, ...],
    ref: ObjectRef,
    where: str,
    problems: list[Problem],
) -> tuple[Port, ...] | None:
    """The ports, unless: "You can't use this in a rule that targets resources without named
    ports (e.g. Nodes or Networks)." (destinationNamedPort)
    """
    named = any(isinstance(port, PortName) for port in ports)
    if named and any(isinstance(peer, Block | Nodes) for peer in peers):
        message = "nodes and networks have no named ports; use numbers, or a rule of its own"
        problems.append(Problem(Cause(ref, where), message))
        return None
    return ports


def _peers(
    seen: tuple[wire.ClusterIngressPeer, ...], ref: ObjectRef, field: str, problems: list[Problem]
) -> tuple[Peer, ...] | None:
    """The peers; None if one of them is not understood or the list is empty."""
    if not seen:
        # "This field must be defined and contain at least one item."
        problems.append(Problem(Cause(ref, field), "no peer is named: the rule fails closed"))
        return None
    found: list[Peer] = []
    understood = True
    for index, peer in enumerate(seen):
        some = _peer(peer, ref, f"{field}[{index}]", problems)
        understood = understood and some is not None
        found += some or ()
    return tuple(found) if understood else None


def _peer(
    seen: wire.ClusterIngressPeer, ref: ObjectRef, where: str, problems: list[Problem]
) -> tuple[Peer, ...] | None:
    named = [field for field in seen.__struct_fields__ if getattr(seen, field) is not None]
    if len(named) != 1:
        message = "not exactly one kind of peer that is known here: the rule fails closed"
        problems.append(Problem(Cause(ref, where), message))
        return None
    if seen.pods is not None:
        pods, sure = _namespaced(seen.pods, ref, f"{where}.pods", problems)
        return (pods,) if sure else None
    if isinstance(seen, wire.ClusterEgressPeer) and seen.namespaces is None:
        return _outer_peer(seen, ref, where, problems)
    spaces, sure = selector_from(seen.namespaces, ref, f"{where}.namespaces", problems)
    return (Pods(spaces),) if sure else None


def _outer_peer(
    seen: wire.ClusterEgressPeer, ref: ObjectRef, where: str, problems: list[Problem]
) -> tuple[Peer, ...] | None:
    """The kinds of peer that exist only in egress rules."""
    if seen.nodes is not None:
        nodes, sure = selector_from(seen.nodes, ref, f"{where}.nodes", problems)
        return (Nodes(nodes),) if sure else None
    if seen.networks:
        return _networks(seen.networks, ref, f"{where}.networks", problems)
    message = "networks is empty" if seen.domain_names is None else "domainNames are not supported"
    problems.append(Problem(Cause(ref, where), f"{message}: the rule fails closed"))
    return None


def _networks(
    seen: tuple[str, ...], ref: ObjectRef, field: str, problems: list[Problem]
) -> tuple[Peer, ...] | None:
    found = [
        prefix_from(text, Cause(ref, f"{field}[{index}]"), problems)
        for index, text in enumerate(seen)
    ]
    blocks = tuple(Block(prefix) for prefix in found if prefix is not None)
    return blocks if len(blocks) == len(found) else None


def _ports(
    seen: tuple[wire.Protocol, ...], ref: ObjectRef, field: str, problems: list[Problem]
) -> tuple[Port, ...] | None:
    """The ports; None if one of them is not understood or the list is empty."""
    found = [_port(entry) for entry in seen]
    for index, port in enumerate(found):
        if port is None:
            message = "not one protocol of tcp, udp and sctp with a valid port, or a port's name"
            cause = Cause(ref, f"{field}[{index}]")
            problems.append(Problem(cause, f"{message}: the rule fails closed"))
    ports = tuple(port for port in found if port is not None)
    if not seen:
        problems.append(Problem(Cause(ref, field), "empty; leave it out to match all traffic"))
    return ports if seen and len(ports) == len(found) else None


def _port(seen: wire.Protocol) -> Port | None:
    given: dict[PortProtocol, wire.ProtocolPort | None] = {
        "TCP": seen.tcp,
        "UDP": seen.udp,
        "SCTP": seen.sctp,
    }
    named = [(protocol, port) for protocol, port in given.items() if port is not None]
    if seen.destination_named_port is not None:
        name = seen.destination_named_port
        return PortName(name) if name and not named else None
    if len(named) != 1:
        return None
    protocol, entry = named[0]
    # "If destinationPort is omitted, all ports for the specified protocol match."
    return PortRange(protocol) if entry.destination_port is None else _range(protocol, entry)


def _range(protocol: PortProtocol, entry: wire.ProtocolPort) -> Port | None:
    port = entry.destination_port or wire.Port()
    if (port.number is None) == (port.range is None):
        return None
    if port.range is not None:
        first, last = port.range.start, port.range.end
        # "the Start value must be less than End"
        return PortRange(protocol, first, last) if 1 <= first < last <= LAST_PORT else None
    number = port.number or 0
    return PortRange(protocol, number, number) if 1 <= number <= LAST_PORT else None
