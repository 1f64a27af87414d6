"""Names of the reverse zones, and the addresses they stand for (RFC 1035 3.5, RFC 3596 2.5)."""

from ipaddress import IPv4Address, IPv6Address

import dns.name

from steppe.net.address import IPAddress

IP4_ARPA = dns.name.from_text("in-addr.arpa.")
IP6_ARPA = dns.name.from_text("ip6.arpa.")


def reverse_address(words: tuple[str, ...], origin: dns.name.Name) -> IPAddress | None:
    """The address that labels below in-addr.arpa or ip6.arpa spell backwards."""
    digits = words[::-1]
    try:
        if origin == IP4_ARPA:
            return IPv4Address(".".join(digits))
        if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
            return IPv6Address(int("".join(digits), 16).to_bytes(16, "big"))
    except ValueError:
        pass
    return None


def is_half_address(words: tuple[str, ...], origin: dns.name.Name) -> bool:
    """Whether labels are the beginning of an address, with names of whole ones below them."""
    missing = (4 if origin == IP4_ARPA else 32) - len(words)
    return missing > 0 and reverse_address(("0",) * missing + words, origin) is not None
