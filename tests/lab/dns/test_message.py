"""Messages: what is refused unread, what fits a datagram, and nothing that ends the server."""

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import pytest
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from steppe_lab.dns.message import PAYLOAD
from steppe_lab.dns.records import Records
from steppe_lab.dns.server import Responder
from tests.lab.dns.cluster import ZONE, cluster_ip, endpoint, endpoints, headless, records

NAME = "web.default.svc.cluster.local."
MANY = "many.default.svc.cluster.local."
WORLD = records(
    cluster_ip("web", "10.3.0.1"),
    headless("many"),
    endpoints("many", *(endpoint(f"10.3.1.{number}") for number in range(200))),
)


def exchange(query: dns.message.Message, *, stream: bool = False) -> dns.message.Message:
    wire = Responder(ZONE, WORLD).prepare(query.to_wire(), stream=stream)
    assert isinstance(wire, bytes)
    reply = dns.message.from_wire(wire)
    assert reply.id == query.id
    return reply


def query(name: str = NAME, type_: str = "A", **options) -> dns.message.Message:
    return dns.message.make_query(name, type_, **options)


def test_the_reply_repeats_the_question_in_its_own_spelling() -> None:
    reply = exchange(query("wEB.deFAULT.svc.cluster.LOCAL."))
    assert str(reply.question[0].name) == "wEB.deFAULT.svc.cluster.LOCAL."
    assert str(reply.answer[0].name) == "wEB.deFAULT.svc.cluster.LOCAL."


def test_answers_are_authoritative_and_offer_no_recursion() -> None:
    flags = exchange(query()).flags
    assert flags & dns.flags.AA
    assert flags & dns.flags.RD  # "copied into the response" (RFC 1035 4.1.1)
    assert not flags & dns.flags.RA


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 512),
        ({"use_edns": 0, "payload": 100}, 512),
        ({"use_edns": 0, "payload": 700}, 700),
        ({"use_edns": 0, "payload": 8192}, PAYLOAD),
    ],
)
def test_what_does_not_fit_a_datagram_is_cut_and_says_so(options, limit) -> None:
    asked = query(MANY, **options)
    wire = Responder(ZONE, WORLD).prepare(asked.to_wire(), stream=False)
    assert isinstance(wire, bytes)
    assert len(wire) <= limit
    assert dns.message.from_wire(wire).flags & dns.flags.TC


def test_a_stream_carries_all_of_it() -> None:
    reply = exchange(query(MANY), stream=True)
    assert not reply.flags & dns.flags.TC
    assert len(reply.answer[0]) == 200


def test_the_order_of_addresses_changes_from_reply_to_reply() -> None:
    asked = query(MANY).to_wire()
    replies = {bytes(Responder(ZONE, WORLD).prepare(asked, stream=True)) for _ in range(5)}
    assert len(replies) > 1


def test_edns_is_answered_with_edns_and_only_then() -> None:
    assert exchange(query()).edns == -1
    reply = exchange(query(use_edns=0))
    assert (reply.edns, reply.payload) == (0, PAYLOAD)


def test_a_later_version_of_edns_is_answered_with_ours() -> None:
    reply = exchange(query(use_edns=1))
    assert reply.rcode() == dns.rcode.BADVERS
    assert reply.edns == 0


@pytest.mark.parametrize("type_", ["AXFR", "IXFR"])
def test_transfers_are_refused(type_) -> None:
    asked = query("cluster.local.", "A")
    asked.question[0].rdtype = RdataType[type_]
    assert exchange(asked).rcode() == dns.rcode.REFUSED


def test_other_classes_are_refused() -> None:
    asked = dns.message.make_query("version.bind.", "TXT", dns.rdataclass.CH)
    assert exchange(asked).rcode() == dns.rcode.REFUSED


def test_other_operations_are_not_implemented() -> None:
    asked = query()
    asked.set_opcode(dns.opcode.NOTIFY)
    assert exchange(asked).rcode() == dns.rcode.NOTIMP


@pytest.mark.parametrize("questions", [0, 2])
def test_one_question_a_message(questions) -> None:
    asked = query()
    asked.question = asked.question * questions
    assert exchange(asked).rcode() == dns.rcode.FORMERR


def test_a_query_that_is_cut_short_is_a_format_error() -> None:
    wire = Responder(ZONE, WORLD).prepare(query().to_wire()[:-3], stream=False)
    assert isinstance(wire, bytes)
    assert dns.message.from_wire(wire).rcode() == dns.rcode.FORMERR


def test_replies_and_scraps_get_no_reply() -> None:
    reply = exchange(query()).to_wire()
    assert Responder(ZONE, WORLD).prepare(reply, stream=False) is None
    assert Responder(ZONE, WORLD).prepare(reply[:11], stream=False) is None


def test_before_the_lists_are_in_no_name_is_denied() -> None:
    wire = Responder(ZONE, Records()).prepare(query().to_wire(), stream=False)
    assert isinstance(wire, bytes)
    assert dns.message.from_wire(wire).rcode() == dns.rcode.SERVFAIL


@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=60).map(lambda tail: query(use_edns=0).to_wire()[:12] + tail),
        st.tuples(st.integers(0, 50), st.integers(0, 255)).map(
            lambda change: _with_byte(query(use_edns=0).to_wire(), *change)
        ),
    ),
    st.booleans(),
)
def test_no_bytes_whatever_raise(wire, stream) -> None:
    reply = Responder(ZONE, WORLD).prepare(wire, stream=stream)
    assert reply is None or (isinstance(reply, bytes) and reply[:2] == wire[:2])


def _with_byte(wire: bytes, at: int, value: int) -> bytes:
    return wire[:at] + bytes([value]) + wire[at + 1 :]
