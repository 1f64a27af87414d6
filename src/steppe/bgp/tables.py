"""The tables of BGP on one node; their words are those of BIRD and of the RFCs.

    sessions        with whom, from which address, by which AS numbers
    announcements   which prefixes this node originates
    filters         what a session lets in and out

Each entry has the objects that asked for it (`because`).
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from steppe.bgp.objects import Community, Rule
from steppe.kube.cause import ObjectRef
from steppe.net.address import IPAddress, IPNetwork
from steppe.state.claim import Claim, Entry

Source = Literal["pods", "services"]
"""What an announced prefix is: addresses of this node's pods, or of Services."""
Direction = Literal["import", "export"]


class SessionKey(msgspec.Struct, frozen=True, cache_hash=True):
    """The neighbour: its address, or the link on which whoever speaks is the neighbour."""

    table: ClassVar[str] = "sessions"
    address: IPAddress | None = None
    interface: str = ""

    def __str__(self) -> str:
        return str(self.address) if self.address is not None else f"dev {self.interface}"


class Session(msgspec.Struct, frozen=True):
    """A session. `name` is the protocol's name in BIRD: `node:NAME` or `peer:NAME`.

    `local`: the node's own end; None for any (by interface). `next_hops`: the node's own address of
    each family that it announces as next hop. `client`: we reflect routes to it (RFC 4456).
    """

    name: str
    about: ObjectRef
    asn: int
    own_asn: int
    local: IPAddress | None
    next_hops: tuple[IPAddress, ...] = ()
    client: bool = False
    password_key: str = ""
    bfd: bool = False
    hops: int = 1
    restart_seconds: int = 120

    def __str__(self) -> str:
        return f"{self.name} AS{self.asn} from AS{self.own_asn} {self.local or ''}".strip()


class AnnouncementKey(msgspec.Struct, frozen=True, cache_hash=True):
    table: ClassVar[str] = "announcements"
    prefix: IPNetwork

    def __str__(self) -> str:
        return str(self.prefix)


class Announcement(msgspec.Struct, frozen=True):
    """What the prefix is, and the communities that it carries to everyone."""

    source: Source
    communities: tuple[Community, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.source, *map(str, self.communities)))


class FilterKey(msgspec.Struct, frozen=True, cache_hash=True):
    table: ClassVar[str] = "filters"
    session: str
    direction: Direction

    def __str__(self) -> str:
        return f"{self.direction} of {self.session}"


class Filter(msgspec.Struct, frozen=True):
    """Which routes pass, in this order: those in `refused` do not; then the first of `rules` that
    fits decides, and without a fit a route does not pass. With `rules` of None all others pass.

    `sources`: of the node's own announcements, those that may leave (export). `reflected`: what was
    learned from nodes may leave as well. `communities` are added to what leaves.
    """

    sources: tuple[Source, ...] = ()
    refused: tuple[IPNetwork, ...] = ()
    rules: tuple[Rule, ...] | None = None
    communities: tuple[Community, ...] = ()
    reflected: bool = False


BgpClaim = (
    Claim[SessionKey, Session] | Claim[AnnouncementKey, Announcement] | Claim[FilterKey, Filter]
)


class BgpTables(msgspec.Struct, frozen=True):
    """Everything that BIRD is told, but the passwords themselves.

    `sources`: the node's own addresses, one a family, that packets of the node itself to learned
    prefixes come from (krt_prefsrc).
    """

    router_id: str = "127.0.0.1"
    sessions: Mapping[SessionKey, Entry[SessionKey, Session]] = {}
    announcements: Mapping[AnnouncementKey, Entry[AnnouncementKey, Announcement]] = {}
    filters: Mapping[FilterKey, Entry[FilterKey, Filter]] = {}
    sources: tuple[IPAddress, ...] = ()

    @property
    def speaks(self) -> bool:
        """Whether there is anything for BIRD to do."""
        return bool(self.sessions)


def session_name(kind: Literal["node", "peer"], name: str) -> str:
    """A session's name, from an object's name, whatever is in that (text.py makes it BIRD's)."""
    return f"{kind}:{name}"
