"""Keys and data of elements, as values and as bytes: one entry for each of nft's types we use.

A concatenation is its fields one after the other, each padded to 4 bytes; a field alone is not.
"""

import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec

from steppe.drivers.nftables.library import NftError
from steppe.net.address import IPAddress
from steppe.state.nft import Atom, Set

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
_WORDS = {number: word for word, number in _PROTOCOLS.items()}


class _Field(msgspec.Struct, frozen=True):
    """`code` is its form for struct(3), in network order. What `pack` cannot take it raises as
    TypeError or OverflowError; without `read` the unpacked number is the value.
    """

    code: str
    pack: Callable[[Atom], bytes]
    read: Callable[[Any], Atom] | None = None


class Layout:
    """The fields of one type, such as `ipv4_addr . inet_service`."""

    def __init__(self, type_: str) -> None:
        names = type_.split(" . ")
        if unknown := [name for name in names if name not in _FIELDS]:
            raise NftError(f"{unknown[0]} is a type whose bytes are not known here")
        self._fields = tuple(_FIELDS[name] for name in names)
        sizes = [struct.calcsize(f">{field.code}") for field in self._fields]
        self._padding = [bytes(-size & 3) for size in sizes]
        codes = (f"{f.code}{-size & 3}x" for f, size in zip(self._fields, sizes, strict=True))
        self._struct = struct.Struct(">" + "".join(codes))
        self._reads = tuple((at, f.read) for at, f in enumerate(self._fields) if f.read)

    def __len__(self) -> int:
        return len(self._fields)

    def pack(self, spec: Set, values: tuple[Atom, ...]) -> bytes:
        """The values' bytes; NftError if they are not of this type."""
        if len(self._fields) != len(values):
            raise NftError(f"{spec.name} does not take {' . '.join(map(str, values))}")
        if len(values) == 1:
            return _packed(spec, self._fields[0], values[0])
        fields = zip(self._fields, values, self._padding, strict=True)
        return b"".join([_packed(spec, field, value) + rest for field, value, rest in fields])

    def unpack(self, data: bytes) -> tuple[Atom, ...]:
        """The values that these bytes are, padded as they are in an attribute."""
        values: list[Any] = list(self._struct.unpack(data))
        for at, read in self._reads:
            values[at] = read(values[at])
        return tuple(values)


@lru_cache
def layout(type_: str) -> Layout:
    """The layout of a type; NftError if it has a field that is not known here."""
    return Layout(type_)


def _packed(spec: Set, field: _Field, value: Atom) -> bytes:
    try:
        return field.pack(value)
    except (TypeError, OverflowError) as error:
        raise NftError(f"{value} has no place in {spec.name} ({spec.type})") from error


def _ipv4(value: Atom) -> bytes:
    if not isinstance(value, IPv4Address):
        raise TypeError
    return value.packed


def _ipv6(value: Atom) -> bytes:
    if not isinstance(value, IPv6Address):
        raise TypeError
    return value.packed


def _protocol(value: Atom) -> bytes:
    return _integer(_PROTOCOLS.get(value, value) if isinstance(value, str) else value, 1)


def _service(value: Atom) -> bytes:
    return _integer(value, 2)


def _host_order(value: Atom) -> bytes:
    if not isinstance(value, int):
        raise TypeError
    return value.to_bytes(4, sys.byteorder)


def _integer(value: Atom, size: int) -> bytes:
    if not isinstance(value, int):
        raise TypeError
    return value.to_bytes(size, "big")


@lru_cache(maxsize=1 << 16)
def _address(data: bytes) -> IPAddress:
    """Many elements share an address."""
    return IPv4Address(data) if len(data) == 4 else IPv6Address(data)


def _word(number: int) -> Atom:
    return _WORDS.get(number, number)


def _in_host_order(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


_NUMBER = _Field("4s", _host_order, _in_host_order)
_FIELDS: dict[str, _Field] = {
    "ipv4_addr": _Field("4s", _ipv4, _address),
    "ipv6_addr": _Field("16s", _ipv6, _address),
    "inet_proto": _Field("B", _protocol, _word),
    "inet_service": _Field("H", _service),
    "classid": _NUMBER,
    "mark": _NUMBER,
}
