"""A netlink socket: requests with their answers, dumps, and batches.

A batch is many requests in one datagram. Only the last one asks for an acknowledgement: the
kernel works through a datagram in order and answers a refused request in any case ("a message of
type NLMSG_ERROR", netlink(7)), so once the last one is answered every refusal has been seen.
"""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Sequence
from errno import EINTR
from typing import Self

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.drivers.netlink.netns import call_in
from steppe.errors import SteppeError

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_SO_RCVBUFFORCE = 33
_NLMSGERR_ATTR_MSG = 1

_BATCH = 400
"""Requests a datagram: should each be refused, their answers still fit the receive buffer."""
_RECEIVE_BUFFER = 1 << 20
_DATAGRAM = 1 << 16
_DUMP_ATTEMPTS = 10
_ERROR_CODE = struct.Struct("=i")


class NetlinkError(SteppeError):
    """The kernel refused a request; `detail` is its explanation, if it gives one."""

    def __init__(self, errno: int, detail: str = "") -> None:
        text = os.strerror(errno)
        super().__init__(f"{text} ({detail})" if detail else text)
        self.errno = errno
        self.detail = detail


class DumpInterruptedError(NetlinkError):
    """The tables changed during every attempt to read them; try again later."""

    def __init__(self) -> None:
        super().__init__(EINTR, f"they changed during each of {_DUMP_ATTEMPTS} attempts")


class NetlinkSocket:
    """One netlink socket in one network namespace; threads may share it."""

    def __init__(self, netns_fd: int | None = None, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = open_socket(netns_fd, protocol=protocol)
        self.port: int = self._socket.getsockname()[0]
        self._sequence = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def unasked(self) -> list[Message]:
        """The next notifications; never waits: BlockingIOError if there are none."""
        return list(nl.messages(self._socket.recv(_DATAGRAM, socket.MSG_DONTWAIT)))

    def get(self, request: Request) -> Message:
        """The answer to a request for one object; NetlinkError if there is none."""
        with self._lock:
            last = self._send((request,))
            answer: Message | None = None
            while True:
                for message in self._receive():
                    if message.sequence != last:
                        continue
                    if message.kind != nl.NLMSG_ERROR:
                        answer = message
                        continue
                    error = _error(message)
                    if error is not None:
                        raise error
                    if answer is None:
                        raise nl.MalformedError("netlink acknowledged a question unanswered")
                    return answer

    def dump(self, request: Request) -> list[Message]:
        """All requested objects, in one consistent state.

        DumpInterruptedError if they changed during every attempt.
        """
        for _ in range(_DUMP_ATTEMPTS):
            with self._lock:
                found, interrupted = self._dump(request)
            # "Dump was inconsistent due to sequence change" (linux/netlink.h, NLM_F_DUMP_INTR)
            if not interrupted:
                return found
        raise DumpInterruptedError

    def batch(self, requests: Sequence[Request]) -> list[NetlinkError | None]:
        """Send all requests in order, also after refusals; returns each one's error, or None."""
        errors: list[NetlinkError | None] = []
        with self._lock:
            for start in range(0, len(requests), _BATCH):
                errors += self._batch(requests[start : start + _BATCH])
        return errors

    def request(self, *requests: Request) -> None:
        """Send requests that must all succeed; raises the first error."""
        for error in self.batch(requests):
            if error is not None:
                raise error

    def _batch(self, requests: Sequence[Request]) -> list[NetlinkError | None]:
        last = self._send(requests)
        first = last - len(requests) + 1
        errors: list[NetlinkError | None] = [None] * len(requests)
        while True:
            for message in self._receive():
                if message.kind != nl.NLMSG_ERROR or not first <= message.sequence <= last:
                    continue
                errors[message.sequence - first] = _error(message)
                if message.sequence == last:
                    return errors

    def _dump(self, request: Request) -> tuple[list[Message], bool]:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(nl.packed(request, sequence, nl.NLM_F_REQUEST | nl.NLM_F_DUMP))
        found: list[Message] = []
        interrupted = False
        while True:
            for message in self._receive():
                if message.sequence != sequence:
                    continue
                interrupted |= bool(message.flags & nl.NLM_F_DUMP_INTR)
                if message.kind in (nl.NLMSG_DONE, nl.NLMSG_ERROR):
                    error = _error(message)
                    if error is not None:
                        raise error
                    return found, interrupted
                found.append(message)

    def _send(self, requests: Sequence[Request]) -> int:
        sequence = self._sequence
        parts: list[bytes] = []
        for request in requests:
            sequence += 1
            flags = nl.NLM_F_REQUEST
            if len(parts) + 1 == len(requests):
                flags |= nl.NLM_F_ACK
            parts.append(nl.packed(request, sequence, flags))
        self._sequence = sequence
        self._socket.send(b"".join(parts))
        return sequence

    def _receive(self) -> list[Message]:
        return list(nl.messages(self._socket.recv(_DATAGRAM)))


def open_socket(
    netns_fd: int | None = None,
    buffer: int = _RECEIVE_BUFFER,
    flags: int = 0,
    protocol: int = socket.NETLINK_ROUTE,
) -> socket.socket:
    """A bound netlink socket in the given namespace, or in the caller's own."""

    def make() -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | flags
        return socket.socket(socket.AF_NETLINK, kind, protocol)

    made = make() if netns_fd is None else call_in(netns_fd, make)
    try:
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            made.setsockopt(_SOL_NETLINK, option, 1)
        # Beyond net.core.rmem_max this needs CAP_NET_ADMIN; who only reads needs no more.
        with contextlib.suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
        made.bind((0, 0))
    except OSError:
        made.close()
        raise
    return made


def _error(message: Message) -> NetlinkError | None:
    """The refusal that an NLMSG_ERROR or NLMSG_DONE carries; None if all went well."""
    (code,) = _ERROR_CODE.unpack_from(message.body)
    if code >= 0:
        return None
    detail = ""
    if message.flags & nl.NLM_F_ACK_TLVS:
        # An error repeats the request's header (16 bytes: NETLINK_CAP_ACK cut the rest off).
        offset = 20 if message.kind == nl.NLMSG_ERROR else 4
        said = nl.attributes(message.body, offset).get(_NLMSGERR_ATTR_MSG)
        detail = nl.string(said) if said else ""
    return NetlinkError(-code, detail)
