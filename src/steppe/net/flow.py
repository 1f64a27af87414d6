"""A flow as connection tracking stores it: the original direction and the reply direction."""

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
    """A tracked flow: what the sender addressed, and the addresses of the replies.

    An ICMP flow is a query, such as an echo request, and its answers. It has the query's identifier
    in place of the sender's port, 0 in place of the receiver's, and in `query` its type and code.
    """

    protocol: Protocol
    original: Endpoints
    reply: Endpoints
    query: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        if self.protocol == "ICMP":
            ends = f"{self.original.source} > {self.original.destination}"
            return f"ICMP {ends} identifier {self.original.source_port}"
        answers = f"{self.reply.source}:{self.reply.source_port}"
        return f"{self.protocol} {self.original} answered by {answers}"
