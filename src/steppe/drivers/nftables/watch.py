"""Reports that another program has changed our table: `nft flush ruleset`, or a rule added by hand.

    transaction   NEWRULE, DELSETELEM … of any table | NEWGEN {PROC_NAME}

The change itself is not decoded: it is rare, and the table is read again. Events of our own
elements are filtered out inside the kernel; a transaction of libnftables is recognized by its last
message, which has the name of the thread (library.py).
"""

import socket
from collections.abc import AsyncGenerator
from errno import ENOBUFS
from typing import Self

from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.events import Lost
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.hearing import heard, ignore, join
from steppe.drivers.netlink.message import Message
from steppe.drivers.netlink.socket import open_socket
from steppe.drivers.nftables import messages as msg
from steppe.drivers.nftables.library import TASK_NAME

_OURS = (nfnl.NFTABLES, nfnl.NFPROTO_INET)
_NFTA_GEN_PROC_NAME = 3
_BUFFER = 4 << 20
_DATAGRAMS = 2000


class RulesetWatch:
    """The changes of one inet table by others; made before it is read, so that none is missed."""

    def __init__(self, table: str, own_port: int) -> None:
        """`own_port`: the netlink port of the socket that moves our elements."""
        self._table = table
        self._touched = False
        self._socket = open_socket(None, _BUFFER, socket.SOCK_NONBLOCK, nfnl.NETLINK_NETFILTER)
        ignore(self._socket, own_port)
        join(self._socket, [nfnl.NFNLGRP_NFTABLES])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._socket.fileno(),)

    def drain(self) -> tuple[Lost, ...]:
        """The events since the last call, at most one Lost; never waits."""
        reason = ""
        for _ in range(_DATAGRAMS):
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                reason = "nftables' events came faster than they were read"
                continue
            for message in nl.messages(data):
                if message.kind == msg.NEWGEN:
                    reason = self._end(message) or reason
                else:
                    self._touched |= self._is_ours(message)
        return (Lost(reason),) if reason else ()

    def events(self) -> AsyncGenerator[tuple[Lost, ...], None]:
        """The events as they happen, until cancelled."""
        return heard(self._socket.fileno(), self.drain)

    def _is_ours(self, message: Message) -> bool:
        if (nfnl.subsystem_of(message), nfnl.family_of(message)) != _OURS:
            return False
        return nl.string(nfnl.attributes(message).get(msg.TABLE, b"")) == self._table

    def _end(self, message: Message) -> str:
        """Why the table must be read again after this transaction; "" if it need not be."""
        touched, self._touched = self._touched, False
        task = nl.string(nfnl.attributes(message).get(_NFTA_GEN_PROC_NAME, b""))
        if not touched or task == TASK_NAME:
            return ""
        return f"another program has changed table inet {self._table}"
