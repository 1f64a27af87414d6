"""Whether a pod may ask the cluster's DNS, as far as policies say.

"There's nothing special about DNS" for NetworkPolicies: a policy that allows "the database, TCP
5432" closes it. Where the cluster's DNS is known, the judge is asked; where it is not, as in most
manifests, the rules are read for anything that DNS could be: rules that name port 53 (or 5353, as
OpenShift's DNS has) are taken for it.
"""

from steppe.ends.target import PodTarget, ServiceTarget
from steppe.explain.cluster_part import part_for
from steppe.explain.model import Case, Flow, Kind
from steppe.explain.private import may_hold_pods
from steppe.explain.sentences import listed, object_text
from steppe.judge.judge import judge_of
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterRule
from steppe.kube.objects import Pod
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    NetworkPolicy,
    Nodes,
    Peer,
    Pods,
    PortName,
    Rule,
)
from steppe.kube.selectors import Selector
from steppe.net.packet import Packet
from steppe.net.ports import PortRange

_PORTS = (53, 5353)
_SPACES = ("kube-system", "openshift-dns")
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_SOURCE_PORT = 40000


def policies_that_close_dns(
    cluster: Cluster, pod: Pod, known: tuple[Pod, ...]
) -> tuple[NetworkPolicy, ...]:
    """The policies that isolate this pod for egress, if it may not ask DNS; () if it may.

    `known` are the pods of the cluster's DNS (`dns_pods`). A pod that may send nothing at all, or
    only to single addresses, needs no names: () as well.
    """
    policies = tuple(each for each in cluster.policies_on(pod) if "egress" in each.isolates)
    if pod in known or not _needs_names(policies) or not _is_closed(cluster, pod, policies, known):
        return ()
    return policies


def by_address(cluster: Cluster, flow: Flow, kind: Kind, verdict: str) -> str:
    """The verdict; with a word on DNS, if a pod reaches a Service whose name it may not ask for."""
    sender, to = flow.source, flow.destination
    if kind == "denied" or not (isinstance(sender, PodTarget) and isinstance(to, ServiceTarget)):
        return verdict
    policies = policies_that_close_dns(cluster, sender.pod, dns_pods(cluster))
    if not policies or to.service.namespace in _SPACES:
        return verdict
    names = listed(object_text(policy.ref) for policy in policies)
    whole = verdict.removesuffix(".")
    return f"{whole}; but by address alone: its DNS queries are not allowed by {names}."


def dns_pods(cluster: Cluster) -> tuple[Pod, ...]:
    """The pods of the cluster's DNS: behind port 53 of a Service of a system namespace."""
    found: dict[str, Pod] = {}
    for service in (each for space in _SPACES for each in cluster.services_in(space)):
        if not any((port.protocol, port.port) == ("UDP", 53) for port in service.ports):
            continue
        for endpoint in (e for slice_ in cluster.slices_of(service) for e in slice_.endpoints):
            found |= {str(pod.ref): pod for pod in cluster.pods_at(endpoint.address)}
    return tuple(found.values())


def dns_port(server: Pod) -> int:
    """The port on which a pod answers DNS: the one that it declares, else 53."""
    ports = (*server.ports, *server.nameless_ports)
    return next((p.number for p in ports if p.protocol == "UDP" and p.number in _PORTS), 53)


def _needs_names(policies: tuple[NetworkPolicy, ...]) -> bool:
    """Whether the pods may send to anybody who is not written as a single address."""
    peers = (peer for policy in policies for rule in policy.egress for peer in rule.peers)
    return any(not isinstance(p, Block) or p.prefix.num_addresses > 1 for p in peers)


def _is_closed(
    cluster: Cluster, pod: Pod, policies: tuple[NetworkPolicy, ...], known: tuple[Pod, ...]
) -> bool:
    if known:
        return not any(_may_ask(cluster, pod, server) for server in known)
    rules: list[Rule | ClusterRule] = [rule for policy in policies for rule in policy.egress]
    for admins in cluster.cluster_policies.values():
        rules += admins.egress
    return not any(_may_be_dns(rule) for rule in rules)


def _may_ask(cluster: Cluster, pod: Pod, server: Pod) -> bool:
    for own in pod.addresses:
        for other in server.addresses:
            if own.version == other.version:
                packet = Packet(own, other, "UDP", _SOURCE_PORT, dns_port(server))
                part = part_for(cluster, [Case("", packet)])
                return judge_of(part).at_end(packet, "egress").said != "no"
    return True  # they share no family, so policies are not what keeps them apart


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
            each.operator == "NotIn"
            and each.key == _NAMESPACE_NAME
            and "kube-system" in each.values
        ):
            return False
    return True
