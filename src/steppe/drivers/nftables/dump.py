"""Reads a table by nfnetlink: its form and, separately, its elements.

    form       the table, its sets, chains and rules, as the kernel's own bytes
    elements   those of one set, decoded (wire.py)

libnftables reads every element of a table whenever it lists a rule of it, 25 µs each
(docs/decisions/0013-nft-reading.md).
"""

from collections.abc import Iterator, Mapping
from errno import ENOENT

import msgspec

from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.errors import TablesChangedError, kernel_error
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Request
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.nftables import messages as msg
from steppe.drivers.nftables.wire import Row, unpacked_elements
from steppe.state.nft import Set

_NFTA_TABLE_FLAGS = 2
_NFTA_TABLE_USE = 3
_NFTA_CHAIN_NAME = 3
_NFTA_CHAIN = (4, 5, 7, 10)  # HOOK, POLICY, TYPE, FLAGS
_NFTA_RULE_CHAIN = 2
_NFTA_RULE_HANDLE = 3
_NFTA_RULE = (4, 7)  # EXPRESSIONS, USERDATA: its comment
_NFTA_SET_NAME = 2
_NFTA_SET_ELEMENTS = (3, 4, 5, 6, 7)  # FLAGS, KEY_TYPE, KEY_LEN, DATA_TYPE, DATA_LEN
_NFTA_SET = (8, 9, 11, 12, 13, 17, 18)
"""POLICY, DESC, TIMEOUT, GC_INTERVAL, USERDATA (its comment), EXPR, EXPRESSIONS."""
_ATTEMPTS = 10
"""How often a set that grows during each reading is read."""

_Attributes = tuple[bytes | None, ...]


class SetForm(msgspec.Struct, frozen=True):
    """`elements` is what the elements' form depends on, `more` the rest of what was declared."""

    elements: _Attributes
    more: _Attributes


class ChainForm(msgspec.Struct, frozen=True):
    hook: _Attributes
    rules: tuple[_Attributes, ...]


class Form(msgspec.Struct, frozen=True):
    """All of a table except its elements, counters and handles; equal for equal declarations.

    `uses` is the number of chains, sets and other objects of the table: it also counts kinds that
    are not read, so one of them makes a difference.
    """

    flags: bytes | None
    uses: bytes | None
    sets: Mapping[str, SetForm]
    chains: Mapping[str, ChainForm]


class Dump:
    """Reads one table, in the network namespace of the thread that makes this object."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._socket = NetlinkSocket(protocol=nfnl.NETLINK_NETFILTER)

    def close(self) -> None:
        self._socket.close()

    def is_there(self) -> bool:
        """Whether there is a table of this name."""
        try:
            self._socket.get(self._request(msg.GETTABLE))
        except NetlinkError as error:
            if error.errno == ENOENT:
                return False
            raise kernel_error(f"read table inet {self._table}", error) from error
        return True

    def form(self) -> Form | None:
        """The form of the table; None if there is no table."""
        try:
            table = nfnl.attributes(self._socket.get(self._request(msg.GETTABLE)))
            rules: dict[str, list[_Attributes]] = {}
            for rule in self._list(msg.GETRULE):
                rules.setdefault(nl.string(rule[_NFTA_RULE_CHAIN]), []).append(
                    _some(rule, _NFTA_RULE)
                )
            chains = {nl.string(c[_NFTA_CHAIN_NAME]): c for c in self._list(msg.GETCHAIN)}
            sets = {nl.string(s[_NFTA_SET_NAME]): s for s in self._list(msg.GETSET)}
        except NetlinkError as error:
            if error.errno == ENOENT:
                return None
            raise kernel_error(f"read table inet {self._table}", error) from error
        return Form(
            table.get(_NFTA_TABLE_FLAGS),
            table.get(_NFTA_TABLE_USE),
            {
                n: SetForm(_some(s, _NFTA_SET_ELEMENTS), _some(s, _NFTA_SET))
                for n, s in sets.items()
            },
            {
                name: ChainForm(_some(chain, _NFTA_CHAIN), tuple(rules.get(name, ())))
                for name, chain in chains.items()
            },
        )

    def handles(self) -> dict[str, list[int]]:
        """The numbers of each chain's rules, in their order."""
        found: dict[str, list[int]] = {}
        try:
            for rule in self._list(msg.GETRULE):
                number = int.from_bytes(rule[_NFTA_RULE_HANDLE], "big")
                found.setdefault(nl.string(rule[_NFTA_RULE_CHAIN]), []).append(number)
        except NetlinkError as error:
            raise kernel_error(f"read table inet {self._table}", error) from error
        return found

    def elements(self, spec: Set) -> list[Row]:
        """The elements of a set or map; [] if it does not exist, and for a dynamic one.

        We do not change the sets while we read. A change by another program during the reading may
        be seen only by the next reading.
        """
        if spec.dynamic:
            return []
        for _ in range(_ATTEMPTS):
            rows = self._elements(spec)
            # The kernel goes on with a dump by counting (`iter.skip` in nft_set_hash.c), and a
            # hash table that grows meanwhile puts its elements in another order. As many as there
            # are come in any case, so where one has been passed over another has come twice.
            if len(dict(rows)) == len(rows):
                return rows
        detail = f"it grew during each of {_ATTEMPTS} attempts"
        raise TablesChangedError(f"read set {spec.name}", detail)

    def _elements(self, spec: Set) -> list[Row]:
        request = self._request(msg.GETSETELEM, nl.text(msg.ELEM_LIST_SET, spec.name))
        try:
            messages = self._socket.dump(request)
        except NetlinkError as error:
            if error.errno == ENOENT:
                return []
            raise kernel_error(f"read set {spec.name}", error) from error
        bodies = map(nfnl.attributes, messages)
        lists = (body.get(msg.ELEM_LIST_ELEMENTS, b"") for body in bodies)
        return list(unpacked_elements(spec, lists))

    def has(self, spec: Set, element: bytes) -> bool:
        """Whether the set has an element with the key of this packed element."""
        of = nl.text(msg.ELEM_LIST_SET, spec.name)
        key = nl.nested(msg.ELEM_LIST_ELEMENTS, element)
        try:
            self._socket.get(self._request(msg.GETSETELEM, of + key))
        except NetlinkError as error:
            if error.errno == ENOENT:
                return False
            raise kernel_error(f"look into set {spec.name}", error) from error
        return True

    def _list(self, kind: int) -> Iterator[dict[int, bytes]]:
        """All objects of a kind in the table (for chains the kernel lists those of all tables)."""
        for message in self._socket.dump(self._request(kind)):
            found = nfnl.attributes(message)
            if nl.string(found[msg.TABLE]) == self._table:
                yield found

    def _request(self, kind: int, more: bytes = b"") -> Request:
        head = nfnl.header(nfnl.NFPROTO_INET) + nl.text(msg.TABLE, self._table)
        return Request(kind, head + more)


def _some(found: Mapping[int, bytes], kinds: tuple[int, ...]) -> _Attributes:
    return tuple(found.get(kind) for kind in kinds)
