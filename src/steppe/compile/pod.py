"""A pod's attachment: the tables inside its namespace, and its entries in the node's tables.

    pod    default via 169.254.1.1 / fe80::1 dev eth0, permanent neighbour = host end's MAC
    node   10.244.1.5/32 dev stXXXX, permanent neighbour = pod end's MAC

No ARP, no NDP and no bridge: each end of the veth pair has a permanent neighbour entry for the
other one.
"""

from collections.abc import Iterator

from steppe.kube.cause import Cause
from steppe.kube.objects import Workload
from steppe.net.address import IPAddress, host_prefix, parse_address, parse_interface, parse_prefix
from steppe.state.claim import Claim
from steppe.state.device import Veth
from steppe.state.link import Address, AddressKey, Link, LinkKey, Neighbour, NeighbourKey
from steppe.state.node import NodeClaim
from steppe.state.route import RouteKey, route_by
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import POD_GROUP, alias, host_mac, pod_mac

GATEWAYS = {4: parse_address("169.254.1.1"), 6: parse_address("fe80::1")}
"""The gateways that pods have. No link holds these addresses, and they are never resolved by ARP or
NDP: the pod has a permanent neighbour entry for them."""
_DEFAULTS = {4: parse_prefix("0.0.0.0/0"), 6: parse_prefix("::/0")}


def pod_claims(workload: Workload, mtu: int, interface: str = "eth0") -> Iterator[NodeClaim]:
    """The tables inside the pod's own network namespace."""
    cause = Cause(workload.ref, "status.podIPs")
    yield Claim(LinkKey(interface), Link(Veth(), mtu, pod_mac(workload.link)), cause)
    for address in workload.addresses:
        gateway = GATEWAYS[address.version]
        held = parse_interface(str(address))
        yield Claim(AddressKey(interface, held), Address(), cause)
        neighbour = Neighbour(host_mac(workload.link))
        yield Claim(NeighbourKey(interface, gateway), neighbour, cause)
        route = route_by(interface, gateway, onlink=True)
        yield Claim(RouteKey(_DEFAULTS[address.version]), route, cause)


def workload_claims(workload: Workload, mtu: int) -> Iterator[NodeClaim]:
    """The node's entries for one pod."""
    cause = Cause(workload.ref, "status.podIPs")
    link = workload.link
    value = Link(Veth(), mtu, host_mac(link), alias(workload), group=POD_GROUP)
    yield Claim(LinkKey(link), value, cause)
    for address in workload.addresses:
        yield from _source_guard(link, address, cause)
        yield Claim(NeighbourKey(link, address), Neighbour(pod_mac(link)), cause)
        yield Claim(RouteKey(host_prefix(address)), route_by(link), cause)


def _source_guard(link: str, address: IPAddress, cause: Cause) -> Iterator[NodeClaim]:
    """Drop what leaves the pod's link with a source address that is not the pod's, and take no
    neighbour from what it says: a kernel has 1,024 entries for all its links (gc_thresh3).
    """
    if address.version == 4:
        # "1 - Strict mode as defined in RFC3704" (kernel, networking/ip-sysctl, rp_filter).
        yield Claim(SysctlKey(f"net/ipv4/conf/{link}/rp_filter"), Sysctl("1"), cause)
        # "8 - do not reply for all local addresses" (arp_ignore): no entry for who asks, either.
        yield Claim(SysctlKey(f"net/ipv4/conf/{link}/arp_ignore"), Sysctl("8"), cause)
    else:
        yield Claim(SysctlKey(f"net/ipv6/conf/{link}/accept_ra"), Sysctl("0"), cause)
