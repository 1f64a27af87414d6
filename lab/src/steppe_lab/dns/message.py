"""DNS messages in bytes: parses questions, and encodes answers within the size limit.

Knows no socket and no cluster. Wire format, name compression and truncation are dnspython's.
"""

import struct

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rrset
from dns.rcode import Rcode
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from steppe_lab.dns.zone import Answer, Question

# "1232 … avoid[s] fragmentation on nearly all current networks" (DNS flag day 2020)
PAYLOAD = 1232
_PAYLOAD_WITHOUT_EDNS = 512
_STREAM_LIMIT = 65535
_HEADER = struct.Struct("!HHHHHH")


def read(wire: bytes) -> dns.message.Message | bytes | None:
    """The query; or the reply that refuses to read it; or None for what deserves no reply."""
    if len(wire) < _HEADER.size or wire[2] & 0x80:
        return None  # a reply to a reply could start an endless loop
    if (wire[2] >> 3) & 0xF != dns.opcode.QUERY:
        return _header_only(wire, Rcode.NOTIMP)
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError, struct.error):
        return _header_only(wire, Rcode.FORMERR)
    # RFC 9619: "a DNS message with OPCODE = 0 MUST NOT include a QDCOUNT … greater than 1"
    return query if len(query.question) == 1 else _header_only(wire, Rcode.FORMERR)


def _header_only(wire: bytes, rcode: Rcode) -> bytes:
    number, flags = struct.unpack("!HH", wire[:4])
    kept = flags & (0x7800 | dns.flags.RD)
    return _HEADER.pack(number, dns.flags.QR | kept | rcode, 0, 0, 0, 0)


def question(query: dns.message.Message) -> Question | Answer:
    """What the query asks; or the answer, where that does not depend on what there is."""
    asked: dns.rrset.RRset = query.question[0]
    if query.edns > 0:
        # RFC 6891 6.1.3: "If a responder does not implement the VERSION level of the request,
        # then it MUST respond with RCODE=BADVERS."
        return Answer(Rcode.BADVERS, authoritative=False)
    if asked.rdclass != IN or asked.rdtype in (RdataType.AXFR, RdataType.IXFR):
        return Answer(Rcode.REFUSED, authoritative=False)
    return Question(asked.name, asked.rdtype)


def reply(query: dns.message.Message, answer: Answer, *, stream: bool, recursion: bool) -> bytes:
    """The response in bytes; what is too long for a datagram is cut, and says so (TC)."""
    response = dns.message.make_response(query, recursion_available=recursion, our_payload=PAYLOAD)
    response.set_rcode(answer.rcode)
    if answer.authoritative:
        response.flags |= dns.flags.AA
    response.answer = list(answer.answer)
    response.authority = list(answer.authority)
    response.additional = list(answer.additional)
    # The order of records within a set is shuffled on the way out (dnspython's default), so that
    # clients which take the first address are spread over all of them.
    return response.to_wire(max_size=_limit(query, stream=stream), prefer_truncation=True)


def _limit(query: dns.message.Message, *, stream: bool) -> int:
    if stream:
        return _STREAM_LIMIT
    if query.edns < 0:
        return _PAYLOAD_WITHOUT_EDNS
    # RFC 6891 6.2.3: "Values lower than 512 MUST be treated as equal to 512."
    return max(_PAYLOAD_WITHOUT_EDNS, min(query.payload, PAYLOAD))
