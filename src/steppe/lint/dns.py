"""Pods that may send to somebody, and may not ask the cluster's DNS for his name.

An egress policy that allows "the database, TCP 5432" closes DNS as well: "there's nothing special
about DNS" for NetworkPolicies. Where the cluster's DNS is known, the oracle is asked; where it is
not, as in most manifests, the rules are read for anything that DNS could be.

Silent: pods that may send nothing at all, or only to single addresses; pods with a dnsPolicy of
their own; rules that name port 53 (or 5353, as OpenShift's DNS has), where DNS is not known.
"""

from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterRule
from steppe.kube.objects import NamedPort, Pod
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    Namespace,
    NetworkPolicy,
    Nodes,
    Peer,
    Pods,
    PortName,
    Rule,
)
from steppe.kube.selectors import Selector, labels_are
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, listed, named
from steppe.lint.peers import NAMESPACE_NAME
from steppe.lint.private import may_hold_pods
from steppe.lint.trying import between, decision, with_policy
from steppe.net.ports import PortRange

_PORTS = (53, 5353)
_SPACES = ("kube-system", "openshift-dns")
_RULE = (
    "to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}], "
    "ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]"
)
_PEER = Pods(namespaces=labels_are({NAMESPACE_NAME: "kube-system"}))
_PEER_PORTS = (PortRange("UDP", 53, 53), PortRange("TCP", 53, 53))
_IMAGINED = Pod(
    "kube-system",
    "coredns",
    addresses=(ip_address("198.51.100.53"), ip_address("2001:db8::53")),
    labels={"k8s-app": "kube-dns"},
    ports=(NamedPort("dns", "UDP", 53), NamedPort("dns-tcp", "TCP", 53)),
)
"""The cluster's DNS as kubeadm installs it, for where it is not known."""


def closed_dns(facts: Facts) -> Iterator[Finding]:
    """One finding for each set of policies that closes DNS to pods, at the first of them."""
    known = _known_dns(facts)
    closed: dict[tuple[NetworkPolicy, ...], list[Pod]] = {}
    for pod in facts.cluster.pods.values():
        if pod.finished or pod.host_network or not _asks_cluster_dns(facts, pod):
            continue
        policies = tuple(
            policy for policy in facts.cluster.policies_on(pod) if "egress" in policy.isolates
        )
        if policies and policies not in closed and pod not in known:
            if _needs_names(policies) and _is_closed(facts, pod, policies, known):
                closed[policies] = [pod]
        elif policies in closed:
            closed[policies].append(pod)
    for policies, pods in closed.items():
        first = next(policy for policy in policies if policy.egress)
        yield Finding(
            Cause(first.ref, "spec.egress"),
            "dns-closed",
            _text(facts, first, pods, known),
        )


def _text(facts: Facts, policy: NetworkPolicy, pods: list[Pod], known: tuple[Pod, ...]) -> str:
    who = listed(sorted(named(pod.ref) for pod in pods))
    one = len(pods) == 1
    asked = f"the cluster's DNS ({listed(named(p.ref) for p in known)})" if known else "any DNS"
    why = "" if known else " (no rule with 53/UDP)"
    head = (
        f"{who} {'is' if one else 'are'} isolated for egress and may not ask {asked}{why}, so "
        f"{'it finds' if one else 'they find'} no names"
    )
    return head + (
        f"; add the rule {{{_RULE}}}" if _rule_opens(facts, policy, pods[0], known) else ""
    )


def _asks_cluster_dns(facts: Facts, pod: Pod) -> bool:
    """Whether the pod's resolver is the cluster's DNS: "ClusterFirst" is the default."""
    spec = facts.loaded.objects.get(pod.ref, {}).get("spec") or {}
    return spec.get("dnsPolicy") in (None, "ClusterFirst")


def _known_dns(facts: Facts) -> tuple[Pod, ...]:
    """The pods of the cluster's DNS: behind port 53 of a Service of a system namespace."""
    found: dict[str, Pod] = {}
    for space in _SPACES:
        for service, slices in facts.cluster.services_with_slices():
            dns = any((port.protocol, port.port) == ("UDP", 53) for port in service.ports)
            if service.namespace != space or not dns:
                continue
            for endpoint in (e for slice_ in slices for e in slice_.endpoints):
                found |= {str(pod.ref): pod for pod in facts.cluster.pods_at(endpoint.address)}
    return tuple(found.values())


def _needs_names(policies: tuple[NetworkPolicy, ...]) -> bool:
    """Whether the pods may send to anybody who is not written as a single address."""
    peers = (peer for policy in policies for rule in policy.egress for peer in rule.peers)
    return any(not isinstance(p, Block) or p.prefix.num_addresses > 1 for p in peers)


def _is_closed(
    facts: Facts, pod: Pod, policies: tuple[NetworkPolicy, ...], known: tuple[Pod, ...]
) -> bool:
    if known:
        return not any(_may_ask(facts, pod, server) for server in known)
    rules: list[Rule | ClusterRule] = [rule for policy in policies for rule in policy.egress]
    for admins in facts.cluster.cluster_policies.values():
        rules += admins.egress
    return not any(_may_be_dns(rule) for rule in rules)


def _may_ask(facts: Facts, pod: Pod, server: Pod) -> bool:
    number = next((p.number for p in _dns_ports(server)), 53)
    packet = between(pod, server, "UDP", number)
    return packet is None or decision(facts.cluster, packet, "egress").allowed


def _dns_ports(server: Pod) -> Iterator[NamedPort]:
    ports = (*server.ports, *server.nameless_ports)
    return (port for port in ports if port.protocol == "UDP" and port.number in _PORTS)


def _may_be_dns(rule: Rule | ClusterRule) -> bool:
    """Whether the rule lets a pod ask what may be the cluster's DNS, which is not known."""
    for port in rule.ports:
        match port:
            case PortName(name):
                if "dns" in name or "domain" in name:
                    return True
            case PortRange(protocol, first, last) if not port.whole:
                if protocol == "UDP" and any(first <= number <= last for number in _PORTS):
                    return True  # whoever names the port has thought of it
            case PortRange("UDP") | AnyTraffic():
                if any(_is_dns_peer(peer) for peer in rule.peers):
                    return True
    return False


def _is_dns_peer(peer: Peer) -> bool:
    match peer:
        case Anyone() | Nodes():
            return True
        case Block():
            return may_hold_pods(peer)
        case Pods(namespaces, pods, within):
            if within:
                return within in _SPACES and _may_match(pods, ("dns",))
            return _may_match(namespaces, (*_SPACES, "dns")) and _may_match(pods, ("dns",))
    return False


def _may_match(selector: Selector, words: tuple[str, ...]) -> bool:
    """Whether a selector may match what has labels that are not known, but with these words."""
    for each in selector.requirements:
        if each.operator == "In":
            if not any(word in value for value in each.values for word in words):
                return False
        elif (
            each.operator == "NotIn" and each.key == NAMESPACE_NAME and "kube-system" in each.values
        ):
            return False
    return True


def _rule_opens(facts: Facts, policy: NetworkPolicy, pod: Pod, known: tuple[Pod, ...]) -> bool:
    """Whether the rule that is proposed lets the pod ask; where DNS is not known, one as kubeadm
    installs it.
    """
    server = known[0] if known else _IMAGINED
    if server.namespace != "kube-system":
        return False
    space = Namespace("kube-system", {NAMESPACE_NAME: "kube-system"})
    cluster = msgspec.structs.replace(
        facts.cluster,
        pods={**facts.cluster.pods, (server.namespace, server.name): server},
        namespaces={space.name: space, **facts.cluster.namespaces},
    )
    number = next((p.number for p in _dns_ports(server)), 53)
    packet = between(pod, server, "UDP", number)
    rule = Rule(f"spec.egress[{len(policy.egress)}]", (_PEER,), _PEER_PORTS)
    edit = with_policy(msgspec.structs.replace(policy, egress=(*policy.egress, rule)))
    return packet is not None and decision(cluster, packet, "egress", edit).allowed
