"""Which packets to send, and which source address the receiver should see.

Pure. "Pods can communicate with all other pods on any other node without NAT; agents on a node can
communicate with all pods on that node" (Kubernetes, "The Kubernetes network model"). What leaves
the cluster takes the node's address, since nobody outside has a route back to a pod.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

Kind = Literal["pod", "node", "outside"]
Protocol = Literal["tcp", "udp", "icmp"]


class Port(msgspec.Struct, frozen=True, order=True):
    """A port that answers; `tells`: the answer contains the client's address."""

    number: int
    protocol: Protocol
    tells: bool = True


class Endpoint(msgspec.Struct, frozen=True):
    """Something that sends and receives; `node_addresses` are its node's, also for a pod."""

    kind: Kind
    name: str
    netns: str
    addresses: tuple[str, ...]
    node_addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()

    def address(self, version: int) -> str:
        return next((a for a in self.addresses if version_of(a) == version), "")


class Probe(msgspec.Struct, frozen=True):
    """One exchange; an empty `expect` accepts any source, as for ICMP, which does not report it."""

    source: Endpoint
    target: Endpoint
    version: int
    protocol: Protocol
    port: int
    expect: tuple[str, ...]


def version_of(address: str) -> int:
    return 6 if ":" in address else 4


def probes(endpoints: tuple[Endpoint, ...], versions: tuple[int, ...]) -> tuple[Probe, ...]:
    """Every pair that involves a pod, in each family, over each port and by ICMP."""
    return tuple(
        probe
        for source in endpoints
        for target in endpoints
        if _makes_sense(source, target)
        for version in versions
        for probe in _pair(source, target, version)
    )


def _makes_sense(source: Endpoint, target: Endpoint) -> bool:
    """Node to node is not probed, and outside hosts have no route to pods."""
    if source.kind == "pod":
        return source is not target
    return source.kind == "node" and target.kind == "pod"


def _pair(source: Endpoint, target: Endpoint, version: int) -> Iterator[Probe]:
    expect = _expected_sources(source, target, version)
    for port in target.ports:
        yield Probe(
            source, target, version, port.protocol, port.number, expect if port.tells else ()
        )
    yield Probe(source, target, version, "icmp", 0, ())


def _expected_sources(source: Endpoint, target: Endpoint, version: int) -> tuple[str, ...]:
    masqueraded = target.kind == "outside"
    addresses = source.node_addresses if masqueraded else source.addresses
    return tuple(a for a in addresses if version_of(a) == version)
