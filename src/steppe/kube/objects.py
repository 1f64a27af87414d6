"""Checked objects: wire shapes parsed once, with a Problem for each part that is wrong.

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
"""The annotation in which an agent publishes its Underlay, as JSON, for other nodes and tools."""


ZONE_LABEL = "topology.kubernetes.io/zone"


class Underlay(msgspec.Struct, frozen=True):
    """The link by which a node reaches other nodes: its name, MTU in bytes, and addresses.

    `mac`: its MAC address; "" where no agent has told it. `up`: whether it is; not published.
    `takes_advertisements`: whether the kernel accepts router advertisements on it (accept_ra is not
    0). Known on the node itself; not published.
    """

    link: str
    mtu: int
    addresses: tuple[IPInterface, ...] = ()
    mac: str = ""
    takes_advertisements: bool = True
    up: bool = True

    def on_link(self, address: IPAddress) -> bool:
        """Whether this address is on-link: reached without a router."""
        return any(address in own.network for own in self.addresses)


DEFAULT_UNDERLAY = Underlay("eth0", 1500)
"""Used for a node that has published none, as when explaining plain manifests."""


class Node(msgspec.Struct, frozen=True):
    """A node: the prefixes of its pods, and the node's own addresses."""

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
        """Whether one of the node's pod prefixes contains the address."""
        return any(address in prefix.network for prefix in self.prefixes)

    def address(self, version: int) -> IPAddress | None:
        """The node's first address of this IP version."""
        return of_version(self.addresses, version)


NO_POD = "_container"
"""The namespace of attachments whose runtime names no pod (cnitool, nerdctl). The API allows no
namespace of this name."""


class Workload(msgspec.Struct, frozen=True):
    """A pod's attachment to its node: the host-side link, and the pod's addresses.

    (Not a Deployment or the like, which Kubernetes calls a workload; see ends/workloads.py.)

    `container` is the ID of the sandbox that owns the attachment, if it is known: a late DEL for
    an earlier sandbox of the same pod must not remove the attachment of the new one.
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
    """A container port that has a name; policies may refer to it by this name."""

    name: str
    protocol: str
    number: int


class Pod(msgspec.Struct, frozen=True):
    """A pod, as far as the network is concerned.

    `ports` are the container ports with a name, `nameless_ports` those without: the latter are
    documentation only, no policy can refer to them by name.
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
    """The checked node, and a Problem for each part that was left out."""
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
    """The addresses of one type, in the given order; routes use internal ones only."""
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


class _UnderlayWire(msgspec.Struct, omit_defaults=True):
    link: str
    mtu: int
    addresses: tuple[str, ...] = ()
    mac: str = ""


def _underlay(seen: wire.Node, ref: ObjectRef, problems: list[Problem]) -> Underlay:
    text = (seen.metadata.annotations or {}).get(UNDERLAY_ANNOTATION)
    if text is None:
        return DEFAULT_UNDERLAY
    try:
        raw = msgspec.json.decode(text, type=_UnderlayWire)
        held = tuple(map(parse_interface, raw.addresses))
        return Underlay(raw.link, raw.mtu, held, mac=raw.mac)
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
    wire = _UnderlayWire(underlay.link, underlay.mtu, addresses, underlay.mac)
    return msgspec.json.encode(wire).decode()


def pod_from(seen: wire.Pod) -> tuple[Pod, tuple[Problem, ...]]:
    """The checked pod, and a Problem for each part that was left out."""
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
        # A finished pod no longer owns its addresses, although its status still shows them.
        finished=seen.status.phase in ("Succeeded", "Failed"),
        labels=seen.metadata.labels or {},
        ports=tuple(port for port in ports if port.name),
        nameless_ports=tuple(port for port in ports if not port.name),
    )
    return pod, tuple(problems)


def container_ports(seen: wire.PodSpec) -> Iterator[NamedPort]:
    """The ports of the containers that keep running, with those of sidecars (init containers with
    restartPolicy Always).
    """
    sidecars = (c for c in seen.init_containers or () if c.restart_policy == "Always")
    for container in (*(seen.containers or ()), *sidecars):
        for port in container.ports or ():
            yield NamedPort(port.name, port.protocol, port.container_port)
