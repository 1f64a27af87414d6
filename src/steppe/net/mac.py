"""MAC addresses derived from names: every node computes the same ones without exchanging them."""

from hashlib import sha256


def derived_mac(*words: str) -> str:
    """A locally administered unicast address (IEEE 802, U/L bit set) made from these words."""
    digest = bytearray(sha256("\0".join(words).encode()).digest()[:6])
    digest[0] = digest[0] & 0xFC | 0x02
    return digest.hex(":")
