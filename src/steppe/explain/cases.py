"""The packets that represent a flow: one for each family and for each part of an address range.

    192.0.2.0/24 into a pod with ipBlock 192.0.2.128/25     192.0.2.0/24 (the rest of it)
                                                            192.0.2.128/25

All addresses of a part are in the same ipBlocks, so one of them represents the part.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

import msgspec

from steppe.ends.target import NodeTarget, PodTarget, RangeTarget, ServiceTarget, Target
from steppe.explain.cluster_part import own_prefix
from steppe.explain.entrances import entrances
from steppe.explain.flow import BadFlowError
from steppe.explain.model import Case, Flow
from steppe.judge.fronts import Fronts
from steppe.kube.cluster import Cluster
from steppe.kube.cluster_policies import ClusterRule
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Block, Direction, Rule
from steppe.kube.services import Service
from steppe.net.address import IPAddress, IPNetwork, holds, of_version, parse_prefix, sort_key
from steppe.net.packet import Packet
from steppe.oracle.service import NodePortAddresses, has_node_ports
from steppe.settings import Settings

SOURCE_PORT = 40000
_FAMILIES = (4, 6)
_NOT_PUBLIC = tuple(
    map(
        parse_prefix,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"),
            *("::/3", "4000::/2", "8000::/1"),  # "2000::/3 Global Unicast" (IANA IPv6 registry)
        ),
    )
)
"""Not assigned to hosts of the internet (RFC 6890)."""


def cases_of(
    cluster: Cluster, flow: Flow, node_port_addresses: NodePortAddresses = ()
) -> tuple[Case, ...]:
    """The flow's packets, IPv4 first; BadFlowError if the ends have no family in common."""
    found = tuple(_cases(_Question(cluster, flow, node_port_addresses)))
    if not found:
        raise BadFlowError(f"{flow.source} and {flow.destination} {_nothing_common(flow)}")
    return found


def claiming(flow: Flow, cases: Iterable[Case], claimed: IPAddress) -> list[Case]:
    """The cases of the address's family, with packets that claim it as their source."""
    if not isinstance(flow.source, PodTarget):
        raise BadFlowError(f"{flow.source} is no pod: only what pods claim is looked at")
    found = [
        msgspec.structs.replace(
            case,
            packet=msgspec.structs.replace(case.packet, source=claimed),
            sender=case.packet.source,
        )
        for case in cases
        if case.packet.source.version == claimed.version
    ]
    if not found:
        raise BadFlowError(
            f"{flow.source} and {flow.destination} do not meet by {claimed}'s family"
        )
    return found


def _nothing_common(flow: Flow) -> str:
    for end in (flow.source, flow.destination):
        if isinstance(end, RangeTarget):
            return f"do not meet: all of {end} is the cluster's own; name a pod or a node of it"
    return "have no IP family in common"


class _Question(msgspec.Struct, frozen=True):
    """A flow, and what else decides which packets represent it."""

    cluster: Cluster
    flow: Flow
    node_port_addresses: NodePortAddresses


def _cases(asked: _Question) -> Iterator[Case]:
    flow = asked.flow
    for version in _FAMILIES:
        for stands_for, source in _sources(asked.cluster, flow, version):
            for also, destination, port, at, by in _destinations(asked, version):
                name = " to ".join(filter(None, (stands_for, also))) or f"IPv{version}"
                out = 0 if flow.protocol == "ICMP" else SOURCE_PORT
                packet = Packet(source, destination, flow.protocol, out, port)
                yield Case(name, packet, entering=at, by_nodes=by)


def _sources(cluster: Cluster, flow: Flow, version: int) -> Iterator[tuple[str, IPAddress]]:
    if isinstance(flow.source, RangeTarget):
        cuts = list(_blocks(cluster, flow.destination, "ingress"))
        yield from _parts(cluster, flow.source, cuts, version)
        return
    own = of_version(flow.source.addresses, version)
    if own is not None:
        yield "", own


_Destination = tuple[str, IPAddress, int, str, tuple[str, ...]]
"""What it stands for, the address and port, the node at which a packet for a Service's own address
comes in from outside, and for every packet to a Service from outside the nodes by which it comes:
those that act alike."""


def _destinations(asked: _Question, version: int) -> Iterator[_Destination]:
    cluster, flow = asked.cluster, asked.flow
    end = flow.destination
    if isinstance(end, RangeTarget):
        cuts = list(_blocks(cluster, flow.source, "egress"))
        for name, address in _parts(cluster, end, cuts, version):
            yield name, address, flow.port, "", ()
    elif isinstance(end, ServiceTarget) and end.service.headless:
        # "Kubernetes … instead configures DNS … with multiple records that return the addresses
        # of the Pods" (Headless Services): each address is a case of its own.
        for address in (each for each in end.addresses if each.version == version):
            pods = (f"{pod.namespace}/{pod.name}" for pod in cluster.pods_at(address))
            yield f"{next(pods, address)} (IPv{version})", address, flow.port, "", ()
    elif isinstance(end, ServiceTarget) and isinstance(flow.source, RangeTarget):
        yield from _from_outside(asked, end, version)
    else:
        own = of_version(end.addresses, version)
        if own is not None:
            yield "", own, flow.port, "", ()


def _from_outside(asked: _Question, end: ServiceTarget, version: int) -> Iterator[_Destination]:
    """The packets of hosts outside: to a load balancer's address, an external IP or a node port."""
    flow, service = asked.flow, end.service
    if version not in {address.version for address in service.cluster_ips}:
        return  # other addresses of this family are ignored (oracle/service.py)
    fronts = Fronts(asked.cluster, Settings(node_port_addresses=asked.node_port_addresses))
    ports = [p for p in service.ports if (p.port, p.protocol) == (flow.port, flow.protocol)]
    alike = entrances(asked.cluster, fronts, service, version, ports[0] if ports else None)
    nodes = tuple(some[0] for some in alike)
    written = () if end.addresses == service.cluster_ips else end.addresses
    public = dict.fromkeys((*written, *service.load_balancer_ips, *service.external_ips))
    found = [
        address
        for address in public
        if address.version == version and _owns(fronts, service, nodes, address, flow)
    ]
    for address in found[:1] if written else found:
        also = f"to {address}" if len(found) > 1 and not written else ""
        for some in alike:
            yield also, address, flow.port, some[0].name, tuple(node.name for node in some)
        if not alike:
            yield also, address, flow.port, "", ()
    if found:
        return
    for some in alike if ports and ports[0].node_port else ():
        by = [(node, _serving(asked.node_port_addresses, node, version)) for node in some]
        serving = [(node, own) for node, own in by if own is not None]
        dialled = msgspec.structs.replace(flow, port=ports[0].node_port)
        for node, own in serving[:1]:
            if _owns(fronts, service, (node,), own, dialled):
                yield "", own, dialled.port, "", tuple(node.name for node, _ in serving)
                found.append(own)
    cluster_ip = of_version(service.cluster_ips, version)
    if cluster_ip is not None and not found:
        yield "", cluster_ip, flow.port, "", ()


def _owns(
    fronts: Fronts, service: Service, nodes: Sequence[Node], address: IPAddress, flow: Flow
) -> bool:
    """Whether the address and port are this Service's, and not an older one's."""
    for node in nodes[:1]:
        found = fronts.owner(node, address, flow.protocol, flow.port)
        return found is None or found[0].ref == service.ref
    return True


def _serving(served: NodePortAddresses, node: Node, version: int) -> IPAddress | None:
    """The first of a node's addresses on which it serves node ports."""
    return of_version((a for a in node.addresses if has_node_ports(node, served, a)), version)


def _blocks(cluster: Cluster, end: Target, direction: Direction) -> Iterator[IPNetwork]:
    """Every prefix for which a policy of these pods, or the Service's source ranges, may differ."""
    policies = {p.ref: p for pod in _pods(cluster, end) for p in cluster.policies_on(pod)}
    rules: list[Rule | ClusterRule] = []
    for policy in policies.values():
        rules += policy.rules(direction)
    for admins in cluster.cluster_policies.values():
        rules += admins.rules(direction)
    for peer in (peer for rule in rules for peer in rule.peers):
        if isinstance(peer, Block):
            yield from (peer.prefix, *peer.excepted)
    if isinstance(end, ServiceTarget):
        yield from end.service.source_ranges


def _pods(cluster: Cluster, end: Target) -> Iterator[Pod]:
    match end:
        case PodTarget(pod, _):
            yield pod
        case ServiceTarget(service, _):
            for slice_ in cluster.slices_of(service):
                for endpoint in slice_.endpoints:
                    yield from cluster.pods_at(endpoint.address)
        case NodeTarget() | RangeTarget():
            return


def _parts(
    cluster: Cluster, end: RangeTarget, cuts: Iterable[IPNetwork], version: int
) -> Iterator[tuple[str, IPAddress]]:
    """Each part of the range, as its longest prefix, with an address that represents it."""
    if end.address is not None:
        if end.address.version == version:
            yield "", end.address
        return
    apart = tuple(cuts) + (_NOT_PUBLIC if end.public else ())
    for whole in (prefix for prefix in end.prefixes if prefix.version == version):
        inside = {cut for cut in apart if cut.version == version and holds(whole, cut)}
        for part in sorted({whole} | inside, key=sort_key):
            if end.public and any(holds(private, part) for private in _of(version)):
                continue
            address = _sample_address(cluster, part, {cut for cut in inside if cut != part})
            if address is not None:
                name = end.text if part == whole and end.public else str(part)
                yield name + (f" (IPv{version})" if end.public else ""), address


def _of(version: int) -> Iterator[IPNetwork]:
    return (prefix for prefix in _NOT_PUBLIC if prefix.version == version)


def _sample_address(cluster: Cluster, part: IPNetwork, without: set[IPNetwork]) -> IPAddress | None:
    """The first address of a part that is neither the cluster's nor in a prefix of `without`."""
    number, last = int(part.network_address), int(part.broadcast_address)
    for cut in sorted((cut for cut in without if holds(part, cut)), key=sort_key):
        if int(cut.network_address) <= number <= int(cut.broadcast_address):
            number = int(cut.broadcast_address) + 1
    if number < last:
        number += 1  # the first address of a prefix is usually no host's
    make = IPv4Address if part.version == 4 else IPv6Address
    while number <= last:
        address = make(number)
        own = own_prefix(cluster, address)
        if own is None:
            return address
        number = int(own.broadcast_address) + 1
    return None
