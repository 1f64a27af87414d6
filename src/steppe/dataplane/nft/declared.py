"""The forms of keys of sets and maps: makes a key from typed parts, and reads the parts of a key.

A declaration names a pair of sets (one for each family) and the nft types of their fields. `key`
takes the parts; `read` returns them, or None for a key of another set or another form: keys are
also read from kernels and documents.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from sys import intern
from typing import TypeGuard

from steppe.net.address import IPAddress, IPNetwork
from steppe.service.table import Frontend
from steppe.state.nft import ElementKey, Set

_TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}
_FRONTEND = "{address} . inet_proto . inet_service"
NUMBER = "classid"
"""The nft type of a number: nft has no general one, so this is the type of a packet's priority."""


class Declared:
    """One set or map for each family.

    A subclass gives the types of the key in `fields`, with `{address}` for the family's type.
    """

    fields = ""
    interval = False
    dynamic = False

    def __init__(self, name: str, comment: str, data: str = "", *, dynamic: bool = False) -> None:
        self.base = name
        self._comment = comment
        self._data = data
        self._dynamic = dynamic or self.dynamic
        self._names = {version: f"{name}{version}" for version in _TYPES}
        self._versions = {name: version for version, name in self._names.items()}

    def name(self, version: int) -> str:
        """The name of the set of one IP version in nft."""
        return self._names[version]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._versions)

    def matches(self, key: object) -> TypeGuard[ElementKey]:
        """Whether a key, of any table, belongs to this set."""
        return isinstance(key, ElementKey) and key.set in self._versions

    def declaration(self, version: int) -> Set:
        """The declaration of one IP version's set, for the skeleton."""
        address = _TYPES[version]
        return Set(
            self._names[version],
            self.fields.format(address=address),
            self.interval,
            self._comment,
            self._data.format(address=address),
            self._dynamic,
        )


class Addresses(Declared):
    """Keyed by one address."""

    fields = "{address}"

    def key(self, address: IPAddress) -> ElementKey:
        return ElementKey(self._names[address.version], (address,))

    def read(self, key: object) -> IPAddress | None:
        if self.matches(key):
            match key.key:
                case (IPv4Address() | IPv6Address() as address,):
                    return address
        return None


class Prefixes(Declared):
    """Keyed by one prefix; an address matches the longest prefix that contains it."""

    fields = "{address}"
    interval = True

    def key(self, prefix: IPNetwork) -> ElementKey:
        return ElementKey(self._names[prefix.version], (prefix,))

    def read(self, key: object) -> IPNetwork | None:
        if self.matches(key):
            match key.key:
                case (IPv4Network() | IPv6Network() as prefix,):
                    return prefix
        return None


class NumberedPrefixes(Declared):
    """Keyed by one prefix and a number; of those with the number, the longest prefix matches."""

    fields = f"{{address}} . {NUMBER}"
    interval = True

    def key(self, prefix: IPNetwork, number: int) -> ElementKey:
        return ElementKey(self._names[prefix.version], (prefix, number))

    def read(self, key: object) -> tuple[IPNetwork, int] | None:
        if self.matches(key):
            match key.key:
                case (IPv4Network() | IPv6Network() as prefix, int(number)):
                    return prefix, number
        return None


class Pairs(Declared):
    """Keyed by a source and a destination address."""

    fields = "{address} . {address}"

    def key(self, source: IPAddress, destination: IPAddress) -> ElementKey:
        return ElementKey(self._names[source.version], (source, destination))

    def read(self, key: object) -> tuple[IPAddress, IPAddress] | None:
        if self.matches(key):
            match key.key:
                case (
                    IPv4Address() | IPv6Address() as source,
                    IPv4Address() | IPv6Address() as destination,
                ):
                    return source, destination
        return None


class Frontends(Declared):
    """Keyed by a frontend; nft writes the protocol in lower case."""

    fields = _FRONTEND

    def key(self, front: Frontend) -> ElementKey:
        return ElementKey(self._names[front.address.version], _fields(front))

    def read(self, key: object) -> Frontend | None:
        return _front(key.key) if self.matches(key) and len(key.key) == _WIDTH else None


class Choices(Declared):
    """Keyed by a frontend and a number: a random choice, or an affinity id of a backend."""

    fields = f"{_FRONTEND} . {NUMBER}"

    def key(self, front: Frontend, number: int) -> ElementKey:
        return ElementKey(self._names[front.address.version], (*_fields(front), number))

    def keys(self, front: Frontend, numbers: Iterable[int]) -> Iterator[ElementKey]:
        """`key` for each number; the fields of the frontend are computed only once."""
        name, fields = self._names[front.address.version], _fields(front)
        for number in numbers:
            yield ElementKey(name, (*fields, number))

    def read(self, key: object) -> tuple[Frontend, int] | None:
        if self.matches(key):
            match key.key:
                case (*fields, int(number)) if front := _front(tuple(fields)):
                    return front, number
        return None


class SourceRanges(Declared):
    """Keyed by a prefix with the sender's address, and a frontend."""

    fields = f"{{address}} . {_FRONTEND}"
    interval = True

    def key(self, source: IPNetwork, front: Frontend) -> ElementKey:
        return ElementKey(self._names[source.version], (source, *_fields(front)))

    def read(self, key: object) -> tuple[IPNetwork, Frontend] | None:
        if self.matches(key):
            match key.key:
                case (IPv4Network() | IPv6Network() as source, *fields) if front := _front(
                    tuple(fields)
                ):
                    return source, front
        return None


class Senders(Declared):
    """Keyed by the sender's address and a frontend; rules add the elements in the kernel."""

    fields = f"{{address}} . {_FRONTEND}"
    dynamic = True

    def key(self, source: IPAddress, front: Frontend) -> ElementKey:
        return ElementKey(self._names[source.version], (source, *_fields(front)))

    def read(self, key: object) -> tuple[IPAddress, Frontend] | None:
        if self.matches(key):
            match key.key:
                case (IPv4Address() | IPv6Address() as source, *fields) if front := _front(
                    tuple(fields)
                ):
                    return source, front
        return None


class Numbered(Declared):
    """Keyed by a number and an address."""

    fields = f"{NUMBER} . {{address}}"

    def key(self, number: int, address: IPAddress) -> ElementKey:
        return ElementKey(self._names[address.version], (number, address))

    def read(self, key: object) -> tuple[int, IPAddress] | None:
        if self.matches(key):
            match key.key:
                case (int(number), IPv4Address() | IPv6Address() as address):
                    return number, address
        return None


class Numbers(Declared):
    """Keyed by a number alone: one set for both families."""

    fields = NUMBER

    def __init__(self, name: str, comment: str) -> None:
        super().__init__(name, comment)
        self._names = dict.fromkeys(_TYPES, name)
        self._versions = {name: 0}

    def key(self, number: int) -> ElementKey:
        return ElementKey(self.base, (number,))

    def read(self, key: object) -> int | None:
        if self.matches(key):
            match key.key:
                case (int(number),):
                    return number
        return None


class Ports(Numbers):
    """Keyed by a port, and so the same set for both families."""

    fields = "inet_service"


class Words(Declared):
    """Keyed by one word, and so the same set for both families."""

    def __init__(self, name: str, comment: str) -> None:
        super().__init__(name, comment)
        self._names = dict.fromkeys(_TYPES, name)
        self._versions = {name: 0}

    def key(self, word: str) -> ElementKey:
        return ElementKey(self.base, (word,))

    def read(self, key: object) -> str | None:
        if self.matches(key):
            match key.key:
                case (str(word),):
                    return word
        return None


class Links(Words):
    """Keyed by a link's name."""

    fields = "ifname"


class Protocols(Words):
    """Keyed by an IP protocol."""

    fields = "inet_proto"


_WIDTH = 3
"""The number of fields of a frontend."""


def _fields(front: Frontend) -> tuple[IPAddress, str, int]:
    return front.address, intern(front.protocol.lower()), front.port


def _front(fields: tuple[object, ...]) -> Frontend | None:
    match fields:
        case (IPv4Address() | IPv6Address() as address, str(protocol), int(port)):
            return Frontend(address, protocol.upper(), port)
    return None
