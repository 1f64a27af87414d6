"""Steps of a path are values, and words for them are made last."""

from typing import get_args

import pytest

from steppe.dataplane.nft.sets import EGRESS, ENDPOINT, INGRESS
from steppe.explain.steps import (
    Answered,
    Balanced,
    CameIn,
    Carried,
    Hidden,
    Sent,
    Stopped,
    Unasked,
    What,
    step_text,
)
from steppe.explain.tables import unnumbered
from steppe.net.address import parse_address, parse_prefix
from steppe.net.packet import Packet
from steppe.service.table import Frontend
from steppe.state.link import Neighbour
from steppe.state.nft import Element, Match, Rule
from steppe.state.route import Route
from steppe.walk.trace import (
    Applied,
    Crossed,
    Delivered,
    Masqueraded,
    Met,
    Own,
    Redirected,
    Restored,
    Routed,
    Tunnelled,
)

POD, OTHER, NODE = map(parse_address, ("10.244.1.5", "fd00::6", "192.0.2.11"))
SENT = Packet(POD, NODE, "TCP", 40000, 80)
PING = Packet(POD, NODE, "ICMP")
NEIGHBOUR = Neighbour("02:00:00:00:00:01")
CHOSEN = ENDPOINT.key(Frontend(NODE, "TCP", 80), 0)

WORDS = (
    (Met(INGRESS.peer.key(POD), Element((7,))), "@ingress_peer4 10.244.1.5 : 7"),
    (
        Redirected(CHOSEN, Element((POD, 8080))),
        "dnat @endpoint4 192.0.2.11 . tcp . 80 . 0 : 10.244.1.5 . 8080",
    ),
    (Applied(Rule((Match("ct state", literal="new"),), "drop")), "ct state new drop"),
    (
        Restored(SENT, SENT.answer),
        "10.244.1.5 40000 > 192.0.2.11 80 becomes 192.0.2.11 80 > 10.244.1.5 40000 again",
    ),
    (Restored(PING, PING.answer), "10.244.1.5 > 192.0.2.11 becomes 192.0.2.11 > 10.244.1.5 again"),
    (Masqueraded(POD, NODE), "masquerade: 10.244.1.5 becomes 192.0.2.11"),
    (Own(NODE), "192.0.2.11 is the node's own"),
    (Routed(parse_prefix("10.244.2.0/24"), Route("unreachable")), "10.244.2.0/24 unreachable"),
    (Crossed(NODE, "node-a"), "192.0.2.11 is node-a's address"),
    (Crossed(OTHER), "fd00::6 is outside the cluster"),
    (
        Tunnelled(NODE, NODE, NEIGHBOUR),
        f"192.0.2.11 {NEIGHBOUR}, tunnelled to 192.0.2.11",
    ),
    (Delivered(POD, NEIGHBOUR, "st1", "a/web"), f"10.244.1.5 {NEIGHBOUR} dev st1 is a/web"),
    (Sent("a/web", SENT), "a/web sends 10.244.1.5 > 192.0.2.11 TCP 80"),
    (Sent("a/web", SENT, "st1"), "a/web sends 10.244.1.5 > 192.0.2.11 TCP 80 by st1"),
    (CameIn(SENT), "10.244.1.5 > 192.0.2.11 TCP 80 comes in from outside"),
    (Balanced(SENT, SENT.answer, 1), "192.0.2.11 80 becomes 10.244.1.5 40000"),
    (
        Balanced(SENT, SENT.answer, 3),
        "192.0.2.11 80 becomes 10.244.1.5 40000 (one of 3 endpoints, alike likely)",
    ),
    (Stopped("nothing serves it"), "nothing serves it"),
    (Hidden(POD, NODE), "the sender's address 10.244.1.5 becomes 192.0.2.11"),
    (Carried("pod", "a/web", POD), "the network takes it to a/web at 10.244.1.5"),
    (Carried("node", "node/a", NODE), "the network takes it to node/a"),
    (
        Carried("outside", "fd00::6", OTHER),
        "fd00::6 is outside: it leaves with its node's address",
    ),
    (Answered(NODE, POD), "replies come from 192.0.2.11 again, as 10.244.1.5 expects"),
    (Unasked(), "replies belong to their connection: no policy is asked about them"),
)


@pytest.mark.parametrize(("what", "words"), WORDS)
def test_what_happens_is_told_in_words(what: What, words: str) -> None:
    assert step_text(what) == words


def test_there_are_words_for_all_that_can_happen() -> None:
    assert {type(what) for what, _ in WORDS} == set(get_args(What))


@pytest.mark.parametrize("sets", [INGRESS, EGRESS])
@pytest.mark.parametrize("address", [POD, OTHER])
def test_an_identitys_number_is_taken_out_of_a_step_and_nothing_else(sets, address) -> None:
    peer, blocked = Met(sets.peer.key(address), Element((7,))), Met(CHOSEN, Element((POD, 80)))
    allowed = Met(sets.allowed.key(7, address), Element(("ingress-allow",)))
    assert step_text(unnumbered(peer)) == f"@{sets.peer.key(address).set} {address} : its identity"
    assert step_text(unnumbered(allowed)).endswith(f" its identity . {address} : ingress-allow")
    for other in (blocked, Own(NODE)):
        assert unnumbered(other) == other
