"""Watches a namespace's routing tables: when did the kernel take which route?

Not Steppe's own netlink code, so that a fault there cannot hide itself.
"""

import asyncio
import socket
import struct
import time
from ipaddress import IPv4Network, IPv6Network

RTM_NEWROUTE = 24
_GROUPS = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
_SO_RCVBUFFORCE = 33
_HEADER = struct.Struct("=IHHII")
_BUFFER = 64 << 20
_RTA_DST = 1


class RouteMonitor:
    """Open it on a thread inside the namespace: a netlink socket stays where it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind((0, _GROUPS))
        self._socket.setblocking(False)
        self._changed = asyncio.Event()
        self.added: dict[bytes, float] = {}

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def when(self, prefix: IPv4Network | IPv6Network) -> float | None:
        return self.added.get(prefix.network_address.packed)

    async def wait_for_change(self, seconds: float) -> bool:
        """Whether another route came within so many seconds."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _read(self) -> None:
        now = time.monotonic()
        try:
            while True:
                self._take(self._socket.recv(1 << 16), now)
        except BlockingIOError:
            self._changed.set()

    def _take(self, data: bytes, now: float) -> None:
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind == RTM_NEWROUTE:
                # struct rtmsg is 12 bytes; the destination is the attribute RTA_DST.
                destination = _attribute(data[_HEADER.size + 12 : length], _RTA_DST)
                if destination is not None:
                    self.added[destination] = now
            data = data[(length + 3) & ~3 :]


def _attribute(data: bytes, wanted: int) -> bytes | None:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if kind == wanted:
            return data[4:length]
        data = data[(length + 3) & ~3 :]
    return None
