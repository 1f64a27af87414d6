"""What a reader is told of: where to look, and which part of what there is matters."""

from ipaddress import ip_network

import msgspec

from steppe.drivers.nftables.expected import Expected
from steppe.net.address import IPNetwork
from steppe.state.route import PROTOCOL

Table = tuple[str, str]
"""An nftables table: family and name."""


class Look(msgspec.Struct, frozen=True):
    """`addresses`: routes and neighbours that have none of these in common do not matter.

    `links`: those whose settings are read; `own`: the nftables table that is Steppe's.
    `expected`: the form that this table shall have; without it the table is not looked into.
    `protocol`: routes and rules that bear it are Steppe's, and left out; 0 for none.
    """

    addresses: tuple[IPNetwork, ...] = ()
    links: tuple[str, ...] = ()
    own: Table = ("inet", "steppe")
    protocol: int = PROTOCOL
    expected: Expected | None = None


EVERYTHING = Look((ip_network("0.0.0.0/0"), ip_network("::/0")), (), ("", ""), 0)
"""Whatever there is, Steppe's own as well: for the inside of pods."""
