"""Where the pods of a cluster may be, if its network is not known."""

from ipaddress import ip_network

from steppe.kube.policies import Block
from steppe.net.address import holds

PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
"""RFC 1918, RFC 4193. Few clusters use others for pods."""


def may_hold_pods(block: Block) -> bool:
    """Whether a block takes some of a private network, and not one address alone."""
    if block.prefix.num_addresses == 1:
        return False
    for private in PRIVATE:
        if private.version != block.prefix.version:
            continue
        if holds(block.prefix, private):
            parts = (part for part in block.excepted if part.version == private.version)
            if not any(holds(part, private) for part in parts):
                return True
        elif holds(private, block.prefix):
            return True
    return False
