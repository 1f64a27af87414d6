"""netexec's `/dial`: ask other pods, and tell who answered.

The query names host, port, request, protocol (http or udp) and tries; the answer is
`{"responses": [...], "errors": [...]}`, one entry a try, as the e2e tests of Kubernetes read it.
"""

import socket
from collections.abc import Mapping

_TIMEOUT = 5.0


def dial(query: Mapping[str, str]) -> dict[str, list[str]]:
    """Each try's response or error."""
    try:
        host, port = query["host"], int(query["port"])
        tries = int(query.get("tries", "1"))
        protocol = query.get("protocol", "http")
        ask = {"http": _http, "udp": _udp}[protocol]
    except (KeyError, ValueError) as error:
        return {"errors": [f"bad query: {error}"]}
    responses: list[str] = []
    errors: list[str] = []
    for _ in range(tries):
        try:
            responses.append(ask(host, port, query.get("request", "hostname")))
        except (OSError, ValueError) as error:
            errors.append(str(error))
    result = {"responses": responses} if responses else {}
    return result | ({"errors": errors} if errors else {})


def _http(host: str, port: int, request: str) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    head = f"GET /{request} HTTP/1.1\r\nHost: {bracketed}:{port}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, port), timeout=_TIMEOUT) as sock:
        sock.sendall(head.encode())
        with sock.makefile("rb") as reader:
            answer = reader.read()
    header, separator, body = answer.partition(b"\r\n\r\n")
    status = header.split()[1:2]
    if not separator or status != [b"200"]:
        raise ValueError(f"HTTP status {b''.join(status).decode(errors='replace')}")
    return body.decode(errors="replace")


def _udp(host: str, port: int, request: str) -> str:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.settimeout(_TIMEOUT)
        sock.connect(address)
        sock.send(request.encode())
        return sock.recv(65536).decode(errors="replace")
