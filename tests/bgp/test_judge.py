"""Why a session is missing: from BIRD's words, the kernel's counts and the node's addresses."""

from ipaddress import ip_address

import msgspec
import pytest

from steppe.bgp.judge import best, why_missing
from steppe.bgp.seen import Md5Faults, SeenSession
from steppe.bgp.tables import Session, SessionKey
from steppe.kube.cause import ObjectRef
from tests.worlds import node_at

HERE = node_at(0)
KEY = SessionKey(ip_address("192.0.2.254"))
TOR = Session("peer:tor", ObjectRef("BGPPeer", "", "tor"), 65001, 64512, ip_address("192.0.2.11"))
GUARDED = msgspec.structs.replace(TOR, password_key="tor")
QUIET = Md5Faults()


def seen(state: str, error: str = "") -> SeenSession:
    return SeenSession("peer:tor", state, error)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (seen("Active", "Error: Bad peer AS: 65009"), "has another AS number than AS65001"),
        (seen("Idle", "Received: Bad peer AS"), "another AS number of this node than AS64512"),
        (seen("Idle", "BFD session down"), "BFD says"),
        (seen("Active", "Socket: Connection refused"), "refuses TCP port 179"),
        (seen("Active", "Socket: No route to host"), "nobody answers at 192.0.2.254"),
        (seen("Connect", "Socket: Network is unreachable"), "`ip route get 192.0.2.254`"),
        (seen("Active", "Hold timer expired"), "nothing was heard"),
        (seen("Active"), "does not answer at 192.0.2.254"),
        (None, "does not have this session yet"),
    ],
)
def test_what_bird_says_becomes_a_cause_and_a_cure(found: SeenSession | None, told: str) -> None:
    assert told in why_missing(KEY, TOR, found, HERE, QUIET)


@pytest.mark.parametrize(
    ("session", "md5", "told"),
    [
        (GUARDED, Md5Faults(wrong=1), "the passwords differ"),
        (GUARDED, Md5Faults(missing=1), "sends without a password"),
        (TOR, Md5Faults(unexpected=1), "the other side has a password"),
        (TOR, Md5Faults(wrong=1), "does not answer"),
        (GUARDED, Md5Faults(unexpected=1), "does not answer"),
    ],
)
def test_what_the_kernel_dropped_tells_of_passwords(
    session: Session, md5: Md5Faults, told: str
) -> None:
    assert told in why_missing(KEY, session, seen("Connect"), HERE, md5)


def test_a_session_whose_packets_come_through_has_no_wrong_password() -> None:
    why = why_missing(KEY, GUARDED, seen("OpenSent"), HERE, Md5Faults(wrong=3))
    assert "password" not in why


def test_the_reason_stays_the_same_while_bird_tries_again() -> None:
    error = "Socket: No route to host"
    told = {
        why_missing(KEY, TOR, seen(s, error), HERE, QUIET) for s in ("Idle", "Active", "Connect")
    }
    assert len(told) == 1


def test_an_address_on_another_subnet_is_told_of_if_it_must_be_near() -> None:
    far = SessionKey(ip_address("198.51.100.1"))
    assert "not on node-a's subnet" in why_missing(far, TOR, seen("Idle"), HERE, QUIET)
    behind = msgspec.structs.replace(TOR, hops=3)
    assert "subnet" not in why_missing(far, behind, seen("Idle"), HERE, QUIET)


def test_of_sessions_that_came_up_on_a_link_an_established_one_counts() -> None:
    waits = SeenSession("peer:tor", "Passive")
    up, down = SeenSession("peer:tor#1", "Established"), SeenSession("peer:tor#2", "Active")
    known = {each.name: each for each in (waits, down, up)}
    assert best(TOR, known) == up
    assert why_missing(SessionKey(interface="eth0"), TOR, up, HERE, QUIET) == ""
    assert "has begun a session on dev eth0" in why_missing(
        SessionKey(interface="eth0"), TOR, waits, HERE, QUIET
    )
