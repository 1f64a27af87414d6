"""Addresses that never leave the sender, or its link.

"No address … may be 127.x.x.x on any network anywhere" (RFC 1122, 3.2.1.3); Linux takes 0.0.0.0 and
:: as a destination for the machine itself. A pod has a loopback of its own. Node ports are not
answered on a node's loopback (docs/decisions/0007-services.md).
"""

import msgspec

from steppe.ends.target import Named, NodeTarget, PodTarget, RangeTarget, Target
from steppe.kube.cluster import Cluster
from steppe.net.address import IPAddress


def on_loopback(sender: Target, receiver: Named) -> Named:
    """The receiver; the sender itself for a loopback address, with a note that says so."""
    address = _loopback(receiver.target)
    if address is None or not isinstance(sender, PodTarget | NodeTarget):
        return receiver
    own = tuple(each for each in sender.addresses if each.version == address.version)
    target = msgspec.structs.replace(sender, addresses=own or sender.addresses)
    note = f"{address} is loopback: {sender} itself, the packet does not leave it"
    return msgspec.structs.replace(receiver, target=target, note=note)


def loopback_fault(cluster: Cluster, sender: Target, receiver: Named, port: str) -> str:
    """Why a flow with a loopback address has no answer; "" if it has one, or names none."""
    if (address := _loopback(sender)) is not None:
        return f"{address} is loopback, on every machine its own: name the pod or node that sends"
    if (address := _loopback(receiver.target)) is not None:
        return f"{address} is loopback: no packet to it leaves the sender, {sender}"
    if fault := _not_routed(sender) or _not_routed(receiver.target):
        return fault
    number = port or receiver.port
    if "is loopback" not in receiver.note or not isinstance(sender, NodeTarget):
        return ""
    for service in cluster.services.values():
        if any(str(own.node_port) == number for own in service.ports):
            return (
                f"{number} is a node port of Service {service.namespace}/{service.name}, and node "
                f"ports are not answered on loopback: use the node's address, {sender}:{number}"
            )
    return ""


def _not_routed(target: Target) -> str:
    """Why no router forwards packets to or from an address; "" if routers do.

    IPv4's link-local addresses are left out: clouds answer for some of them, such as
    169.254.169.254, and pods' packets do reach these by their node.
    """
    address = target.address if isinstance(target, RangeTarget) else None
    if address is None:
        return ""
    if address.is_multicast:
        return f"{address} is multicast, which pod networks do not forward: name one receiver"
    if str(address) == "255.255.255.255":
        return f"{address} is the link's broadcast: no router forwards it (RFC 919)"
    if address.version == 6 and address.is_link_local:
        return f"{address} is link-local: no router forwards it (RFC 4291, 2.5.6)"
    return ""


def _loopback(target: Target) -> IPAddress | None:
    """The loopback address that a target is; None if it is another's."""
    address = target.address if isinstance(target, RangeTarget) else None
    special = address is not None and (address.is_loopback or address.is_unspecified)
    return address if special else None
