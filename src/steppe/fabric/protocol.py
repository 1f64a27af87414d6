"""What a fabric is: how the pods of one node reach those of another.

A module with these names is a fabric (direct.py is the smallest); so is any object that has them.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.settings import Settings
from steppe.state.node import NodeClaim


class Option(msgspec.Struct, frozen=True):
    """A whole number that an operator may choose for a fabric, between both bounds."""

    name: str
    default: int
    lowest: int
    highest: int
    help: str

    def of(self, settings: Settings) -> int:
        """What was chosen, or the default."""
        return dict(settings.fabric_options).get(self.name, self.default)


class Need(msgspec.Struct, frozen=True):
    """A kind of device that the kernel must know, and the words after `ip link add … type` that
    show it.
    """

    device: str
    purpose: str
    words: tuple[str, ...]


class Tunnel(msgspec.Struct, frozen=True):
    """A kind of tunnel that ends on every node: its packets come to a UDP port, and what they
    carry comes out of a link. Only other nodes may send them.
    """

    link: str
    port: int


class Fabric(Protocol):
    """Claims for one node (`here`) of all that carries packets to its peers and from them.

    `summary`: half a sentence for a command's help. `links`: the devices it makes, by name.
    """

    @property
    def summary(self) -> str: ...
    @property
    def links(self) -> tuple[str, ...]: ...
    @property
    def options(self) -> tuple[Option, ...]: ...
    @property
    def needs(self) -> tuple[Need, ...]: ...

    def carries(self, here: Node, peer: Node) -> bool:
        """Whether `auto` may choose it towards this peer: the first that says so is taken."""
        ...

    def devices(self, settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
        """What the node needs whoever its peers are."""
        ...

    def towards(self, settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
        """What reaching this peer's pods takes."""
        ...

    def tunnels(self, settings: Settings) -> tuple[Tunnel, ...]:
        """The tunnels that end on a node: its edges guard them (dataplane/nft/edges.py)."""
        ...

    def mtu(self, settings: Settings, here: Node) -> int:
        """The largest packet, in bytes, that pods' own links shall take."""
        ...
