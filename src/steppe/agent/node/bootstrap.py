"""The node as its own kernel knows it, for when the API cannot be asked.

A node that restarts without its API server goes on: its prefixes still stand in the kernel as
the unreachable routes that guard them, and its addresses on its underlay.
"""

from collections.abc import Mapping

from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.state.node import Key, Value
from steppe.state.route import Route, RouteKey


def node_from_kernel(name: str, underlay: Underlay, actual: Mapping[Key, Value]) -> Node | None:
    """What an earlier agent left in the kernel, as a Node; None where there is nothing."""
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
