"""Links of every kind and what we set on them (`ip link`, ip-link(8)); kinds/ has each kind's own.

A link is made in two messages, because the kernel takes alias and address generation only for a
link that is there (rtnetlink.c: do_setlink handles them, rtnl_create_link does not). It is made
down, so it has no address of its own making before that is switched off.
"""

import struct
from collections.abc import Mapping

import msgspec

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.kinds import CODECS
from steppe.drivers.netlink.message import Message, Request
from steppe.state.link import Link

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18

_IFINFO = struct.Struct("=BxHiII")
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_IFALIAS = 20
_IFLA_AF_SPEC = 26
_IFLA_GROUP = 27
_IFLA_NET_NS_FD = 28
_IFLA_EXT_MASK = 29
_RTEXT_FILTER_SKIP_STATS = 8
_VETH_INFO_PEER = 1
_AF_INET6 = 10
_IFLA_INET6_ADDR_GEN_MODE = 8
_ADDR_GEN_MODE_NONE = 1


class LinkInfo(msgspec.Struct, frozen=True):
    """A link of any kind, as the kernel tells of it; `data` is what its kind alone has."""

    index: int
    name: str
    kind: str
    mtu: int
    mac: str
    alias: str
    up: bool
    loopback: bool
    group: int = 0
    carrier: bool = True
    data: Mapping[int, bytes] = {}

    def link(self, names: Mapping[int, str]) -> Link | None:
        """The table value for a link of a kind that we make, else None."""
        codec = CODECS.get(self.kind)
        kind = codec.decoded(self.data, names) if codec is not None else None
        if kind is None:
            return None
        mac = self.mac if kind.framed else ""
        return Link(kind, self.mtu, mac, self.alias, self.up, self.group)


def _header(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _IFINFO.pack(0, 0, index, flags, change)


def _mac(kind: int, address: str) -> bytes:
    return nl.attribute(kind, bytes.fromhex(address.replace(":", "")))


def list_links() -> Request:
    return Request(RTM_GETLINK, _header() + nl.u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS))


def get_link(name: str) -> Request:
    return Request(RTM_GETLINK, _header() + nl.text(_IFLA_IFNAME, name))


def delete_link(name: str) -> Request:
    return Request(RTM_DELLINK, _header() + nl.text(_IFLA_IFNAME, name))


def set_link(name: str, link: Link, old: Link | None = None) -> tuple[Request, ...]:
    """Give a link that is there its MTU, MAC, group and alias, no address of its own, and state.

    What `old` has already is not sent: a MAC address set anew, even to itself, makes the kernel
    forget every neighbour on the link, permanent ones too (neigh_changeaddr). The MTU goes first
    and alone: a link that was too small for IPv6 has none, and its address generation cannot be
    set (inet6_validate_link_af). The state goes last and alone, because do_setlink brings a link
    up before it looks at address generation.
    """
    who = nl.text(_IFLA_IFNAME, name)
    settings = [
        nl.attribute(_IFLA_IFALIAS, link.alias.encode()),
        nl.nested(
            _IFLA_AF_SPEC,
            nl.nested(_AF_INET6, nl.u8(_IFLA_INET6_ADDR_GEN_MODE, _ADDR_GEN_MODE_NONE)),
        ),
        nl.u32(_IFLA_GROUP, link.group),
    ]
    if link.mac and (old is None or old.mac != link.mac):
        settings.append(_mac(_IFLA_ADDRESS, link.mac))
    mtu = nl.u32(_IFLA_MTU, link.mtu) if old is None or old.mtu != link.mtu else b""
    flags = _IFF_UP if link.up else 0
    return (
        *((Request(RTM_NEWLINK, _header() + who + mtu),) if mtu else ()),
        Request(RTM_NEWLINK, _header() + who + b"".join(settings)),
        Request(RTM_NEWLINK, _header(flags=flags, change=_IFF_UP) + who),
    )


def create_veth(
    name: str, link: Link, peer_name: str, peer_mac: str, netns_fd: int
) -> tuple[Request, ...]:
    """Both ends at once, the peer inside its namespace from the start: it never was elsewhere."""
    peer = (
        _header()
        + nl.text(_IFLA_IFNAME, peer_name)
        + _mac(_IFLA_ADDRESS, peer_mac)
        + nl.u32(_IFLA_MTU, link.mtu)
        + nl.u32(_IFLA_NET_NS_FD, netns_fd)
    )
    data = nl.attribute(_VETH_INFO_PEER | nl.NLA_F_NESTED, peer)
    return _create(name, link, data)


def create_link(name: str, link: Link, lower: int) -> tuple[Request, ...]:
    """A link of a kind that tables can make; `lower` is the index of the link below it, or 0."""
    return _create(name, link, CODECS[link.kind.name].encoded(link.kind, lower))


def _create(name: str, link: Link, data: bytes) -> tuple[Request, ...]:
    body = (
        _header()
        + nl.text(_IFLA_IFNAME, name)
        + (_mac(_IFLA_ADDRESS, link.mac) if link.mac else b"")
        + nl.u32(_IFLA_MTU, link.mtu)
        + nl.u32(_IFLA_GROUP, link.group)
        + nl.nested(
            _IFLA_LINKINFO,
            nl.text(_IFLA_INFO_KIND, link.kind.name),
            nl.attribute(_IFLA_INFO_DATA | nl.NLA_F_NESTED, data),
        )
    )
    return (
        Request(RTM_NEWLINK, body, nl.NLM_F_CREATE | nl.NLM_F_EXCL),
        *set_link(name, link, old=link),
    )


def read_link(message: Message) -> LinkInfo:
    """The link that a RTM_NEWLINK or RTM_DELLINK speaks of."""
    _, kind, index, flags, _ = _IFINFO.unpack_from(message.body)
    found = nl.attributes(message.body, _IFINFO.size)
    about = nl.attributes(found.get(_IFLA_LINKINFO, b""))
    kind_name = nl.string(about.get(_IFLA_INFO_KIND, b""))
    data = nl.attributes(about.get(_IFLA_INFO_DATA, b"")) if kind_name in CODECS else {}
    return LinkInfo(
        index=index,
        name=nl.string(found.get(_IFLA_IFNAME, b"")),
        kind=kind_name,
        mtu=nl.number(found.get(_IFLA_MTU, b"")),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        alias=nl.string(found.get(_IFLA_IFALIAS, b"")),
        up=bool(flags & _IFF_UP),
        loopback=kind == _ARPHRD_LOOPBACK,
        carrier=bool(flags & _IFF_LOWER_UP),
        group=nl.number(found.get(_IFLA_GROUP, b"")),
        data=data,
    )


_ARPHRD_LOOPBACK = 772
