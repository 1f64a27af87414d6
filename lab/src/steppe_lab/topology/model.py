"""The lab's network as a value: subnets, hosts and their addresses.

Decides names and addresses and touches nothing. All addresses come from the documentation ranges
(RFC 5737, RFC 3849), so that a packet that left the lab would not be routed anywhere.

    flat                                racks
      node-a  node-b  node-c              node-a  node-c     node-b  node-d
         └──────┼───────┘                    └──┬───┘           └──┬───┘
              net-1  192.0.2.0/24             net-1              net-2  203.0.113.0/24
                │ .1                            │ .1               │ .1
             fabric (a router)                  └───── fabric ─────┘
                │ .1                                     │ .1
              net-0  198.51.100.0/24                   net-0
                │ .10                                    │ .10
             outside                                  outside
"""

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from string import ascii_lowercase
from typing import Literal

import msgspec

from steppe_lab.netns import namespace

Family = Literal["dual", "ipv4", "ipv6"]
Shape = Literal["flat", "racks"]
Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

GATEWAY_HOST = 1
OUTSIDE_HOST = 10
FIRST_NODE_HOST = 11
MTU = 1500

_OUTSIDE_NETWORKS = (IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:ffff::/64"))
_NODE_NETWORKS = (
    (IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:0:1::/64")),
    (IPv4Network("203.0.113.0/24"), IPv6Network("2001:db8:0:2::/64")),
)


class Subnet(msgspec.Struct, frozen=True):
    """One L2 segment, a bridge in the fabric's namespace, whose gateway is the fabric."""

    number: int
    networks: tuple[Network, ...]

    def interfaces(self, host: int) -> tuple[Interface, ...]:
        """A host's addresses; its number reads the same in both families (…11 and …::11)."""
        return tuple(
            ip_interface(f"{_member(network, host)}/{network.prefixlen}")
            for network in self.networks
        )

    @property
    def name(self) -> str:
        return f"net-{self.number}"

    def mac(self, host: int) -> str:
        """A locally administered address that tells the subnet and the host."""
        return f"02:00:00:{self.number:02x}:00:{host:02x}"

    @property
    def gateways(self) -> tuple[Interface, ...]:
        return self.interfaces(GATEWAY_HOST)


class Host(msgspec.Struct, frozen=True):
    """A machine of the lab, in a namespace of its own, with one interface, eth0."""

    name: str
    netns: str
    mac: str
    subnet: Subnet
    interfaces: tuple[Interface, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(str(interface.ip) for interface in self.interfaces)


class Topology(msgspec.Struct, frozen=True):
    """All hosts of a lab and the fabric that joins them."""

    fabric: str
    subnets: tuple[Subnet, ...]
    nodes: tuple[Host, ...]
    outside: Host

    @property
    def hosts(self) -> tuple[Host, ...]:
        return (*self.nodes, self.outside)

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.fabric, *(host.netns for host in self.hosts))


def node_names(count: int) -> tuple[str, ...]:
    """node-a … node-z, node-aa, node-ab …"""
    letters = [*ascii_lowercase, *(a + b for a in ascii_lowercase for b in ascii_lowercase)]
    return tuple(f"node-{suffix}" for suffix in letters[:count])


def describe(lab: str, nodes: int, family: Family, shape: Shape) -> Topology:
    """The network of a lab; with racks, nodes alternate between two subnets."""
    outside = _subnet(0, _OUTSIDE_NETWORKS, family)
    racks = tuple(
        _subnet(number, networks, family)
        for number, networks in enumerate(_NODE_NETWORKS[: 2 if shape == "racks" else 1], start=1)
    )
    return Topology(
        fabric=namespace(lab, "fabric"),
        subnets=(outside, *racks),
        nodes=tuple(
            _host(lab, name, racks[index % len(racks)], FIRST_NODE_HOST + index // len(racks))
            for index, name in enumerate(node_names(nodes))
        ),
        outside=_host(lab, "outside", outside, OUTSIDE_HOST),
    )


def _subnet(number: int, networks: tuple[Network, ...], family: Family) -> Subnet:
    versions = {"dual": (4, 6), "ipv4": (4,), "ipv6": (6,)}[family]
    return Subnet(number, tuple(net for net in networks if net.version in versions))


def _host(lab: str, name: str, subnet: Subnet, number: int) -> Host:
    return Host(name, namespace(lab, name), subnet.mac(number), subnet, subnet.interfaces(number))


def _member(network: Network, host: int) -> str:
    offset = host if network.version == 4 else int(str(host), 16)
    return str(network[offset])
