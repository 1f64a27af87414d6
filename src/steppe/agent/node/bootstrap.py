"""The node's own object rebuilt from its kernel, for a start while the API server is unreachable.

Its pod prefixes are in the kernel as the unreachable routes of compile/local.py, and its addresses
are on its underlay's link.
"""

from collections.abc import Mapping

from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.state.node import Key, Value
from steppe.state.route import Route, RouteKey


def node_from_kernel(name: str, underlay: Underlay, actual: Mapping[Key, Value]) -> Node | None:
    """The Node that an earlier agent's entries belong to; None if there are no such entries."""
    networks = dict.fromkeys(
        key.prefix
        for key, value in actual.items()
        if isinstance(key, RouteKey) and isinstance(value, Route) and value.kind == "unreachable"
    )
    if not networks:
        return None
    addresses = tuple(interface.ip for interface in underlay.addresses)
    return Node(
        name=name, prefixes=pod_cidrs(name, networks), addresses=addresses, underlay=underlay
    )
