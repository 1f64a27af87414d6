"""What a judge knows of the cluster: whose addresses are whose, and what the tables shall hold."""

from collections.abc import Iterable, Iterator

import msgspec

from steppe.kube.objects import Node, Workload
from steppe.net.address import IPAddress, IPNetwork, holds, host_prefix
from steppe.state.node import NodeState

_NAMED = 3


class Known(msgspec.Struct, frozen=True):
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

    def pods_of(self, version: int) -> tuple[IPNetwork, ...]:
        """The prefixes of all pods in one family, this node's first."""
        nodes = (self.here, *self.peers)
        return tuple(n for node in nodes for n in node.networks if n.version == version)

    def who(self, prefix: IPNetwork) -> str:
        """Whose addresses lie in a prefix, in words; "" for nobody's of the cluster."""
        names = tuple(dict.fromkeys(self._named(prefix)))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more

    def _named(self, prefix: IPNetwork) -> Iterator[str]:
        for pod in self.pods:
            for address in pod.addresses:
                if prefix.prefixlen > _of_all(self.here, address) and address in prefix:
                    yield f"pod {pod.namespace}/{pod.name} ({address})"
        for node in (self.here, *self.peers):
            for network in node.networks:
                if holds(prefix, network):
                    yield f"pods of {node.name} ({network})"
                elif holds(network, prefix) and node is not self.here:
                    yield _pods(node, prefix)
            for address in node.addresses:
                if address in prefix:
                    yield f"{node.name} ({address})"
        for service in self.services:
            if holds(prefix, service) or holds(service, prefix):
                yield f"Services ({service if holds(prefix, service) else prefix})"


def _pods(node: Node, prefix: IPNetwork) -> str:
    if prefix.num_addresses == 1:
        return f"the pod of {node.name} at {prefix.network_address}"
    return f"pods of {node.name} ({prefix})"


def _of_all(here: Node, address: IPAddress) -> int:
    """The length of the node's prefix that holds the address: what is longer is told pod by pod."""
    return next((n.prefixlen for n in here.networks if address in n), -1)


def _of_node(node: Node) -> Iterable[IPNetwork]:
    return (*node.networks, *map(host_prefix, node.addresses))


def first_of(prefix: IPNetwork) -> IPAddress:
    """An address of a prefix that a pod may have."""
    return prefix.network_address + (1 if prefix.num_addresses > 1 else 0)
