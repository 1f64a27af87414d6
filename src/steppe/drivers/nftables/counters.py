"""Reads the packet counters of the elements of a counting set.

Such sets are dynamic: rules add the elements in the kernel, and they are not claimed or repaired.
"""

from errno import ENOENT
from ipaddress import ip_address
from typing import Self

from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.errors import kernel_error
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Request
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.nftables import messages as msg
from steppe.net.address import IPAddress

_NFTA_SET_ELEM_KEY = 1
_NFTA_SET_ELEM_EXPR = 7
_NFTA_EXPR_DATA = 2
_NFTA_COUNTER_PACKETS = 2


class Counters:
    """Reads one table's counting sets of addresses, in one network namespace."""

    def __init__(self, table: str, netns_fd: int | None = None) -> None:
        self._table = table
        self._socket = NetlinkSocket(netns_fd, nfnl.NETLINK_NETFILTER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def packets(self, name: str) -> dict[IPAddress, int]:
        """The packets counted by address; none where there is no such set."""
        of = nl.text(msg.TABLE, self._table)
        of += nl.text(msg.ELEM_LIST_SET, name)
        try:
            messages = self._socket.dump(
                Request(msg.GETSETELEM, nfnl.header(nfnl.NFPROTO_INET) + of)
            )
        except NetlinkError as error:
            if error.errno == ENOENT:
                return {}
            raise kernel_error(f"read set {name}", error) from error
        lists = (nfnl.attributes(m).get(msg.ELEM_LIST_ELEMENTS, b"") for m in messages)
        return dict(_counted(element) for some in lists for _, element in nl.sequence(some))


def _counted(element: bytes) -> tuple[IPAddress, int]:
    found = nl.attributes(element)
    # The key is a value within an attribute of its own, behind 4 bytes of header.
    address = ip_address(found[_NFTA_SET_ELEM_KEY][4:])
    counter = nl.attributes(found.get(_NFTA_SET_ELEM_EXPR, b"")).get(_NFTA_EXPR_DATA, b"")
    packets = nl.attributes(counter).get(_NFTA_COUNTER_PACKETS, b"")
    return address, int.from_bytes(packets, "big")
