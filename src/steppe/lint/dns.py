"""Pods that may send to somebody, and may not ask the cluster's DNS for his name (explain/dns.py).

Silent: pods that may send nothing at all, or only to single addresses; pods with a dnsPolicy of
their own; rules that name port 53 or 5353, where DNS is not known.
"""

from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from steppe.explain.dns import dns_pods, dns_port, policies_that_close_dns
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.objects import NamedPort, Pod
from steppe.kube.policies import Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.selectors import labels_are
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, listed, named
from steppe.lint.peers import NAMESPACE_NAME
from steppe.lint.trying import between, decision, with_policy
from steppe.net.ports import PortRange

_RULE = (
    "to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}], "
    "ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]"
)
_PEER = Pods(namespaces=labels_are({NAMESPACE_NAME: "kube-system"}))
_PEER_PORTS = (PortRange("UDP", 53, 53), PortRange("TCP", 53, 53))
_SPACE = Namespace("kube-system", {NAMESPACE_NAME: "kube-system"})
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
    known = dns_pods(facts.cluster)
    closed: dict[tuple[NetworkPolicy, ...], list[Pod]] = {}
    judged: dict[tuple[tuple[NetworkPolicy, ...], int], bool] = {}
    for pod in facts.cluster.pods.values():
        unsure = facts.doubts.policies(pod, "egress")
        if (
            pod in known
            or unsure
            or pod.finished
            or pod.host_network
            or not _asks_cluster_dns(facts, pod)
        ):
            continue
        policies = facts.cluster.policies_on(pod)
        # Administrators' policies may open DNS to some of the pods: their guards differ then.
        alike = (policies, facts.reach.classes.guard(pod, "egress", "least"))
        if alike not in judged:
            judged[alike] = bool(policies_that_close_dns(facts.cluster, pod, known))
        if judged[alike]:
            closed.setdefault(policies, []).append(pod)
    for policies, pods in closed.items():
        first = next(policy for policy in policies if policy.egress)
        text = _text(facts, first, pods, known)
        yield Finding(Cause(first.ref, "spec.egress"), "dns-closed", text)


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


def _rule_opens(facts: Facts, policy: NetworkPolicy, pod: Pod, known: tuple[Pod, ...]) -> bool:
    """Whether the rule that is proposed lets the pod ask; where DNS is not known, one as kubeadm
    installs it.
    """
    server = known[0] if known else _IMAGINED
    if server.namespace != "kube-system":
        return False
    packet = between(pod, server, "UDP", dns_port(server))
    rule = Rule(f"spec.egress[{len(policy.egress)}]", (_PEER,), _PEER_PORTS)
    added = with_policy(msgspec.structs.replace(policy, egress=(*policy.egress, rule)))

    def edit(part: Cluster) -> Cluster:
        pods = {**part.pods, (server.namespace, server.name): server}
        namespaces = {_SPACE.name: _SPACE, **part.namespaces}
        return added(msgspec.structs.replace(part, pods=pods, namespaces=namespaces))

    return packet is not None and decision(facts.cluster, packet, "egress", edit).said == "yes"
