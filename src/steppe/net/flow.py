"""A tracked flow: who sent to whom, and who answers."""

import msgspec

from steppe.net.address import IPAddress
from steppe.net.packet import Protocol


class Endpoints(msgspec.Struct, frozen=True):
    """One direction of a flow."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int

    def __str__(self) -> str:
        return f"{self.source}:{self.source_port} > {self.destination}:{self.destination_port}"


class Flow(msgspec.Struct, frozen=True):
    """What the sender addressed, and the direction in which answers come."""

    protocol: Protocol
    original: Endpoints
    reply: Endpoints

    def __str__(self) -> str:
        answers = f"{self.reply.source}:{self.reply.source_port}"
        return f"{self.protocol} {self.original} answered by {answers}"
