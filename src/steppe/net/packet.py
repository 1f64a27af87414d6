"""The first packet of a flow, as the walker and the oracle see it."""

from typing import Literal

import msgspec

from steppe.net.address import IPAddress

Protocol = Literal["TCP", "UDP", "SCTP", "ICMP"]


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
