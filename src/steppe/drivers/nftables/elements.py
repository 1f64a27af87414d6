"""Adds and deletes elements of sets and maps by our own nfnetlink batch, without libnftables.

    BATCH_BEGIN | DELSETELEM ... | NEWSETELEM ... | BATCH_END      one datagram, one transaction

libnftables reads every interval set of the table before it adds a single element to any, 3 µs an
element (docs/decisions/0011-nft-elements.md). The kernel needs none of that.
"""

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping

from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.drivers.netlink.socket import open_socket
from steppe.drivers.nftables import messages as msg
from steppe.drivers.nftables.library import NftError
from steppe.drivers.nftables.remember import is_remembering, packed_rule
from steppe.drivers.nftables.wire import packed_elements
from steppe.state.nft import Atom, Chain, Element, Rule, Set

_NFTA_RULE_CHAIN = 2
_NFTA_RULE_EXPRESSIONS = 4

_LIST = 0xFFFF - 4
"""Bytes of elements in one message: an attribute's length, with its header, has 16 bits."""
_SO_SNDBUFFORCE = 32
_DATAGRAM = 1 << 16
_ERROR_CODE = struct.Struct("=i")
_NLMSGERR_ATTR_MSG = 1

_Key = tuple[Atom, ...]
Row = tuple[_Key, Element | None]
Rows = Mapping[str, Iterable[Row]]
"""Of each set or map, by its name, some of its elements."""


class Elements:
    """The elements of one table, in the network namespace of the thread that makes this object."""

    def __init__(self, table: str, sets: Mapping[str, Set]) -> None:
        self._table = table
        self._sets = sets
        self._sequence = 0
        self._lock = threading.Lock()
        try:
            self._socket = open_socket(protocol=nfnl.NETLINK_NETFILTER)
        except OSError as error:
            raise NftError(f"no nfnetlink socket: {error.strerror}; is this root?") from error

    @property
    def port(self) -> int:
        """The netlink port that changes come from."""
        port: int = self._socket.getsockname()[0]
        return port

    def close(self) -> None:
        self._socket.close()

    def move(self, deleted: Rows, added: Rows) -> None:
        """Delete elements, then add others, as one transaction; NftError if nothing was changed."""
        self._send(
            [*self._requests(msg.DELSETELEM, deleted), *self._requests(msg.NEWSETELEM, added)]
        )

    def fill(self, chains: Iterable[Chain]) -> None:
        """Add the rules of the chains of remember.py, which exist and are empty."""
        remembering = [chain for chain in chains if is_remembering(chain)]
        self._send([self._rule(chain, rule) for chain in remembering for rule in chain.rules])

    def _rule(self, chain: Chain, rule: Rule) -> Request:
        body = nfnl.header(nfnl.NFPROTO_INET)
        body += nl.text(msg.TABLE, self._table) + nl.text(_NFTA_RULE_CHAIN, chain.name)
        body += nl.nested(_NFTA_RULE_EXPRESSIONS, packed_rule(rule))
        return Request(msg.NEWRULE, body, nl.NLM_F_CREATE | nl.NLM_F_APPEND)

    def _send(self, requests: list[Request]) -> None:
        """All of it as one transaction, or NftError."""
        if not requests:
            return
        try:
            with self._lock:
                self._transact(requests)
        except OSError as error:
            # EMSGSIZE: without CAP_NET_ADMIN outside, net.core.wmem_max bounds a transaction.
            raise NftError(f"nfnetlink: {error.strerror}") from error

    def _requests(self, kind: int, rows: Rows) -> Iterator[Request]:
        flags = nl.NLM_F_CREATE if kind == msg.NEWSETELEM else 0
        for name, elements in rows.items():
            head = nfnl.header(nfnl.NFPROTO_INET)
            head += nl.text(msg.TABLE, self._table)
            head += nl.text(msg.ELEM_LIST_SET, name)
            for chunk in _chunks(packed_elements(self._sets[name], elements)):
                yield Request(kind, head + nl.nested(msg.ELEM_LIST_ELEMENTS, chunk), flags)

    def _transact(self, requests: list[Request]) -> None:
        bracket = nfnl.header(socket.AF_UNSPEC, nfnl.NFTABLES)
        begin = self._sequence + 1
        self._sequence = last = begin + len(requests)
        parts = [nl.packed(Request(nfnl.BATCH_BEGIN, bracket), begin, nl.NLM_F_REQUEST)]
        for sequence, request in enumerate(requests, begin + 1):
            ack = nl.NLM_F_ACK if sequence == last else 0
            parts.append(nl.packed(request, sequence, nl.NLM_F_REQUEST | ack))
        parts.append(nl.packed(Request(nfnl.BATCH_END, bracket), 0, nl.NLM_F_REQUEST))
        data = b"".join(parts)
        self._make_room(len(data))
        self._socket.send(data)
        self._settle(begin, last)

    def _make_room(self, size: int) -> None:
        """The kernel takes a datagram only if the send buffer could hold it."""
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < 2 * size:
            with contextlib.suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)

    def _settle(self, begin: int, last: int) -> None:
        """Wait for the verdict; NftError with the first refusal.

        The last request asks for an answer, and each that is refused gets one. What fails as a
        whole (no memory, no right, a chain that leads back to itself) is told of BATCH_BEGIN, and
        then perhaps of nothing else (nfnetlink_rcv_batch in net/netfilter/nfnetlink.c).
        """
        refused: NftError | None = None
        while True:
            for message in nl.messages(self._socket.recv(_DATAGRAM)):
                if message.kind != nl.NLMSG_ERROR or not begin <= message.sequence <= last:
                    continue
                refused = refused or _refusal(message)
                if message.sequence in (begin, last):
                    if refused is not None:
                        raise refused
                    return


def _chunks(elements: Iterable[bytes]) -> Iterator[bytes]:
    """Elements joined, as many as fit into one message."""
    chunk: list[bytes] = []
    size = 0
    for element in elements:
        if size + len(element) > _LIST:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(element)
        size += len(element)
    if chunk:
        yield b"".join(chunk)


def _refusal(message: Message) -> NftError | None:
    (code,) = _ERROR_CODE.unpack_from(message.body)
    if code == 0:
        return None
    said = b""
    if message.flags & nl.NLM_F_ACK_TLVS:
        # An error repeats the request's header: NETLINK_CAP_ACK cut the rest off.
        said = nl.attributes(message.body, _ERROR_CODE.size + 16).get(_NLMSGERR_ATTR_MSG, b"")
    reason = f"{os.strerror(-code)} ({errno.errorcode.get(-code, -code)})"
    return NftError(f"the kernel: {reason} {nl.string(said)}".rstrip())
