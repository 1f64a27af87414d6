"""Sockets that a server listens on, and the number of files that a process may open."""

import asyncio
import contextlib
import resource
import socket

MOST_FILES = 65_536
"""What we ask for; a hard limit of millions would only let a leak grow."""
BACKLOG = 512
"""Connections that wait in the kernel until they are accepted."""


def raise_file_limit(wanted: int = MOST_FILES) -> int:
    """Let this process open as many files as it may, up to `wanted`; how many it may open now.

    "The soft limit is the value that the kernel enforces […] The hard limit acts as a ceiling"
    (getrlimit(2)). The soft limit is 1,024 for the sake of select(2), which we do not use.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return file_limit()


def file_limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


async def tcp_sockets(host: str, port: int) -> list[socket.socket]:
    """A bound socket for each address of the host, of both families; "" is every address.

    OSError where one of them cannot be had; then none is left open.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    with contextlib.ExitStack() as stack:
        made = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a kernel without this family
            made.append(stack.enter_context(sock))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        stack.pop_all()
        return made
