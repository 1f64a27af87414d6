"""What the Services of one node do with a packet: which endpoints they lead it to, and as whom.

    sender                 cluster IP                 other addresses, policy Cluster   Local
    a pod of the node      itself                     the node                          itself
    the node               the node                   the node                          the node
    anybody else           the node                   the node                          itself

This is the address that the receiver sees ("masqueraded": the node's), unless the endpoint is on
the same node. With Local, anybody else is led to endpoints of this node only.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from steppe.judge.verdict import Stopped
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster, Name
from steppe.kube.objects import Node
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress
from steppe.net.packet import Packet, Protocol
from steppe.service.backends import NamedFrontend, Vantage, frontends, named_frontends
from steppe.service.table import Backend, Backends
from steppe.settings import Settings

Sender = Literal["pod", "node", "other"]
"""Who sends, from the serving node: one of its pods, itself, or anybody else."""


class Led(msgspec.Struct, frozen=True):
    """Where a node leads a packet: each of `backends` is equally likely; without any, see `stop`.

    `masquerade`: endpoints on other nodes see the node's address. `service` is None where no
    Service has the port or the address.
    """

    service: Service | None
    backends: tuple[Backend, ...] = ()
    masquerade: bool = False
    stop: Stopped = ""
    because: tuple[Cause, ...] = ()


class Fronts:
    """The frontends of a cluster's Services, on each node.

    Invariant: it stores only what follows from the cluster and the settings.
    """

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._served = settings.node_port_addresses
        self._vantages: dict[str, Vantage] = {}
        self._named: dict[tuple[Name, tuple[IPAddress, ...]], tuple[NamedFrontend, ...]] = {}
        self._backends: dict[tuple[Name, NamedFrontend, str], Backends] = {}
        self._slices: dict[Name, tuple[EndpointSlice, ...]] = {}

    def led(self, node: Node, packet: Packet) -> Led | None:
        """What the node's Services do with a packet that it has; None if they let it pass."""
        found = self.owner(node, packet.destination, packet.protocol, packet.destination_port)
        if found is None:
            return self._unknown(packet)
        service, named = found
        return self.led_by(node, service, named, packet.source)

    def led_by(self, node: Node, service: Service, named: NamedFrontend, source: IPAddress) -> Led:
        """What one frontend of a Service does with a packet of this sender, on this node."""
        known = self.backends(node, service, named)
        if known.admitted is not None and not any(source in p for p in known.admitted.prefixes):
            return Led(service, stop="barred", because=(known.admitted.cause,))
        if known.refuse:
            causes = (Cause(service.ref), *(Cause(each.ref) for each in self._slices_of(service)))
            return Led(service, stop="refused", because=causes)
        backends, masquerade = choices(known, sender_at(node, source))
        if not backends:
            kind = "internal" if named.kind == "cluster" else "external"
            because = (Cause(service.ref, f"spec.{kind}TrafficPolicy"),)
            return Led(service, stop="dropped", because=because)
        return Led(service, backends, masquerade)

    def owner(
        self, node: Node, address: IPAddress, protocol: Protocol, port: int
    ) -> tuple[Service, NamedFrontend] | None:
        """The Service that owns this address and port on the node: the oldest that names it."""
        found = [
            (service.created, service.ref, service, named)
            for service in self._naming(address, protocol, port)
            for named in self.named(node, service)
            if (named.front.address, named.front.protocol, named.front.port)
            == (address, protocol, port)
        ]
        if not found:
            return None
        _, _, service, named = min(found, key=lambda each: each[:2])
        return service, named

    def named(self, node: Node, service: Service) -> tuple[NamedFrontend, ...]:
        """Every frontend of a Service on this node, whoever owns it."""
        vantage = self._vantage(node)
        has_node_ports = any(port.node_port for port in service.ports)
        key = (_name(service), vantage.node_ports if has_node_ports else ())
        if key not in self._named:
            self._named[key] = named_frontends(vantage, service)
        return self._named[key]

    def backends(self, node: Node, service: Service, named: NamedFrontend) -> Backends:
        """The backends of a frontend on this node."""
        name = _name(service)
        key = (name, named, node.name if self.is_near(service) else "")
        if key not in self._backends:
            own = self._slices_of(service)
            ((_, self._backends[key]),) = frontends(self._vantage(node), service, own, (named,))
        return self._backends[key]

    def is_near(self, service: Service) -> bool:
        """Whether the backends depend on the node: by a traffic policy, or by hints."""
        return (
            service.internal_local
            or service.external_local
            or any(e.zones or e.nodes for s in self._slices_of(service) for e in s.endpoints)
        )

    def _naming(self, address: IPAddress, protocol: Protocol, port: int) -> Iterator[Service]:
        yield from self._cluster.services_at(address)
        if self._cluster.nodes_at(address):
            yield from self._cluster.services_on(protocol, port)

    def _unknown(self, packet: Packet) -> Led | None:
        """Other ports of a cluster IP are refused, unused addresses of a service range dropped."""
        for service in self._cluster.services_at(packet.destination):
            if packet.destination in service.cluster_ips:
                return Led(None, stop="refused", because=(Cause(service.ref, "spec.ports"),))
        for known in self._cluster.service_ranges.values():
            if any(packet.destination in prefix for prefix in known.prefixes):
                return Led(None, stop="dropped", because=(Cause(known.ref, "spec.cidrs"),))
        return None

    def _vantage(self, node: Node) -> Vantage:
        if node.name not in self._vantages:
            self._vantages[node.name] = Vantage.of(node, self._served)
        return self._vantages[node.name]

    def _slices_of(self, service: Service) -> tuple[EndpointSlice, ...]:
        name = _name(service)
        if name not in self._slices:
            own = self._cluster.slices_of(service)
            self._slices[name] = tuple(sorted(own, key=lambda slice_: slice_.name))
        return self._slices[name]


def sender_at(node: Node, source: IPAddress) -> Sender:
    """Who sends, as the serving node sees it."""
    if node.has_pods_at(source):
        return "pod"
    return "node" if source in node.addresses else "other"


def choices(known: Backends, sender: Sender) -> tuple[tuple[Backend, ...], bool]:
    """The backends that this sender may be led to, and whether the node masquerades."""
    if sender == "other":
        return known.outside, not known.local
    return known.inside, sender == "node" or (known.masquerade and not known.local)


def _name(service: Service) -> Name:
    return service.namespace, service.name
