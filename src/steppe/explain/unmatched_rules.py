"""Why each rule of the policies that isolate a pod does not match a packet."""

from collections.abc import Iterator

from steppe.explain.model import Miss
from steppe.explain.sentences import listed, object_text, traffic
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.policies import (
    Anyone,
    AnyTraffic,
    Block,
    Direction,
    NetworkPolicy,
    Nodes,
    Peer,
    Pods,
    Port,
    PortName,
)
from steppe.kube.selectors import EVERYTHING, Selector
from steppe.net.packet import Packet
from steppe.net.ports import PortRange
from steppe.oracle.policy_match import World, is_peer, is_port

_SHOWN = 4


def misses(
    cluster: Cluster, world: World, policy: NetworkPolicy, direction: Direction, packet: Packet
) -> Iterator[Miss]:
    """For each rule of a policy, what it allows instead."""
    rules = policy.rules(direction)
    if not rules:
        text = f"has no {direction} rule: it lets nothing through"
        yield Miss(Cause(policy.ref, "spec.podSelector"), text)
    peer = packet.source if direction == "ingress" else packet.destination
    side = "from" if direction == "ingress" else "to"
    for rule in rules:
        has_peer = any(is_peer(world, some, peer) for some in rule.peers)
        has_port = any(is_port(world, port, packet) for port in rule.ports)
        only_peers = f"only {side} {_some((_named(cluster, p) for p in rule.peers), 'nobody')}"
        only_ports = f"only {_some(map(port_text, rule.ports), 'no port')}"
        if has_peer:
            text = f"takes this peer, but {only_ports}"
        elif has_port:
            text = f"takes {traffic(packet)}, but {only_peers}"
        else:
            text = f"takes {only_ports} {only_peers.removeprefix('only ')}"
        yield Miss(Cause(policy.ref, rule.field), text)


def _some(texts: Iterator[str], none: str) -> str:
    known = list(texts)
    if len(known) > _SHOWN:
        return f"{', '.join(known[:_SHOWN])} and {len(known) - _SHOWN} more"
    return listed(known) if known else none


def _named(cluster: Cluster, peer: Peer) -> str:
    """A peer in words; an ipBlock that is a Service's cluster IP says so."""
    if isinstance(peer, Block) and peer.prefix.num_addresses == 1:
        address = peer.prefix.network_address
        for service in cluster.services_at(address):
            if address in service.cluster_ips:
                return (
                    f"{peer.prefix} (the cluster IP of {object_text(service.ref)}: policies look "
                    "at the pods behind it)"
                )
    return peer_text(peer)


def peer_text(peer: Peer) -> str:
    """A peer in words."""
    match peer:
        case Anyone():
            return "anyone"
        case Pods(namespaces, pods, within):
            who = "any pod" if pods == EVERYTHING else f"pods with {_labels(pods)}"
            if within:
                return f"{who} in {within}"
            return f"{who} in " + (
                "any namespace"
                if namespaces == EVERYTHING
                else f"namespaces with {_labels(namespaces)}"
            )
        case Block(prefix, excepted):
            return f"{prefix}" + (f" except {listed(map(str, excepted))}" if excepted else "")
        case Nodes(nodes):
            return "any node" if nodes == EVERYTHING else f"nodes with {_labels(nodes)}"


def _labels(selector: Selector) -> str:
    """The selector in words, with labels as `app=web`."""
    return ", ".join(
        f"{each.key}={min(each.values)}"
        if each.operator == "In" and len(each.values) == 1
        else str(each)
        for each in selector.requirements
    )


def port_text(port: Port) -> str:
    """A port in words."""
    match port:
        case AnyTraffic():
            return "all traffic"
        case PortName(name, protocol):
            return f"{protocol} port {name!r}".lstrip()
        case PortRange(protocol, first, last):
            if port.whole:
                return f"all {protocol}"
            return f"{protocol} {first}" if first == last else f"{protocol} {first} to {last}"
