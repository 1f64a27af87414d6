"""What a fabric is: the claims by which pods of one node reach pods of another node.

Every module or object with the members of `Fabric` is a fabric; direct.py is the smallest.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from steppe.kube.cause import Problem
from steppe.kube.objects import Node
from steppe.settings import Settings
from steppe.state.node import NodeClaim


class Option(msgspec.Struct, frozen=True):
    """An integer setting of a fabric, with its lowest and highest value (both allowed)."""

    name: str
    default: int
    lowest: int
    highest: int
    help: str

    def of(self, settings: Settings) -> int:
        """The value in the settings, or the default."""
        return dict(settings.fabric_options).get(self.name, self.default)


class Need(msgspec.Struct, frozen=True):
    """A kind of device that the kernel must support, with the words after `ip link add … type` that
    test it, and the kernel's module that brings it.
    """

    device: str
    purpose: str
    words: tuple[str, ...]
    module: str = ""


class Tunnel(msgspec.Struct, frozen=True):
    """A kind of tunnel that ends on every node: its packets come with an IP protocol (in nft's
    words), or to a UDP port, and what they carry comes out of a link. Only other nodes may send
    them.
    """

    link: str
    port: int = 0
    protocol: str = "udp"


class Fabric(Protocol):
    """The claims on one node (`here`) of everything that carries packets to and from its peers.

    `summary`: half a sentence for a command's help. `links`: the names of the devices it makes.
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
        """Whether this fabric can carry packets to this peer; `auto` takes the first that can."""
        ...

    def devices(self, settings: Settings, here: Node) -> Iterator[NodeClaim | Problem]:
        """The claims that do not depend on a peer."""
        ...

    def towards(self, settings: Settings, here: Node, peer: Node) -> Iterator[NodeClaim | Problem]:
        """The claims for reaching this peer's pods, and a Problem for what cannot be reached."""
        ...

    def tunnels(self, settings: Settings) -> tuple[Tunnel, ...]:
        """The tunnels that end on a node: its edges guard them (dataplane/nft/edges.py)."""
        ...

    def mtu(self, settings: Settings, here: Node) -> int:
        """The MTU of pods' own links, in bytes."""
        ...
