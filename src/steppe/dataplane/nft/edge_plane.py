"""What a node's fabric and its peers put into the sets that guard its edges (edges.py)."""

from collections.abc import Iterator

from steppe.dataplane.nft.sets import (
    OWN,
    TUNNEL_LINK,
    TUNNEL_PEER,
    TUNNEL_PORT,
    TUNNEL_PROTOCOL,
    TUNNEL_SOURCE,
)
from steppe.kube.cause import Cause
from steppe.kube.objects import Node, Workload
from steppe.net.address import IPAddress, host_prefix
from steppe.state.claim import Claim
from steppe.state.nft import Element
from steppe.state.node import NodeClaim

_NOTHING = Element()


def pod(workload: Workload) -> Iterator[NodeClaim]:
    """That a pod of this node may tell of errors in its own connections."""
    cause = Cause(workload.ref, "status.podIPs")
    for address in workload.addresses:
        yield Claim(OWN.key(address, address), _NOTHING, cause)


def tunnel(link: str, protocol: str, port: int, here: Node) -> Iterator[NodeClaim]:
    """That tunnels of this IP protocol end at the node, if it is UDP at this port, and what they
    carry comes out of this link.
    """
    cause = Cause(here.ref, "status.addresses")
    yield Claim(TUNNEL_LINK.key(link), _NOTHING, cause)
    key = TUNNEL_PORT.key(port) if protocol == "udp" else TUNNEL_PROTOCOL.key(protocol)
    yield Claim(key, _NOTHING, cause)


def tunnel_peer(peer: Node) -> Iterator[NodeClaim]:
    """That a node's tunnels end here: from its addresses, with its pods' packets and its own.

    A node may speak from an address that its link has and the API does not know, behind a NAT.
    """
    cause = Cause(peer.ref, "status.addresses")
    held = (own.ip for own in peer.underlay.addresses)
    addresses = tuple(dict.fromkeys((*peer.addresses, *held)))
    for outer in addresses:
        number = outer_number(outer)
        yield Claim(TUNNEL_PEER.key(outer), Element((number,)), cause)
        for inner in addresses:
            yield Claim(TUNNEL_SOURCE.key(host_prefix(inner), number), _NOTHING, cause)
        for prefix in peer.prefixes:
            yield Claim(TUNNEL_SOURCE.key(prefix.network, number), _NOTHING, prefix.cause)


def outer_number(address: IPAddress) -> int:
    """What a tunnel's packet is marked with until it is unwrapped: by whom it was sent.

    It depends on the address alone, so nodes that tell of one address never contradict each other.
    It is the last 16 bits, there and back: nft 1.0.6 turns round the bytes of a number in such a
    set, and nothing promises that every version does. Nodes that have these bits in common may
    speak for each other; zero would be no mark.
    """
    last = (int(address) & 0xFFFF or 0xFFFF).to_bytes(2, "big")
    return int.from_bytes(last + last[::-1], "big")
