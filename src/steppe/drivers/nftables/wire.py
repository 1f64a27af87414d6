"""Elements of sets and maps as the bytes of linux/netfilter/nf_tables.h.

    element   NFTA_LIST_ELEM { FLAGS | KEY {VALUE} | DATA {VALUE or VERDICT} | KEY_END {VALUE} }
    value     the fields one after the other, each padded to 4 bytes

It writes what nft 1.0.6 writes for the same words, so either may take back what the other put in.
It decides nothing: types and words that it does not know are for libnftables (UnknownFormError).
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from steppe.drivers.netlink import message as nl
from steppe.drivers.nftables.library import NftError
from steppe.net.address import IPNetwork
from steppe.state.nft import Atom, Element, Set

_NFTA_LIST_ELEM = 1
_NFTA_SET_ELEM_KEY = 1
_NFTA_SET_ELEM_DATA = 2
_NFTA_SET_ELEM_FLAGS = 3
_NFTA_SET_ELEM_USERDATA = 6
_NFTA_SET_ELEM_KEY_END = 10
_NFTA_DATA_VALUE = 1
_NFTA_DATA_VERDICT = 2
_NFTA_VERDICT_CODE = 1
_NFTA_VERDICT_CHAIN = 2
_NF_DROP = 0
_NFT_GOTO = -4
_INTERVAL_END = nl.attribute(_NFTA_SET_ELEM_FLAGS, (1).to_bytes(4, "big"))
# NFTNL_UDATA_SET_ELEM_FLAGS, 4 bytes, NFTNL_SET_ELEM_F_INTERVAL_OPEN (libnftnl/udata.h): nft's own
# note, which the kernel keeps for it, that no end follows.
_INTERVAL_OPEN = nl.attribute(_NFTA_SET_ELEM_USERDATA, b"\1\4" + (1).to_bytes(4, sys.byteorder))

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}

_Key = tuple[Atom, ...]
_Pack = Callable[[Atom], bytes]


class UnknownFormError(NftError):
    """A type or a word that only libnftables knows how to write."""


def packed_elements(spec: Set, rows: Iterable[tuple[_Key, Element | None]]) -> Iterator[bytes]:
    """The attributes of each element; what only names a key, as for a deletion, has no value.

    Intervals come in the order of their addresses, each one's start and end together. The kernel
    pairs them by that (`start_rbe_cookie` in net/netfilter/nft_set_rbtree.c), and some versions
    take a start for one without an end only where it is the last of its message.
    """
    fields = _packers(spec.type)
    if spec.interval:
        if spec.data and len(fields) == 1:
            raise UnknownFormError("a map of intervals alone")
        pack = _interval if len(fields) == 1 else _concatenated
        ordered = sorted(rows, key=lambda row: _start(row[0]))
        yield from (pack(spec, fields, key, value) for key, value in ordered)
        return
    for key, value in rows:
        parts = [_value(_NFTA_SET_ELEM_KEY, _joined(spec, fields, key))]
        if spec.data and value is not None:
            parts.append(_data(spec, value.data))
        yield nl.nested(_NFTA_LIST_ELEM, *parts)


def _interval(spec: Set, fields: tuple[_Pack, ...], key: _Key, value: Element | None) -> bytes:
    """A prefix as its first address, and the first one behind it unless there is none."""
    del value  # a set's, which holds nothing
    prefix = _prefix(key)
    (pack,) = fields
    start = _value(_NFTA_SET_ELEM_KEY, _field(spec, pack, prefix.network_address))
    behind = int(prefix.broadcast_address) + 1
    if behind >> prefix.max_prefixlen:
        return nl.nested(_NFTA_LIST_ELEM, start, _INTERVAL_OPEN)
    end = _value(_NFTA_SET_ELEM_KEY, behind.to_bytes(prefix.max_prefixlen // 8, "big"))
    return nl.nested(_NFTA_LIST_ELEM, start) + nl.nested(_NFTA_LIST_ELEM, _INTERVAL_END, end)


def _concatenated(spec: Set, fields: tuple[_Pack, ...], key: _Key, value: Element | None) -> bytes:
    """A prefix and what stands behind it, from the first such key to the last, both included."""
    prefix = _prefix(key)
    first = _joined(spec, fields, (prefix.network_address, *key[1:]))
    last = prefix.broadcast_address.packed + first[prefix.max_prefixlen // 8 :]
    parts = [_value(_NFTA_SET_ELEM_KEY, first)]
    if spec.data and value is not None:
        parts.append(_data(spec, value.data))
    return nl.nested(_NFTA_LIST_ELEM, *parts, _value(_NFTA_SET_ELEM_KEY_END, last))


def _value(kind: int, data: bytes) -> bytes:
    return nl.nested(kind, nl.attribute(_NFTA_DATA_VALUE, data))


def _data(spec: Set, data: _Key) -> bytes:
    if spec.data == "verdict":
        return _verdict(data)
    return _value(_NFTA_SET_ELEM_DATA, _joined(spec, _packers(spec.data), data))


@lru_cache(maxsize=1 << 12)
def _verdict(data: _Key) -> bytes:
    """`drop`, or `goto` a chain."""
    (word,) = data
    if not isinstance(word, str):
        raise NftError(f"{word!r} is the name of no chain")
    code = _NF_DROP if word == "drop" else _NFT_GOTO
    parts = [nl.attribute(_NFTA_VERDICT_CODE, code.to_bytes(4, "big", signed=True))]
    parts += [nl.text(_NFTA_VERDICT_CHAIN, word)] if code == _NFT_GOTO else []
    return nl.nested(_NFTA_SET_ELEM_DATA, nl.nested(_NFTA_DATA_VERDICT, *parts))


def _joined(spec: Set, fields: tuple[_Pack, ...], values: _Key) -> bytes:
    if len(fields) != len(values):
        raise NftError(f"{spec.name} does not take {' . '.join(map(str, values))}")
    return b"".join([_field(spec, pack, value) for pack, value in zip(fields, values, strict=True)])


def _field(spec: Set, pack: _Pack, value: Atom) -> bytes:
    try:
        return pack(value)
    except (TypeError, OverflowError) as error:
        raise NftError(f"{value} has no place in {spec.name} ({spec.type})") from error


def _prefix(key: _Key) -> IPNetwork:
    if not isinstance(key[0], IPv4Network | IPv6Network):
        raise NftError(f"{key[0]} is no prefix")
    return key[0]


def _start(key: _Key) -> tuple[int, int]:
    prefix = _prefix(key)
    return prefix.version, int(prefix.network_address)


def _ipv4(value: Atom) -> bytes:
    if not isinstance(value, IPv4Address):
        raise TypeError
    return value.packed


def _ipv6(value: Atom) -> bytes:
    if not isinstance(value, IPv6Address):
        raise TypeError
    return value.packed


def _protocol(value: Atom) -> bytes:
    if isinstance(value, str):
        if value not in _PROTOCOLS:
            raise UnknownFormError(f"protocol {value!r}")
        value = _PROTOCOLS[value]
    return _integer(value).to_bytes(1, "big") + b"\0\0\0"


def _service(value: Atom) -> bytes:
    return _integer(value).to_bytes(2, "big") + b"\0\0"


def _host_order(value: Atom) -> bytes:
    return _integer(value).to_bytes(4, sys.byteorder)


def _integer(value: Atom) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


_PACKERS: dict[str, _Pack] = {
    "ipv4_addr": _ipv4,
    "ipv6_addr": _ipv6,
    "inet_proto": _protocol,
    "inet_service": _service,
    "classid": _host_order,
    "mark": _host_order,
}


@lru_cache
def _packers(type_: str) -> tuple[_Pack, ...]:
    fields = type_.split(" . ")
    if not _PACKERS.keys() >= set(fields):
        raise UnknownFormError(f"type {type_}")
    return tuple(_PACKERS[field] for field in fields)
