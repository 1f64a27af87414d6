"""Addresses with ports, as they are written on the command line."""

import msgspec

from steppe.net.address import IPAddress, parse_address

PORT = 53


class SocketAddress(msgspec.Struct, frozen=True):
    """An address and a port."""

    address: IPAddress
    port: int = PORT


def parse_socket_address(text: str) -> SocketAddress:
    """`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`; else ValueError."""
    if text.startswith("["):
        address, closed, port = text[1:].partition("]")
        if not closed or port[:1] not in ("", ":"):
            raise ValueError(f"{text!r} is not [ADDRESS]:PORT")
        port = port[1:]
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    number = int(port or PORT)
    if not 0 <= number < 65536:
        raise ValueError(f"there is no port {number}")
    return SocketAddress(parse_address(address), number)
