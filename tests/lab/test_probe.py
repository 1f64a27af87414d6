"""What is probed, what counts as an answer, and what is printed."""

import asyncio
import json
import socket

import pytest

from steppe_lab.images import serving
from steppe_lab.images.serving import Response
from steppe_lab.probe import report
from steppe_lab.probe.dial import Answer, dial, make_socket, peer_told
from steppe_lab.probe.plan import Endpoint, Port, Probe, probes
from steppe_lab.probe.run import Report, judge

PORTS = (Port(8080, "tcp"),)
NODE = Endpoint(
    "node", "node/a", "ns-a", ("192.0.2.11", "2001:db8::11"), ("192.0.2.11", "2001:db8::11"), PORTS
)
OUTSIDE = Endpoint("outside", "outside", "ns-o", ("198.51.100.10", "2001:db8:ffff::10"), (), PORTS)
POD = Endpoint("pod", "default/p", "ns-p", ("10.244.0.2", "fd00::2"), NODE.addresses, PORTS)
OTHER = Endpoint("pod", "default/q", "ns-q", ("10.244.1.2",), (), PORTS)


def _expected(source, target, version):
    found = probes((NODE, OUTSIDE, POD, OTHER), (4, 6))
    return [
        p.expect
        for p in found
        if (p.source, p.target, p.version, p.protocol) == (source, target, version, "tcp")
    ]


@pytest.mark.parametrize(
    ("source", "target", "version", "expect"),
    [
        (POD, OTHER, 4, ("10.244.0.2",)),
        (POD, NODE, 6, ("fd00::2",)),
        (NODE, POD, 4, ("192.0.2.11",)),
        (POD, OUTSIDE, 4, ("192.0.2.11",)),
        (POD, OUTSIDE, 6, ("2001:db8::11",)),
    ],
)
def test_who_is_seen_as_whom(source, target, version, expect) -> None:
    assert _expected(source, target, version) == [expect]


@pytest.mark.parametrize(
    ("source", "target"), [(POD, POD), (OUTSIDE, POD), (NODE, NODE), (NODE, OUTSIDE)]
)
def test_pairs_that_are_not_probed(source, target) -> None:
    assert _expected(source, target, 4) == []


async def test_a_pod_without_an_address_of_a_family_fails_in_it() -> None:
    with make_socket(6, "tcp") as sock:
        answer = await dial(sock, Probe(POD, OTHER, 6, "tcp", 80, ()))
    assert answer.error == "default/q has no IPv6 address"


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        (b'{"peer": "10.0.0.1", "protocol": "tcp"}\nGET / HTTP/1.1', "10.0.0.1"),
        (b"10.0.0.1:4711", "10.0.0.1"),
        (b"[fd00::1]:4711", "fd00::1"),
        (b"<html>Welcome to nginx!</html>", ""),
        (b"", ""),
    ],
)
def test_the_peer_an_answer_tells(text, peer) -> None:
    assert peer_told(text) == peer


def _loopback(port: int) -> Endpoint:
    return Endpoint("node", "lo", "", ("127.0.0.1", "::1"), (), (Port(port, "tcp"),))


@pytest.mark.parametrize(("version", "peer"), [(4, "127.0.0.1"), (6, "::1")])
async def test_an_http_server_tells_the_source_it_saw(version, peer) -> None:
    with serving.listener(0, socket.SOCK_STREAM) as listener:
        told = lambda request: Response(json.dumps({"peer": request.peer[0]}).encode())  # noqa: E731
        thread = asyncio.to_thread(_serve_once, listener, told)
        target = _loopback(listener.getsockname()[1])
        with make_socket(version, "tcp") as sock:
            probe = Probe(POD, target, version, "tcp", target.ports[0].number, ())
            _, answer = await asyncio.gather(thread, dial(sock, probe))
    assert answer.error == ""
    assert answer.seen == peer


def _serve_once(listener, handler) -> None:
    connection, peer = listener.accept()
    serving._converse(connection, serving.plain_address(peer), handler)
    connection.close()


@pytest.mark.kernel
@pytest.mark.parametrize("version", [4, 6])
async def test_icmp_is_answered(version) -> None:
    with make_socket(version, "icmp") as sock:
        answer = await dial(sock, Probe(POD, _loopback(0), version, "icmp", 0, ()))
    assert answer.error == ""


async def test_a_closed_port_is_a_failure_that_says_so() -> None:
    with make_socket(4, "tcp") as sock:
        answer = await dial(sock, Probe(POD, _loopback(1), 4, "tcp", 1, ()))
    assert "refused" in answer.error


def _probe(expect):
    return Probe(POD, OUTSIDE, 4, "tcp", 80, expect)


def test_a_wrong_source_is_a_failure_that_names_both() -> None:
    result = judge(_probe(("192.0.2.11",)), Answer("10.244.0.2"))
    assert result.error == "seen as 10.244.0.2, not as 192.0.2.11"
    assert not judge(_probe(("192.0.2.11",)), Answer()).ok
    assert judge(_probe(("192.0.2.11",)), Answer("192.0.2.11")).ok
    assert judge(_probe(()), Answer()).ok


def test_one_failure_shows_in_the_matrix_and_in_the_list() -> None:
    good = judge(_probe(("192.0.2.11",)), Answer("192.0.2.11"))
    bad = judge(Probe(POD, NODE, 6, "tcp", 80, ()), Answer(error="no answer"))
    shown = report.text(Report(ok=False, results=(good, bad), skipped=("default/z (Pending)",)))
    assert "no answer" in shown
    assert "default/z" in shown
    assert "pod → outside  ipv4      tcp         1 of 1" in shown
    assert "pod → node     ipv6      tcp         0 of 1" in shown
