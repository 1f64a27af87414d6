"""Receives the kernel's notifications in an event loop, without those of our own changes."""

import asyncio
import ctypes
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeVar

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_SO_ATTACH_FILTER = 26

T = TypeVar("T")


def join(hearing: socket.socket, groups: Sequence[int]) -> None:
    for group in groups:
        hearing.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)


def ignore(hearing: socket.socket, port: int, unless: Sequence[int] = ()) -> None:
    """Drop notifications caused by the netlink socket with this port, except these message types.

    The kernel filters, so that loading 10,000 entries does not cause 10,000 events here. Classic
    BPF (bpf(4)) loads in network order, netlink headers are in the machine's own.
    """
    accept, drop = 0xFFFFFFFF, 0

    def half(number: int) -> int:
        return int.from_bytes(struct.pack("=H", number), "big")

    kept = (  # jeq accept, over the rest of these, the load and the test of the port
        (0x15, len(unless) - place + 1, 0, half(kind)) for place, kind in enumerate(unless)
    )
    program = (
        (0x28, 0, 0, 4),  # ldh [nlmsg_type]
        *kept,
        (0x20, 0, 0, 12),  # ld [nlmsg_pid]
        (0x15, 1, 0, int.from_bytes(struct.pack("=I", port), "big")),  # jeq drop
        (0x06, 0, 0, accept),
        (0x06, 0, 0, drop),
    )
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    held = ctypes.create_string_buffer(code)
    hearing.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(program), ctypes.addressof(held)),
    )


def heard(
    descriptor: int, drain: Callable[[], tuple[T, ...]]
) -> AsyncGenerator[tuple[T, ...], None]:
    """The results of `drain` whenever the descriptor is readable, until cancelled.

    Close it (`aclose`) before another task waits for the same descriptor.
    """
    return heard_any((descriptor,), drain)


async def heard_any(
    descriptors: Sequence[int], drain: Callable[[], tuple[T, ...]]
) -> AsyncGenerator[tuple[T, ...], None]:
    """The same for several descriptors: each is drained when any of them can be read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    for descriptor in descriptors:
        loop.add_reader(descriptor, ready.set)
    try:
        while True:
            await ready.wait()
            ready.clear()
            found = drain()
            if found:
                yield found
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
