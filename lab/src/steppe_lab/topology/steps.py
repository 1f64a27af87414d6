"""The steps that wire a topology, as text for `ip -batch`, one batch a namespace.

Pure: decides what is written in which namespace and in which order; apply.py writes it.
"""

import msgspec

from steppe_lab.topology.model import GATEWAY_HOST, MTU, Host, Subnet, Topology

# IPv6 duplicate address detection would hold every new address back for a second (RFC 4862,
# section 5.4); addresses here are unique by construction. The kernel skips it only when both
# `all` and the interface say 0, and a new interface copies `default`.
_NO_DAD = (("net/ipv6/conf/all/accept_dad", "0"), ("net/ipv6/conf/default/accept_dad", "0"))
# Nobody advertises routers in the lab; a host must not look for one, nor believe one.
_NO_RA = (("net/ipv6/conf/all/accept_ra", "0"), ("net/ipv6/conf/default/accept_ra", "0"))
_FORWARDING = (("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1"))


class Steps(msgspec.Struct, frozen=True):
    """What is done inside one namespace: sysctls first, then one `ip -batch`."""

    netns: str
    sysctls: tuple[tuple[str, str], ...]
    batch: tuple[str, ...]


def steps(topology: Topology) -> tuple[Steps, ...]:
    """The fabric first: it makes both ends of every link."""
    return (
        _fabric_steps(topology),
        *(_host_steps(host, topology) for host in topology.hosts),
    )


def _fabric_steps(topology: Topology) -> Steps:
    batch = ["link set lo up"]
    for subnet in topology.subnets:
        batch += _bridge(subnet)
    for host in topology.hosts:
        batch += _port(host)
        batch += _neighbours(host, host.subnet.name)
    return Steps(topology.fabric, (*_NO_DAD, *_NO_RA, *_FORWARDING), tuple(batch))


def _bridge(subnet: Subnet) -> list[str]:
    # Without snooping, neighbour solicitations (multicast) reach every port at once.
    options = f"mtu {MTU} type bridge forward_delay 0 mcast_snooping 0"
    return [
        f"link add {subnet.name} address {subnet.mac(GATEWAY_HOST)} {options}",
        *(f"address add {gateway} dev {subnet.name}" for gateway in subnet.gateways),
        f"link set {subnet.name} up",
    ]


def _port(host: Host) -> list[str]:
    # A port of a bridge needs no link-local address of its own.
    peer = f"peer name eth0 address {host.mac} mtu {MTU} netns {host.netns}"
    return [
        f"link add {host.name} mtu {MTU} type veth {peer}",
        f"link set {host.name} addrgenmode none master {host.subnet.name} up",
    ]


def _neighbours(host: Host, device: str) -> list[str]:
    """Entries that lead to a host without ARP or neighbour discovery.

    The kernel keeps at most 1024 learnt neighbours of a family in all namespaces together
    (neigh/default/gc_thresh3, which only the machine itself could raise), and fifty nodes that all
    talk to each other have more. Permanent entries do not count.
    """
    return [
        f"neighbour add {address} lladdr {host.mac} nud permanent dev {device}"
        for address in host.addresses
    ]


def _host_steps(host: Host, topology: Topology) -> Steps:
    """A host knows its subnet and a default gateway, and no route to any pod."""
    subnet = host.subnet
    others = [each for each in topology.hosts if each.subnet == subnet and each != host]
    gateway_mac = subnet.mac(GATEWAY_HOST)
    batch = ["link set lo up", "link set eth0 up"]
    batch += [f"address add {interface} dev eth0" for interface in host.interfaces]
    for gateway in subnet.gateways:
        batch += [
            f"neighbour add {gateway.ip} lladdr {gateway_mac} nud permanent dev eth0",
            f"route add default via {gateway.ip}",
        ]
    for other in others:
        batch += _neighbours(other, "eth0")
    return Steps(host.netns, (*_NO_DAD, *_NO_RA), tuple(batch))
