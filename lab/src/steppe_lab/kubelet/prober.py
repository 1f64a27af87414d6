"""Runs probes (exec, tcpSocket, httpGet) and the handlers of lifecycle hooks.

Connections are made from the node's namespace, as by a kubelet on that node: the socket is made
there by a worker thread; then the event loop uses it like any other.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address

import msgspec

from steppe.errors import SteppeError
from steppe_lab.kubelet.process import run_inside
from steppe_lab.kubelet.records import Container, HttpGetAction, Probe, port_number
from steppe_lab.kubelet.threads import NamespaceThreads


class Answer(msgspec.Struct, frozen=True):
    """Whether a probe succeeded, and what to tell the user if not."""

    success: bool
    message: str = ""


class Target(msgspec.Struct, frozen=True):
    """What a probe of one container needs to know."""

    container: Container
    node_netns: str
    address: str
    enter: Callable[[tuple[str, ...]], tuple[str, ...]]


class Prober:
    """Runs probes."""

    def __init__(self, threads: NamespaceThreads) -> None:
        self._threads = threads

    async def probe(self, probe: Probe, target: Target) -> Answer:
        """One attempt, within the probe's timeout."""
        try:
            if probe.exec is not None:
                return await self.run(probe.exec.command, target, probe.timeout_seconds)
            async with asyncio.timeout(probe.timeout_seconds):
                if probe.http_get is not None:
                    return await self.http_get(probe.http_get, target)
                if probe.tcp_socket is not None:
                    port = port_number(probe.tcp_socket.port, target.container)
                    await self._dial(target, probe.tcp_socket.host, port)
                    return Answer(True)
        except TimeoutError:
            return Answer(False, f"timed out after {probe.timeout_seconds} s")
        except (SteppeError, OSError, ValueError) as error:
            return Answer(False, str(error))
        return Answer(False, "this kind of probe is not supported in the lab")

    async def run(self, command: tuple[str, ...], target: Target, deadline: float) -> Answer:
        """A program inside the container; its exit status is the answer."""
        done = await run_inside(target.enter(command), deadline)
        return Answer(done.code == 0, done.output or f"exit status {done.code}")

    async def http_get(self, action: HttpGetAction, target: Target) -> Answer:
        """A GET; the status line decides, and no redirect is followed."""
        port = port_number(action.port, target.container)
        context = _unverified() if action.scheme == "HTTPS" else None
        sock = await self._connected(target, action.host, port)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=context, server_hostname="" if context else None
        )
        try:
            writer.write(_request(action, action.host or target.address, port))
            status = _status_code(await reader.readline())
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        # "Any code greater than or equal to 200 and less than 400 indicates success."
        return Answer(200 <= status < 400, f"HTTP probe failed with statuscode: {status}")

    async def _dial(self, target: Target, host: str, port: int) -> None:
        (await self._connected(target, host, port)).close()

    async def _connected(self, target: Target, host: str, port: int) -> socket.socket:
        address = host or target.address
        if not 0 < port < 65536:
            raise ValueError(f"port {port} of container {target.container.name} is not known")
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        sock = await self._threads.run(target.node_netns, lambda: socket.socket(family))
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException:
            sock.close()
            raise
        return sock


def _unverified() -> ssl.SSLContext:
    # "If scheme field is set to HTTPS, the kubelet sends an HTTPS request skipping the
    # certificate verification."
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(action: HttpGetAction, host: str, port: int) -> bytes:
    bracketed = f"[{host}]" if ":" in host else host
    headers = {"Host": f"{bracketed}:{port}", "User-Agent": "kube-probe/1.33", "Accept": "*/*"}
    headers |= {header.name: header.value for header in action.http_headers}
    headers["Connection"] = "close"
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in the probe's path or headers")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _status_code(line: bytes) -> int:
    match line.split():
        case [version, code, *_] if version.startswith(b"HTTP/") and code.isdigit():
            return int(code)
    raise ValueError("no HTTP answer")
