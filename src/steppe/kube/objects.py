"""Checked objects: what the wire said, parsed once, with a Problem for each part that is wrong.

A part that cannot be used is left out and reported; the rest of the object stays in use.
"""

from collections.abc import Iterator, Mapping

import msgspec

from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.prefixes import NodePrefix, read_pod_cidrs
from steppe.net.address import (
    IPAddress,
    IPInterface,
    IPNetwork,
    of_version,
    parse_address,
    parse_interface,
)

UNDERLAY_ANNOTATION = "steppe.dev/underlay"
"""Where an agent publishes its node's Underlay, as JSON: peers and offline tools need it."""


ZONE_LABEL = "topology.kubernetes.io/zone"


class Underlay(msgspec.Struct, frozen=True):
    """A node's way to the other nodes: the link, its MTU in bytes, and its addresses."""

    link: str
    mtu: int
    addresses: tuple[IPInterface, ...] = ()

    def on_link(self, address: IPAddress) -> bool:
        """Whether this address is reached on the link itself, with no router between."""
        return any(address in own.network for own in self.addresses)


DEFAULT_UNDERLAY = Underlay("eth0", 1500)
"""Assumed of a node that has published nothing, as when explaining plain manifests."""


class Node(msgspec.Struct, frozen=True):
    """A node: the prefixes its pods live in and the addresses it is reached by."""

    name: str
    created: str = ""
    prefixes: tuple[NodePrefix, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    underlay: Underlay = DEFAULT_UNDERLAY
    zone: str = ""
    labels: Mapping[str, str] = {}
    external_addresses: tuple[IPAddress, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("Node", "", self.name)

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """The prefixes without their causes."""
        return tuple(prefix.network for prefix in self.prefixes)

    def has_pods_at(self, address: IPAddress) -> bool:
        """Whether the address is one of those that the node's pods are given."""
        return any(address in prefix.network for prefix in self.prefixes)

    def address(self, version: int) -> IPAddress | None:
        """The node's first address of this IP version."""
        return of_version(self.addresses, version)


NO_POD = "_container"
"""Stands for the namespace where a runtime tells of no pod (cnitool, nerdctl); none in the API
can have this name."""


class Workload(msgspec.Struct, frozen=True):
    """A pod's attachment to its node: the host-side link and the addresses behind it.

    `container` names the sandbox that owns it, where one is known: a late DEL for an earlier
    sandbox of the same pod must not tear down its successor.
    """

    link: str
    namespace: str
    name: str
    node: str
    addresses: tuple[IPAddress, ...] = ()
    container: str = ""

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("Pod", self.namespace, self.name)


class NamedPort(msgspec.Struct, frozen=True):
    """A container port that has a name: policies may call it by that."""

    name: str
    protocol: str
    number: int


class Pod(msgspec.Struct, frozen=True):
    """A pod, as far as the network is concerned.

    `ports` are those that have a name; `nameless_ports` are declared for people's information.
    """

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    addresses: tuple[IPAddress, ...] = ()
    host_network: bool = False
    finished: bool = False
    labels: Mapping[str, str] = {}
    ports: tuple[NamedPort, ...] = ()
    nameless_ports: tuple[NamedPort, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("Pod", self.namespace, self.name)


def node_from(seen: wire.Node) -> tuple[Node, tuple[Problem, ...]]:
    """The checked node, and what of it had to be left out."""
    problems: list[Problem] = []
    ref = ObjectRef("Node", "", seen.metadata.name)
    cidrs = seen.spec.pod_cidrs or ((seen.spec.pod_cidr,) if seen.spec.pod_cidr else ())
    node = Node(
        name=seen.metadata.name,
        created=seen.metadata.creation_timestamp or "",
        prefixes=read_pod_cidrs(ref, cidrs, problems),
        addresses=_node_addresses(seen, "InternalIP", ref, problems),
        underlay=_underlay(seen, ref, problems),
        zone=(seen.metadata.labels or {}).get(ZONE_LABEL, ""),
        labels=seen.metadata.labels or {},
        external_addresses=_node_addresses(seen, "ExternalIP", ref, problems),
    )
    return node, tuple(problems)


def _node_addresses(
    seen: wire.Node, type_: str, ref: ObjectRef, problems: list[Problem]
) -> tuple[IPAddress, ...]:
    """Addresses of one type in the order given; routes use internal ones only."""
    found: dict[IPAddress, None] = {}
    for index, entry in enumerate(seen.status.addresses or ()):
        if entry.type != type_:
            continue
        try:
            address = parse_address(entry.address)
        except ValueError as error:
            cause = Cause(ref, f"status.addresses[{index}]")
            problems.append(Problem(cause, f"not an address: {error}"))
            continue
        found[address] = None
    return tuple(found)


class _UnderlayWire(msgspec.Struct):
    link: str
    mtu: int
    addresses: tuple[str, ...] = ()


def _underlay(seen: wire.Node, ref: ObjectRef, problems: list[Problem]) -> Underlay:
    text = (seen.metadata.annotations or {}).get(UNDERLAY_ANNOTATION)
    if text is None:
        return DEFAULT_UNDERLAY
    try:
        raw = msgspec.json.decode(text, type=_UnderlayWire)
        return Underlay(raw.link, raw.mtu, tuple(map(parse_interface, raw.addresses)))
    except (msgspec.MsgspecError, ValueError) as error:
        cause = Cause(ref, f"metadata.annotations[{UNDERLAY_ANNOTATION}]")
        problems.append(
            Problem(
                cause, f"not what an agent writes ({error}); remove it, the agent makes it anew"
            )
        )
        return DEFAULT_UNDERLAY


def underlay_annotation(underlay: Underlay) -> str:
    """The annotation's text for this underlay; `node_from` reads it back."""
    addresses = tuple(str(address) for address in underlay.addresses)
    return msgspec.json.encode(_UnderlayWire(underlay.link, underlay.mtu, addresses)).decode()


def pod_from(seen: wire.Pod) -> tuple[Pod, tuple[Problem, ...]]:
    """The checked pod, and what of it had to be left out."""
    problems: list[Problem] = []
    ref = ObjectRef("Pod", seen.metadata.namespace, seen.metadata.name)
    texts = tuple(ip.ip for ip in seen.status.pod_ips or ()) or (seen.status.pod_ip,)
    addresses: list[IPAddress] = []
    for index, text in enumerate(texts):
        if not text:
            continue
        try:
            addresses.append(parse_address(text))
        except ValueError as error:
            cause = Cause(ref, f"status.podIPs[{index}]")
            problems.append(Problem(cause, f"not an address: {error}"))
    ports = tuple(container_ports(seen.spec))
    pod = Pod(
        namespace=seen.metadata.namespace,
        name=seen.metadata.name,
        uid=seen.metadata.uid,
        node=seen.spec.node_name,
        addresses=tuple(addresses),
        host_network=seen.spec.host_network,
        # A pod that has ended gives its addresses back, although its status still shows them.
        finished=seen.status.phase in ("Succeeded", "Failed"),
        labels=seen.metadata.labels or {},
        ports=tuple(port for port in ports if port.name),
        nameless_ports=tuple(port for port in ports if not port.name),
    )
    return pod, tuple(problems)


def container_ports(seen: wire.PodSpec) -> Iterator[NamedPort]:
    """The ports of the containers that stay: sidecars are init containers that restart always."""
    sidecars = (c for c in seen.init_containers or () if c.restart_policy == "Always")
    for container in (*(seen.containers or ()), *sidecars):
        for port in container.ports or ():
            yield NamedPort(port.name, port.protocol, port.container_port)
