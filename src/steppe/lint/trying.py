"""Tries a change on the judge: advice is given only if it does what it says.

A trial asks about one packet, in the part of the cluster that may affect it, so its cost does not
depend on the cluster's size.
"""

from collections.abc import Callable
from typing import get_args

import msgspec

from steppe.explain.cluster_part import part_for
from steppe.explain.model import Case
from steppe.judge.judge import AtEnd, judge_of
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Pod
from steppe.kube.policies import AnyTraffic, Direction, NetworkPolicy, PortName, Rule
from steppe.net.address import IPAddress, parse_address
from steppe.net.packet import Packet, Protocol
from steppe.net.ports import PortRange

SOURCE_PORT = 40000
OUTSIDE = (parse_address("203.0.113.1"), parse_address("2001:db8::1"))
"""Addresses outside, in each family: they are asked about where any peer will do."""
Edit = Callable[[Cluster], Cluster]


def packet_of(
    source: IPAddress, destination: IPAddress, protocol: Protocol = "TCP", port: int = 80
) -> Packet:
    """The first packet of a connection."""
    return Packet(source, destination, protocol, SOURCE_PORT, port)


def between(source: Pod, destination: Pod, protocol: Protocol, port: int) -> Packet | None:
    """A packet from pod to pod in a family that both have; None if they share none."""
    for own in source.addresses:
        for other in destination.addresses:
            if own.version == other.version:
                return packet_of(own, other, protocol, port)
    return None


def arrives(
    cluster: Cluster, packet: Packet, edit: Edit | None = None, *, entering: str = ""
) -> bool:
    """Whether every path of the packet ends at its receiver, after this edit of the cluster."""
    part = part_for(cluster, [Case("", packet, entering=entering)])
    return judge_of(edit(part) if edit else part).verdict(packet, entering).said == "yes"


def with_policy(policy: NetworkPolicy) -> Edit:
    """The edit that adds this policy, or replaces the one of its name."""

    def edit(cluster: Cluster) -> Cluster:
        policies = {**cluster.network_policies, (policy.namespace, policy.name): policy}
        return msgspec.structs.replace(cluster, network_policies=policies)

    return edit


def with_rules(policy: NetworkPolicy, direction: Direction, rules: tuple[Rule, ...]) -> Edit:
    """The edit that gives a policy these rules in one direction."""
    if direction == "ingress":
        return with_policy(msgspec.structs.replace(policy, ingress=rules))
    return with_policy(msgspec.structs.replace(policy, egress=rules))


def decision(
    cluster: Cluster, packet: Packet, direction: Direction, edit: Edit | None = None
) -> AtEnd:
    """What the policies at one end say of the packet, after this edit of the cluster."""
    part = part_for(cluster, [Case("", packet)])
    return judge_of(edit(part) if edit else part).at_end(packet, direction)


def rule_packet(rule: Rule, own: Pod, peer: Pod, direction: Direction) -> Packet | None:
    """A packet between these pods on a port that the rule takes; None if there is none."""
    source, destination = (peer, own) if direction == "ingress" else (own, peer)
    for port in rule.ports:
        match port:
            case AnyTraffic():
                return between(source, destination, "TCP", 80)
            case PortRange(protocol, first, _):
                return between(source, destination, protocol_of(protocol), max(first, 1))
            case PortName(name, protocol):
                for own_port in destination.ports:
                    if own_port.name == name and protocol in ("", own_port.protocol):
                        return between(
                            source, destination, protocol_of(own_port.protocol), own_port.number
                        )
    return None


def protocol_of(protocol: str) -> Protocol:
    """The protocol of this name."""
    return next(each for each in get_args(Protocol) if each == protocol)
