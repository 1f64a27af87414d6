"""What a judge knows of the cluster: whose addresses are whose, and what the tables shall hold."""

from collections.abc import Iterable
from functools import cached_property
from typing import Literal

import msgspec

from steppe.kube.objects import Node, Workload
from steppe.net.address import IPAddress, IPNetwork, holds, host_prefix
from steppe.net.overlaps import Overlaps, block_of
from steppe.state.node import NodeState

_NAMED = 3


class Owner(msgspec.Struct, frozen=True):
    """Whose the addresses of a prefix are."""

    kind: Literal["pods", "pod", "node", "services"]
    name: str
    prefix: IPNetwork

    def words(self, part: IPNetwork) -> str:
        """The owner, and which of its addresses are in this prefix."""
        inner = self.prefix if holds(part, self.prefix) else part
        if self.kind == "pods" and inner.num_addresses == 1:
            return f"the pod of {self.name} at {inner.network_address}"
        shown = inner.network_address if inner.num_addresses == 1 else inner
        words = {"pods": f"pods of {self.name}", "pod": f"pod {self.name}", "services": "Services"}
        return f"{words.get(self.kind, self.name)} ({shown})"


class Known(msgspec.Struct, frozen=True, dict=True):
    """One node's view. `here` is its own object, `peers` the others; `pods` are attached here.

    `tunnels` are links by which other nodes' packets come beside the underlay; `mtu` is that of
    pods' links, in bytes; `mark` are the bits of packet marks that Steppe uses. `state`: the
    tables as they shall be.
    """

    here: Node
    peers: tuple[Node, ...] = ()
    pods: tuple[Workload, ...] = ()
    services: tuple[IPNetwork, ...] = ()
    tunnels: tuple[str, ...] = ()
    mtu: int = 1500
    mark: int = 0
    state: NodeState = {}

    @property
    def uplink(self) -> str:
        return self.here.underlay.link

    @property
    def links(self) -> tuple[str, ...]:
        """The links that carry the cluster's packets."""
        return (self.uplink, *self.tunnels, *(pod.link for pod in self.pods))

    def addresses(self) -> tuple[IPNetwork, ...]:
        """All addresses of the cluster: pods', nodes', Services'."""
        found = dict.fromkeys(
            network for node in (self.here, *self.peers) for network in _of_node(node)
        )
        found.update((host_prefix(a), None) for pod in self.pods for a in pod.addresses)
        found.update(dict.fromkeys(self.services))
        return tuple(found)

    @cached_property
    def index(self) -> Overlaps[Owner]:
        """Whose the cluster's addresses are, for look-ups."""
        found = Overlaps[Owner]()
        for node in (self.here, *self.peers):
            for network in node.networks:
                found.add(block_of(network), Owner("pods", node.name, network))
            for address in node.addresses:
                found.add(block_of(address), Owner("node", node.name, host_prefix(address)))
        for pod in self.pods:
            for address in pod.addresses:
                name = f"{pod.namespace}/{pod.name}"
                found.add(block_of(address), Owner("pod", name, host_prefix(address)))
        for service in self.services:
            found.add(block_of(service), Owner("services", "", service))
        return found

    def pods_of(self, version: int) -> tuple[IPNetwork, ...]:
        """The prefixes of all pods in one family, this node's first."""
        nodes = (self.here, *self.peers)
        return tuple(n for node in nodes for n in node.networks if n.version == version)

    def who(self, prefix: IPNetwork) -> str:
        """Whose addresses lie in a prefix, in words; "" for nobody's of the cluster."""
        owners = dict.fromkeys(self.index.overlapping(block_of(prefix)))
        parts = [o for o in owners if o.kind == "pod" and not holds(prefix, self._around(o))]
        if not parts:
            own = self.here.name
            parts = [o for o in owners if o.kind != "pod"]
            whole = [o for o in parts if holds(prefix, o.prefix)]
            # Of its own prefix a node knows each pod: a part without one is nobody's.
            parts = [o for o in parts if o in whole or (o.kind, o.name) != ("pods", own)]
        names = tuple(dict.fromkeys(owner.words(prefix) for owner in parts))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more

    def _around(self, pod: "Owner") -> IPNetwork:
        """The node's prefix that holds a pod's address: with all of it, it is told as one."""
        address = pod.prefix.network_address
        return next((n for n in self.here.networks if address in n), pod.prefix)


def _of_node(node: Node) -> Iterable[IPNetwork]:
    return (*node.networks, *map(host_prefix, node.addresses))


def touches(cluster: Overlaps[Owner], prefixes: Iterable[IPNetwork]) -> bool:
    """Whether prefixes (none: any) have addresses of the cluster."""
    known = tuple(prefixes)
    return not known or any(
        next(cluster.overlapping(block_of(each)), None) is not None for each in known
    )


def first_of(prefix: IPNetwork) -> IPAddress:
    """An address of a prefix that a pod may have."""
    return prefix.network_address + (prefix.prefixlen < prefix.max_prefixlen)
