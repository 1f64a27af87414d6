"""The source address of packets that the node itself sends to pods."""

from steppe.kube.objects import Node
from steppe.net.address import IPAddress


def preferred_source(here: Node, version: int) -> IPAddress | None:
    """The node's own address of this IP version, if the underlay's link is known to have it.

    A route's preferred source must be an address of this machine ("src" in ip-route(8)), but behind
    a cloud's NAT the API may have an address for the node that the machine does not have.
    """
    address = here.address(version)
    held = {own.ip for own in here.underlay.addresses}
    return address if address in held else None
