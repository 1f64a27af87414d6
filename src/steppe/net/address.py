"""Addresses and prefixes: parsed once, compared by one sort key.

The values are the standard library's. Added here: an order over both families (`<` between an IPv4
and an IPv6 address raises TypeError), fast parsing, and names for the unions of both families.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from socket import AF_INET, AF_INET6, inet_pton
from typing import TypeVar

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network
Versioned = TypeVar("Versioned", IPAddress, IPInterface, IPNetwork)


def parse_address(text: str) -> IPAddress:
    """The address in text. ValueError says what is wrong; a zone (`%eth0`) is not accepted."""
    if "%" in text:
        raise ValueError(f"{text!r} carries a zone, which means nothing outside one machine")
    # There are hundreds of thousands of endpoints, and ip_address() takes up to ten times as long.
    try:
        if ":" in text:
            return IPv6Address(inet_pton(AF_INET6, text))
        return IPv4Address(inet_pton(AF_INET, text))
    except (OSError, ValueError):
        return ip_address(text)  # its ValueError says what is wrong


def parse_prefix(text: str) -> IPNetwork:
    """The prefix in text with its host bits cleared, as Go's net.ParseCIDR returns it."""
    if "/" not in text:
        raise ValueError(f"{text!r} has no /length")
    # A policy may name 5,000, and ip_network() takes up to five times as long.
    address, _, length = text.rpartition("/")
    if length.isascii() and length.isdecimal():
        try:
            if ":" in address:
                return IPv6Network(_masked(inet_pton(AF_INET6, address), int(length)))
            return IPv4Network(_masked(inet_pton(AF_INET, address), int(length)))
        except (OSError, ValueError):
            pass
    return ip_network(text, strict=False)  # its ValueError says what is wrong


def address_of(packed: bytes) -> IPAddress:
    """The address of these 4 or 16 bytes; ValueError if they are neither."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def prefix_of(packed: bytes, length: int) -> IPNetwork:
    """The prefix of these 4 or 16 bytes, with its host bits cleared."""
    network = IPv4Network if len(packed) == 4 else IPv6Network
    return network(_masked(packed, length))


def _masked(packed: bytes, length: int) -> tuple[int, int]:
    """The number of an address without its host bits, and the length; ValueError if it is long."""
    shift = 8 * len(packed) - length
    return int.from_bytes(packed) >> shift << shift, length


def parse_interface(text: str) -> IPInterface:
    """An address with the length of its on-link prefix, such as 192.0.2.7/24."""
    return ip_interface(text)


@lru_cache(maxsize=65_536)  # a network takes 20 µs to make
def host_prefix(address: IPAddress) -> IPNetwork:
    """The prefix that contains this address alone: /32 or /128."""
    return IPv4Network(address) if address.version == 4 else IPv6Network(address)


def holds(outer: IPNetwork, inner: IPNetwork) -> bool:
    """Whether `inner` is inside `outer` or equal to it; False for different families."""
    return inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def sort_key(value: IPAddress | IPNetwork) -> tuple[int, int, int]:
    """Orders both families together: IPv4 first, then by number, shorter prefixes first."""
    if isinstance(value, IPv4Network | IPv6Network):
        return (value.version, int(value.network_address), value.prefixlen)
    return (value.version, int(value), value.max_prefixlen)


def of_version(values: Iterable[Versioned], version: int) -> Versioned | None:
    """The first value of this IP version (4 or 6); None if there is none."""
    return next((value for value in values if value.version == version), None)
