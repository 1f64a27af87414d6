"""What an operator chooses about the pod network, the same on every node."""

from typing import Literal

import msgspec

from steppe.net.address import IPNetwork, parse_prefix

SETTINGS_ANNOTATION = "steppe.dev/settings"
"""Where an agent publishes on its Node what it runs with, as JSON: offline tools need it."""

FabricName = Literal["auto", "direct", "vxlan"]
NodePortAddresses = tuple[IPNetwork, ...] | Literal["primary"]
"""Which of a node's addresses node ports are served on: `()` is all of them."""


class Settings(msgspec.Struct, frozen=True):
    """`masquerade`: whether traffic that leaves the cluster takes the node's address.

    `services`: whether Services are Steppe's; if not, it touches nothing of them.

    `policies`: whether NetworkPolicies are enforced.

    `data_plane`: what serves Services, a name in dataplane/registry.py. There is one so far, so it
    is not published.

    `node_port_addresses`: as kube-proxy's flag says it, "If set to a list of CIDRs, connections to
    NodePort services will only be accepted on node IPs in one of the indicated ranges. If set to
    'primary', NodePort services will only be accepted on the node's primary IPv4 and/or IPv6
    address according to the Node object."
    """

    fabric: FabricName = "auto"
    vxlan_vni: int = 7473
    # "IANA has assigned the value 4789 for the VXLAN UDP port" (RFC 7348, section 5).
    vxlan_port: int = 4789
    masquerade: bool = True
    services: bool = True
    policies: bool = True
    data_plane: str = "nftables"
    node_port_addresses: NodePortAddresses = ()


class _Wire(msgspec.Struct, rename="camel"):
    fabric: FabricName
    vxlan_vni: int
    vxlan_port: int
    masquerade: bool
    services: bool
    policies: bool
    node_port_addresses: tuple[str, ...] | Literal["primary"]


def settings_annotation(settings: Settings) -> str:
    """The annotation's text for these settings; `settings_from` reads it back."""
    given = settings.node_port_addresses
    fields = msgspec.structs.asdict(settings)
    fields["node_port_addresses"] = given if given == "primary" else tuple(map(str, given))
    del fields["data_plane"]
    return msgspec.json.encode(_Wire(**fields)).decode()


def settings_from(text: str) -> Settings:
    """The settings in an annotation; ValueError where it is not what an agent writes."""
    fields = msgspec.structs.asdict(msgspec.json.decode(text, type=_Wire))
    given = fields["node_port_addresses"]
    fields["node_port_addresses"] = given if given == "primary" else tuple(map(parse_prefix, given))
    return Settings(**fields)
