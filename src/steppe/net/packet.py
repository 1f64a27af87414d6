"""The first packet of a flow, as the walker and the oracle see it."""

from typing import Literal

import msgspec

from steppe.net.address import IPAddress

Protocol = Literal["TCP", "UDP", "SCTP", "ICMP"]
NUMBERS: dict[Protocol, dict[int, int]] = {
    "TCP": {4: 6, 6: 6},
    "UDP": {4: 17, 6: 17},
    "SCTP": {4: 132, 6: 132},
    "ICMP": {4: 1, 6: 58},
}
"""The protocols' numbers in the IP header, by IP version."""
PROTOCOLS = {number: name for name, by in NUMBERS.items() for number in by.values()}


def protocol_word(number: int) -> str:
    """A protocol's number in words: "" for 0, which rules use for any, and the number itself of one
    that is not known here.
    """
    return PROTOCOLS[number].lower() if number in PROTOCOLS else str(number or "")


class Packet(msgspec.Struct, frozen=True):
    """A packet's addresses, protocol and ports; ports are 0 where the protocol has none."""

    source: IPAddress
    destination: IPAddress
    protocol: Protocol = "TCP"
    source_port: int = 0
    destination_port: int = 0

    @property
    def answer(self) -> "Packet":
        """The reply: addresses and ports exchanged."""
        return Packet(
            self.destination,
            self.source,
            self.protocol,
            self.destination_port,
            self.source_port,
        )

    def __str__(self) -> str:
        if self.protocol == "ICMP":
            return f"{self.source} > {self.destination} ICMP"
        return f"{self.source} > {self.destination} {self.protocol} {self.destination_port}"
