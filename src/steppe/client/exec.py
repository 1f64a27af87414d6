"""Runs a program in a pod, as `kubectl exec` does: `pods/exec` over a WebSocket.

Each message begins with the number of its channel; the last one, on `_STATUS`, is a metav1.Status
with how it ended (k8s.io/apimachinery/pkg/util/remotecommand). Kubernetes serves this with
WebSockets from 1.29 on.
"""

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from steppe.client.client import Client
from steppe.client.errors import ApiError, UnreachableError
from steppe.client.resources import PODS
from steppe.client.transport import transport_errors

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _STATUS = range(4)
MOST_BYTES = 256 << 20
"""Of what a program prints; a node of 100,000 entries tells of them in some 40 MB."""


class _Status(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""


class Ran(msgspec.Struct, frozen=True):
    """What a program printed; `failure` says how it ended, "" for exit code 0."""

    stdout: bytes
    stderr: bytes
    failure: str


class Container(msgspec.Struct, frozen=True):
    """Where a program runs."""

    namespace: str
    pod: str
    name: str

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}"


async def run_in_pod(
    client: Client, where: Container, command: Sequence[str], stdin: bytes = b"", *, seconds: float
) -> Ran:
    """Return when it has ended. Its standard input is not closed: it must know where that ends.

    ApiError if the API server refuses, UnreachableError if the answer does not come within
    `seconds`, breaks off, or is larger than MOST_BYTES.
    """
    path = PODS.path(where.namespace, where.pod, "exec")
    query = [("container", where.name), *(("command", word) for word in command)]
    query += [(stream, "true") for stream in ("stdout", "stderr")]
    query += [("stdin", "true")] if stdin else []
    what = f"exec in {where}"
    try:
        async with asyncio.timeout(seconds), client.stream(path, query, _PROTOCOLS) as opened:
            with transport_errors(what):
                if stdin:
                    await opened.send_bytes(bytes([_STDIN]) + stdin)
                return await _read(opened, what)
    except TimeoutError as error:
        raise UnreachableError(f"{what}: no answer in {seconds:.0f} s") from error
    except ApiError as error:
        raise _explained(error, what) from error


async def _read(opened: aiohttp.ClientWebSocketResponse, what: str) -> Ran:
    said = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    async for message in opened:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel = message.data[0]
        if channel in said:
            said[channel] += message.data[1:]
        if sum(map(len, said.values())) > MOST_BYTES:
            raise UnreachableError(f"{what}: it prints more than {MOST_BYTES >> 20} MiB")
    try:
        ended = msgspec.json.decode(bytes(said[_STATUS]), type=_Status)
    except msgspec.MsgspecError as error:
        raise UnreachableError(f"{what}: the connection broke off in mid-answer") from error
    failure = "" if ended.status == "Success" else ended.message or "it failed"
    return Ran(bytes(said[_STDOUT]), bytes(said[_STDERR]), failure)


def _explained(error: ApiError, what: str) -> ApiError:
    """The refusal with what to do: the body of one is not read for a WebSocket."""
    said = {
        403: "you may not; it takes the verbs get and create of pods/exec there",
        404: "the pod is gone, or the server has no such thing",
    }
    message = f"{what}: {said.get(error.status, 'the API server refuses it')}"
    return ApiError(error.status, error.reason, message)
