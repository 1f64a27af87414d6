"""What BIRD says, read."""

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest

from steppe.bgp.seen import LearnedRoute, SeenSession
from steppe.drivers.bird.control import BirdError, BirdGoneError, Line, Reply, ask
from steppe.drivers.bird.replies import routes, sessions

PROTOCOLS = """\
2002-Name       Proto      Table      State  Since         Info
1002-pods4      Static     master4    up     2026-11-30 17:17:48
1006-  Channel ipv4
     Routes:         1 imported, 0 exported, 1 preferred
1002-node:node-b BGP        ---        up     2026-11-30 17:17:49  Established
1006-  Description:    Node/node-b status.addresses
   BGP state:          Established
     Neighbor address: 2001:db8::c
   Channel ipv4
     Routes:         1 imported, 2 exported, 1 preferred
   Channel ipv6
     Routes:         3 imported, 1 filtered, 4 exported, 3 preferred
1002-peer:tor   BGP        ---        start  2026-11-30 17:17:48  Connect       Socket: No route
1006-  Description:    BGPPeer/tor spec.address
   BGP state:          Connect
     Last error:       Socket: No route to host
1002-peer:off   BGP        ---        down   2026-11-30 17:17:48
1006-
0000\x20
"""
ROUTES = """\
1007-Table master4:
 10.244.1.0/24        unreachable [pods4 17:17:48.311] * (200)
 10.244.2.0/24        unicast [node:node-b 17:17:49.340 from 2001:db8::c] * (100) [i]
 \tvia 192.0.2.12 on eth0
                      unicast [peer:tor 17:17:49.340] (100) [AS65001i]
 \tvia 192.0.2.254 on eth0
 \x20
 Table master6:
 fd00:10:244:2::/64   unicast [node:node-b 17:17:49.381] * (100) [i]
 \tvia 2001:db8::c on eth0
0000\x20
"""


class Speaker:
    """Answers like BIRD: a greeting, then the same reply to each command."""

    def __init__(self, reply: str, greeting: str = "0001 BIRD 2.0.12 ready.\n") -> None:
        self._greeting, self._reply = greeting, reply

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._greeting.encode())
        if await reader.readline():
            writer.write(self._reply.encode())
        writer.close()


async def asked(folder: Path, reply: str, command: str = "show") -> Reply:
    path = folder / "ctl"
    server = await asyncio.start_unix_server(Speaker(reply).answer, path)
    async with server:
        return await ask(path, command, seconds=3)


def reply_of(text: str) -> Reply:
    """By the socket, so that both are tested as they are used together."""

    async def read() -> Reply:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            return await asked(Path(folder), text)

    return asyncio.run(read())


def test_sessions_have_their_state_their_error_and_the_routes_of_both_families() -> None:
    assert sessions(reply_of(PROTOCOLS)) == (
        SeenSession("node:node-b", "Established", "", "2026-11-30 17:17:49", 4, 6),
        SeenSession("peer:tor", "Connect", "Socket: No route to host", "2026-11-30 17:17:48"),
        SeenSession("peer:off", "Down", "", "2026-11-30 17:17:48"),
    )


def test_routes_have_the_session_that_they_were_learned_by() -> None:
    assert routes(reply_of(ROUTES)) == (
        LearnedRoute(ip_network("10.244.1.0/24"), "pods4", "unreachable"),
        LearnedRoute(ip_network("10.244.2.0/24"), "node:node-b", "via 192.0.2.12 on eth0"),
        LearnedRoute(ip_network("10.244.2.0/24"), "peer:tor", "via 192.0.2.254 on eth0"),
        LearnedRoute(ip_network("fd00:10:244:2::/64"), "node:node-b", "via 2001:db8::c on eth0"),
    )


@pytest.mark.parametrize(
    ("text", "is_error"),
    [("0003 Reconfigured\n", False), ("0002-Reading\n8002 b.conf:1:1 wrong\n", True),
     ("9001 syntax error\n", True), ("0000 \n", False)],
)  # fmt: skip
def test_a_refusal_is_told_from_success(text: str, is_error: bool) -> None:
    assert reply_of(text).is_error is is_error


async def test_a_reply_that_breaks_off_is_no_reply(tmp_path: Path) -> None:
    with pytest.raises(BirdGoneError, match="has ended"):
        await asked(tmp_path, "1002-half")


async def test_nobody_on_the_socket_is_told_from_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(BirdGoneError):
        await ask(tmp_path / "none", "show status")


async def test_a_command_cannot_become_two(tmp_path: Path) -> None:
    with pytest.raises(BirdError, match="one line"):
        await asked(tmp_path, "0000 \n", "show\nconfigure")


def test_lines_that_go_on_have_the_code_of_the_line_before() -> None:
    assert reply_of("1007-a\n b\n0000 \n").lines == (Line(1007, "a"), Line(1007, "b"), Line(0, ""))
