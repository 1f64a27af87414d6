"""The address a node itself speaks from when it talks to pods."""

from steppe.kube.objects import Node
from steppe.net.address import IPAddress


def preferred_source(here: Node, version: int) -> IPAddress | None:
    """The node's own address, where the underlay is known to hold it.

    A route may prefer only an address that this machine has ("src" in ip-route(8)), and a node
    may be known to the API by one it has not, behind a cloud's NAT.
    """
    address = here.address(version)
    held = {own.ip for own in here.underlay.addresses}
    return address if address in held else None
