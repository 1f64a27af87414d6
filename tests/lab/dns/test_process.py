"""The process: `python -m steppe_lab.dns` beside an API server, outside any lab."""

import asyncio
import re
import signal
import subprocess
import sys

import dns.exception
import dns.message
import dns.query
import pytest

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.resources import SERVICES
from tests.apiserver.cluster import Server
from tests.waiting import patience, until

NAME = "web.default.svc.example.test."


@pytest.fixture
def server(tmp_path):
    running = Server(tmp_path / "api")
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def start(tmp_path, server):
    """Starts DNS; the process and its log."""
    started = []

    def run(*arguments: str):
        log = tmp_path / "dns.log"
        argv = [sys.executable, "-m", "steppe_lab.dns", "--kubeconfig", str(server.kubeconfig)]
        with log.open("wb") as output:
            process = subprocess.Popen([*argv, *arguments], stdout=output, stderr=output)
        started.append(process)
        return process, log

    yield run
    for process in started:
        process.kill()
        process.wait()


def ask(port: int) -> list[str]:
    """The addresses of the Service; none while there is no good answer."""
    try:
        reply = dns.query.udp(dns.message.make_query(NAME, "A"), "127.0.0.1", 1, port)
    except (OSError, dns.exception.DNSException):
        return []
    return [each.address for rrset in reply.answer for each in rrset]


async def _create(kubeconfig: str, address: str) -> None:
    spec = {"clusterIP": address, "ports": [{"port": 80}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    async with Client(load_config(kubeconfig)) as client:
        await client.create(SERVICES, body, "default")


@pytest.mark.slow
def test_it_follows_the_cluster_and_stands_still_when_the_api_is_away(server, start) -> None:
    process, log = start("--listen", "127.0.0.1:0", "--cluster-domain", "example.test")
    listening = re.compile(r"listening on 127\.0\.0\.1, port (\d+)")
    until(lambda: listening.search(log.read_text()), 20, "the socket is bound")
    port = int(listening.search(log.read_text())[1])
    assert ask(port) == []

    asyncio.run(_create(str(server.kubeconfig), "10.96.7.7"))
    until(lambda: ask(port) == ["10.96.7.7"], 20, "the new Service has a name")

    server.stop(signal.SIGKILL)
    until(lambda: "watch of services broken" in log.read_text(), 20, "the API is missed")
    assert ask(port) == ["10.96.7.7"]

    server.start()
    process.send_signal(signal.SIGTERM)
    assert process.wait(patience(10)) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--listen", "nowhere"), "nowhere"),
        (("--upstream", "192.0.2.1:x"), "x"),
        (("--cluster-domain", "a..b"), "a..b"),
        (("--listen", "192.0.2.99"), "Cannot assign requested address"),
    ],
)
def test_what_it_cannot_use_is_said_in_a_line(start, arguments, message) -> None:
    process, log = start(*arguments)
    assert process.wait(patience(20)) != 0
    assert message in log.read_text()
    assert "Traceback" not in log.read_text()
