"""Elements of sets and maps as the bytes of linux/netfilter/nf_tables.h, out and in.

    element   NFTA_LIST_ELEM { FLAGS | KEY {VALUE} | DATA {VALUE or VERDICT} | KEY_END {VALUE} }
    value     the fields one after the other (fields.py)

It writes what nft 1.0.6 writes for the same words, so either may take back what the other put in.
Elements that we never write, such as a range that is not a prefix, are left out when reading.
"""

import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Any

from steppe.drivers.netlink import message as nl
from steppe.drivers.nftables.fields import Layout, layout
from steppe.drivers.nftables.library import NftError
from steppe.net.address import IPAddress, IPNetwork
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
_ATTRIBUTE_HEAD = 4
_HEAD = 2 * _ATTRIBUTE_HEAD  # bytes of two headers, one inside the other
_AT_ONCE = 1_000
_INTERVAL_END = nl.attribute(_NFTA_SET_ELEM_FLAGS, (1).to_bytes(4, "big"))
# NFTNL_UDATA_SET_ELEM_FLAGS, 4 bytes, NFTNL_SET_ELEM_F_INTERVAL_OPEN (libnftnl/udata.h): nft's own
# note, which the kernel keeps for it, that no end follows.
_INTERVAL_OPEN = nl.attribute(_NFTA_SET_ELEM_USERDATA, b"\1\4" + (1).to_bytes(4, sys.byteorder))

_Key = tuple[Atom, ...]
Row = tuple[_Key, Element]


def packed_elements(spec: Set, rows: Iterable[tuple[_Key, Element | None]]) -> Iterator[bytes]:
    """The attributes of each element; without a value only the key is written, as for a deletion.

    Intervals come in the order of their addresses, each one's start and end together. The kernel
    pairs them by that (`start_rbe_cookie` in net/netfilter/nft_set_rbtree.c), and some versions
    take a start for one without an end only where it is the last of its message.
    """
    fields = layout(spec.type)
    if spec.interval:
        pack = _interval if len(fields) == 1 else _concatenated
        ordered = sorted(rows, key=lambda row: _start(row[0]))
        yield from (pack(spec, fields, key, value) for key, value in ordered)
        return
    head = _head(_NFTA_SET_ELEM_KEY, fields)
    given = iter(rows)
    while some := tuple(islice(given, _AT_ONCE)):
        keys = fields.pack_all(spec, [key for key, _ in some])
        data = _all_data(spec, [value for _, value in some])
        size = len(head) + len(keys[0])
        heads = {n: _element_head(size + n) + head for n in set(map(len, data))}
        yield from (heads[len(d)] + key + d for key, d in zip(keys, data, strict=True))


def _element_head(size: int) -> bytes:
    """The header of an element of so many bytes, all of them padded."""
    return nl.nested(_NFTA_LIST_ELEM, bytes(size))[:_ATTRIBUTE_HEAD]


def _all_data(spec: Set, values: Sequence[Element | None]) -> list[bytes]:
    """`_data` of many."""
    if spec.data and spec.data != "verdict" and all(value is not None for value in values):
        fields = layout(spec.data)
        head = _head(_NFTA_SET_ELEM_DATA, fields)
        held = fields.pack_all(spec, [value.data for value in values if value is not None])
        return [head + each for each in held]
    return [_data(spec, value) for value in values]


def _interval(spec: Set, fields: Layout, key: _Key, value: Element | None) -> bytes:
    """A prefix as its first address, and the first one behind it unless there is none."""
    prefix = _prefix(key)
    start = _value(_NFTA_SET_ELEM_KEY, fields.pack(spec, (prefix.network_address,)))
    start += _data(spec, value)
    behind = int(prefix.broadcast_address) + 1
    if behind >> prefix.max_prefixlen:
        return nl.nested(_NFTA_LIST_ELEM, start, _INTERVAL_OPEN)
    end = _value(_NFTA_SET_ELEM_KEY, behind.to_bytes(prefix.max_prefixlen // 8, "big"))
    return nl.nested(_NFTA_LIST_ELEM, start) + nl.nested(_NFTA_LIST_ELEM, _INTERVAL_END, end)


def _concatenated(spec: Set, fields: Layout, key: _Key, value: Element | None) -> bytes:
    """A prefix and the fields after it, as a range of keys from the first to the last."""
    prefix = _prefix(key)
    first = fields.pack(spec, (prefix.network_address, *key[1:]))
    last = prefix.broadcast_address.packed + first[prefix.max_prefixlen // 8 :]
    return nl.nested(
        _NFTA_LIST_ELEM,
        _value(_NFTA_SET_ELEM_KEY, first),
        _data(spec, value),
        _value(_NFTA_SET_ELEM_KEY_END, last),
    )


def _value(kind: int, data: bytes) -> bytes:
    return nl.nested(kind, nl.attribute(_NFTA_DATA_VALUE, data))


def _data(spec: Set, value: Element | None) -> bytes:
    """The data of a map's element; empty for a set, or if there is no value."""
    if not spec.data or value is None:
        return b""
    if spec.data == "verdict":
        return _verdict(value.data)
    fields = layout(spec.data)
    return _head(_NFTA_SET_ELEM_DATA, fields) + fields.pack(spec, value.data)


@lru_cache
def _head(kind: int, fields: Layout) -> bytes:
    """The bytes before the fields: the headers of `_value`, always the same for a layout."""
    return _value(kind, bytes(fields.size))[:_HEAD]


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


def _prefix(key: _Key) -> IPNetwork:
    if not isinstance(key[0], IPv4Network | IPv6Network):
        raise NftError(f"{key[0]} is no prefix")
    return key[0]


def _start(key: _Key) -> tuple[int, int]:
    prefix = _prefix(key)
    return prefix.version, int(prefix.network_address)


def unpacked_elements(spec: Set, lists: Iterable[bytes]) -> Iterator[Row]:
    """The elements in these lists, in any order, as `packed_elements` takes them."""
    if not spec.interval:
        records = _Records(spec) if spec.data != "verdict" else None
        for some in lists:
            rows = records.read(some) if records is not None else None
            yield from _plain(spec, _keyed([some])) if rows is None else rows
    elif len(layout(spec.type)) == 1:
        yield from _intervals(spec, _keyed(lists))
    else:
        yield from _concatenations(spec, _keyed(lists))


def _keyed(lists: Iterable[bytes]) -> Iterator[dict[int, bytes]]:
    """The attributes of each element, without the catch-all element (`*` in nft)."""
    raw = (nl.attributes(element) for some in lists for _, element in nl.sequence(some))
    return (element for element in raw if _NFTA_SET_ELEM_KEY in element)


class _Records:
    """Decodes lists whose elements have the same size and headers, as nearly all have."""

    def __init__(self, spec: Set) -> None:
        self._key, self._type = layout(spec.type), spec.data
        codes = [f"{4 + _HEAD}s{self._key.code}"]
        parts = [_value_as_read(_NFTA_SET_ELEM_KEY, self._key)]
        if spec.data:
            held = layout(spec.data)
            codes.append(f"{_HEAD}s{held.code}")
            parts.append(_value_as_read(_NFTA_SET_ELEM_DATA, held))
        self._struct = struct.Struct(">" + "".join(codes))
        self._behind = 1 + len(self._key)
        model = self._struct.unpack(nl.attribute(_NFTA_LIST_ELEM, b"".join(parts)))
        self._heads = self._heads_of(model)

    def read(self, elements: bytes) -> list[Row] | None:
        """The rows of a list; None if one of its elements has another size or other headers."""
        if len(elements) % self._struct.size:
            return None
        behind, rows = self._behind, []
        for record in self._struct.iter_unpack(elements):
            if self._heads_of(record) != self._heads:
                return None
            value = _element(self._type, record[behind + 1 :]) if self._type else _NOTHING
            rows.append((self._key.read(record[1:behind]), value))
        return rows

    def _heads_of(self, record: tuple[Any, ...]) -> tuple[bytes, ...]:
        """The headers before the key and, in a map, before the data."""
        return record[0 : self._behind + 1 : self._behind]


def _value_as_read(kind: int, fields: Layout) -> bytes:
    """The headers of a value as read from the kernel, which marks no attribute as nested."""
    return nl.attribute(kind, nl.attribute(_NFTA_DATA_VALUE, bytes(fields.size)))


@lru_cache(maxsize=1 << 16)
def _element(type_: str, unpacked: tuple[Any, ...]) -> Element:
    """Cached, since many frontends share a backend."""
    return Element(layout(type_).read(unpacked))


def _plain(spec: Set, elements: Iterable[dict[int, bytes]]) -> Iterator[Row]:
    unpack = layout(spec.type).unpack
    for element in elements:
        value = _held(spec, element)
        if value is not None:
            yield unpack(element[_NFTA_SET_ELEM_KEY][4:]), value


def _intervals(spec: Set, elements: Iterable[dict[int, bytes]]) -> Iterator[Row]:
    """Prefixes from their first address up to the next that begins or ends an interval."""
    unpack = layout(spec.type).unpack
    bounds = [(_address(unpack(e[_NFTA_SET_ELEM_KEY][4:])), e) for e in elements]
    # Where one ends and the next begins, the end comes first.
    bounds.sort(key=lambda bound: (int(bound[0]), not _is_end(bound[1])))
    for index, (first, element) in enumerate(bounds):
        if _is_end(element):
            continue
        behind = int(bounds[index + 1][0]) if index + 1 < len(bounds) else 1 << first.max_prefixlen
        prefix = _prefix_of(first, behind - 1)
        value = _held(spec, element)
        if prefix is not None and value is not None:
            yield (prefix,), value


def _concatenations(spec: Set, elements: Iterable[dict[int, bytes]]) -> Iterator[Row]:
    unpack = layout(spec.type).unpack
    for element in elements:
        first = unpack(element[_NFTA_SET_ELEM_KEY][4:])
        last = unpack(element[_NFTA_SET_ELEM_KEY_END][4:])
        prefix = _prefix_of(_address(first), int(_address(last)))
        value = _held(spec, element)
        if prefix is not None and value is not None and first[1:] == last[1:]:
            yield (prefix, *first[1:]), value


def _address(key: _Key) -> IPAddress:
    if not isinstance(key[0], IPv4Address | IPv6Address):
        raise NftError(f"an interval that begins with {key[0]}")
    return key[0]


def _is_end(element: dict[int, bytes]) -> bool:
    return bool(element.get(_NFTA_SET_ELEM_FLAGS, b"\0")[-1] & 1)


def _prefix_of(first: IPAddress, last: int) -> IPNetwork | None:
    """The prefix from the first address to the last; None if there is no such."""
    host_bits = (last - int(first)).bit_length()
    if last - int(first) + 1 != 1 << host_bits or int(first) & ((1 << host_bits) - 1):
        return None
    network = IPv4Network if first.version == 4 else IPv6Network
    return network((int(first), first.max_prefixlen - host_bits))


def _held(spec: Set, element: dict[int, bytes]) -> Element | None:
    """The data of a map's element; None for a kind of verdict that we never write."""
    if not spec.data:
        return _NOTHING
    return _unpacked_data(spec.data, element[_NFTA_SET_ELEM_DATA])


@lru_cache(maxsize=1 << 16)
def _unpacked_data(type_: str, data: bytes) -> Element | None:
    if type_ != "verdict":
        return Element(layout(type_).unpack(data[4:]))
    verdict = nl.attributes(data, 4)
    code = int.from_bytes(verdict[_NFTA_VERDICT_CODE], "big", signed=True)
    if code == _NFT_GOTO:
        return Element((nl.string(verdict[_NFTA_VERDICT_CHAIN]),))
    return Element(("drop",)) if code == _NF_DROP else None


_NOTHING = Element()
