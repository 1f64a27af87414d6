"""Links, addresses on them, neighbour entries and forwarding entries.

Names, flags and defaults are those of `ip link`, `ip address`, `ip neighbour` and `bridge fdb`;
every value prints as those commands would show it.
"""

from typing import ClassVar

import msgspec

from steppe.net.address import IPAddress, IPInterface
from steppe.state.device import Kind


class LinkKey(msgspec.Struct, frozen=True, order=True):
    table: ClassVar[str] = "links"
    level: ClassVar[int] = 0
    name: str

    def links(self, _: object) -> tuple[str, ...]:
        return (self.name,)

    def __str__(self) -> str:
        return self.name


class Link(msgspec.Struct, frozen=True):
    """A link. All desired links are up.

    `mac` is "" if its kind has none. `alias` is a text that the kernel keeps for it (`ip link`
    shows it). `group` is a number that links share (`ip link show group N`); rules may match it.
    """

    kind: Kind
    mtu: int
    mac: str
    alias: str = ""
    up: bool = True
    group: int = 0

    def __str__(self) -> str:
        state = "" if self.up else "down "
        own = str(self.kind)
        text = f"{self.kind.name} {state}mtu {self.mtu}"
        text += f" address {self.mac}" if self.mac else ""
        text += f" {own}" if own else ""
        text += f" group {self.group}" if self.group else ""
        return f"{text} alias {self.alias!r}" if self.alias else text


class AddressKey(msgspec.Struct, frozen=True, cache_hash=True):
    table: ClassVar[str] = "addresses"
    level: ClassVar[int] = 20
    link: str
    address: IPInterface

    def links(self, _: object) -> tuple[str, ...]:
        return (self.link,)

    def __str__(self) -> str:
        return f"{self.address} dev {self.link}"


class Address(msgspec.Struct, frozen=True):
    """An address has no further values: it is usable at once (no DAD) and does not expire."""

    def __str__(self) -> str:
        return "permanent"


class NeighbourKey(msgspec.Struct, frozen=True, cache_hash=True):
    table: ClassVar[str] = "neighbours"
    level: ClassVar[int] = 40
    link: str
    address: IPAddress

    def links(self, _: object) -> tuple[str, ...]:
        return (self.link,)

    def __str__(self) -> str:
        return f"{self.address} dev {self.link}"


class Neighbour(msgspec.Struct, frozen=True):
    """A permanent neighbour entry: not resolved by ARP or NDP, and it does not expire."""

    mac: str

    def __str__(self) -> str:
        return f"lladdr {self.mac} PERMANENT"


class ForwardingKey(msgspec.Struct, frozen=True):
    table: ClassVar[str] = "fdb"
    level: ClassVar[int] = 30
    link: str
    mac: str

    def links(self, _: object) -> tuple[str, ...]:
        return (self.link,)

    def __str__(self) -> str:
        return f"{self.mac} dev {self.link}"


class Forwarding(msgspec.Struct, frozen=True):
    """The remote tunnel end to which a tunnel device sends the frames for one MAC address."""

    destination: IPAddress

    def __str__(self) -> str:
        return f"dst {self.destination} self permanent"
