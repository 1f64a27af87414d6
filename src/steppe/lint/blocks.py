"""ipBlocks that name the cluster's own addresses: of a Service, or of pods.

"ipBlock … should be cluster-external IPs, since Pod IPs are ephemeral and unpredictable. Cluster
ingress and egress mechanisms often require rewriting the source or destination IP of packets. In
cases where this happens, it is not defined whether this happens before or after NetworkPolicy
processing" (kubernetes.io, Network Policies)
"""

from collections.abc import Iterator

import msgspec

from steppe.ends.workloads import workload_labels
from steppe.kube.cause import Cause
from steppe.kube.objects import Pod
from steppe.kube.policies import Block, Direction, NetworkPolicy, Pods, Rule
from steppe.kube.selectors import labels_are
from steppe.kube.services import Service
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, known_as, listed, named
from steppe.lint.peers import NAMESPACE_NAME, SIDES
from steppe.lint.trying import decision, rule_packet, with_rules
from steppe.manifests.documents import readable
from steppe.manifests.endpoints import SeenService
from steppe.net.address import IPAddress


class _Place(msgspec.Struct, frozen=True):
    """A block, and where it stands."""

    policy: NetworkPolicy
    direction: Direction
    rule: Rule
    block: Block


def blocks_of_the_cluster(facts: Facts) -> Iterator[Finding]:
    """IpBlocks of one address that is a Service's cluster IP or a pod's."""
    for policy in facts.cluster.network_policies.values():
        for direction, side in SIDES:
            for rule in policy.rules(direction):
                for peer in rule.peers:
                    if not isinstance(peer, Block) or peer.prefix.num_addresses != 1:
                        continue
                    found = _of_address(facts, _Place(policy, direction, rule, peer))
                    if found:
                        yield Finding(Cause(policy.ref, f"{rule.field}.{side}"), *found)


def _of_address(facts: Facts, place: _Place) -> tuple[str, str] | None:
    block = place.block
    address = block.prefix.network_address
    for service in facts.cluster.services_at(address):
        if address in service.cluster_ips and _is_given(facts, service, address):
            return "ipblock-of-service", _service_text(facts, place, service)
    for pod in facts.cluster.pods_at(address):
        if pod.ref not in facts.loaded.invented:
            message = (
                f"{block.prefix} is the address of pod {named(pod.ref)}, which changes with the "
                f"pod; name its labels: podSelector {{matchLabels: {_labels(pod)}}}"
            )
            return "ipblock-of-pod", message
    return None


def _is_given(facts: Facts, service: Service, address: IPAddress) -> bool:
    """Whether the manifests have this cluster IP: one that was invented means nothing."""
    if service.ref not in facts.loaded.invented:
        return True
    seen = readable(facts.loaded.objects[service.ref], SeenService)
    return seen is not None and str(address) == seen.spec.cluster_ip and _is_low(address)


def _is_low(address: IPAddress) -> bool:
    """Whether the address is of the part of the range that is given on request only."""
    return int(address) & 0xFFFF < _ON_REQUEST


_ON_REQUEST = 256
"""manifests/numbering.py invents no lower ones."""


def _service_text(facts: Facts, place: _Place, service: Service) -> str:
    head = f"{place.block.prefix} is the cluster IP of {known_as(service.ref)}: "
    if place.direction == "ingress":
        return head + "no packet comes from it, so this entry takes nobody; name the pods meant"
    head += "policies look at the pods behind it (whether they see it at all is not defined); "
    pods = _behind(facts, service)
    seen = readable(facts.loaded.objects[service.ref], SeenService)
    labels = (seen.spec.selector or {}) if seen is not None else {}
    if not pods or not labels:
        return head + "name what is behind it"
    meant = Pods(labels_are({NAMESPACE_NAME: service.namespace}), labels_are(labels))
    if not _opens(facts, place, meant, pods[0]):
        return head + f"name the pods ({listed(named(pod.ref) for pod in pods)})"
    text = ", ".join(f"{key}: {value}" for key, value in sorted(labels.items()))
    return head + (
        "name the pods: namespaceSelector "
        f"{{matchLabels: {{{NAMESPACE_NAME}: {service.namespace}}}}} "
        f"with podSelector {{matchLabels: {{{text}}}}}"
    )


def _behind(facts: Facts, service: Service) -> list[Pod]:
    addresses = (e.address for s in facts.cluster.slices_of(service) for e in s.endpoints)
    return [pod for address in addresses for pod in facts.cluster.pods_at(address)]


def _opens(facts: Facts, place: _Place, meant: Pods, pod: Pod) -> bool:
    """Whether the policy lets its pods reach this one, once the pods stand in the block's place."""
    policy, rule = place.policy, place.rule
    own = next(iter(facts.selected(Pods(pods=policy.pods, within=policy.namespace))), None)
    if own is None or own.ref == pod.ref:
        return False
    peers = tuple(meant if peer == place.block else peer for peer in rule.peers)
    rules = tuple(
        msgspec.structs.replace(each, peers=peers) if each.field == rule.field else each
        for each in policy.egress
    )
    packet = rule_packet(rule, own, pod, "egress")
    if packet is None:
        return False
    edit = with_rules(policy, "egress", rules)
    return decision(facts.cluster, packet, "egress", edit).said == "yes"


def _labels(pod: Pod) -> str:
    labels = ", ".join(f"{key}: {value}" for key, value in workload_labels(pod).items())
    return f"{{{labels}}}"
