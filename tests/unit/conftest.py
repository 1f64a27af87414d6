"""Agents that are sockets with ready answers."""

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from steppe.cli import agents

Document = dict[str, Any]
Start = Callable[..., None]


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Has an agent of this name answer with a document, or never where there is none."""
    monkeypatch.setattr(agents, "OWN", tmp_path)
    monkeypatch.setattr(agents, "LABS", tmp_path)
    over = threading.Event()
    with ExitStack() as stack:
        stack.callback(over.set)

        def run(node: str, answer: Document | None) -> None:
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    if answer is None:
                        over.wait(30)
                        return
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(json.dumps(answer | {"node": node}).encode())

                def log_message(self, *_: object) -> None:
                    """Nothing is written."""

            path = tmp_path / "lab" / "nodes" / node / "agent.sock"
            path.parent.mkdir(parents=True)
            server = stack.enter_context(Server(str(path), Handler))
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        yield run
