"""What an operator chooses about the pod network, the same on every node."""

from typing import Literal

import msgspec

FabricName = Literal["auto", "direct", "vxlan"]


class Settings(msgspec.Struct, frozen=True):
    """`masquerade`: whether traffic that leaves the cluster takes the node's address.

    `services`: whether Services are Steppe's; if not, it touches nothing of them.

    `policies`: whether NetworkPolicies are enforced.
    """

    fabric: FabricName = "auto"
    vxlan_vni: int = 7473
    # "IANA has assigned the value 4789 for the VXLAN UDP port" (RFC 7348, section 5).
    vxlan_port: int = 4789
    masquerade: bool = True
    services: bool = True
    policies: bool = True
