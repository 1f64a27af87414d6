"""Answers of the server for a name, given the records at it. Pure.

The rules of DNS, which are the same for all kinds of names:

    names.records_at       response
    ────────────────       ────────────────────────────────────────────────────────────
    None                   NXDOMAIN, with the SOA record that says how long to believe it
    {}                     no error and no answer ("NODATA"), with the SOA record
    {CNAME: …}             the alias, then the answer for the name it leads to
    {A: …, AAAA: …}        the records of the type asked for; NODATA if there are none
"""

from collections.abc import Iterable

import dns.name
import dns.rdata
import dns.rrset
import msgspec
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from steppe_lab.dns.names import RRs, Zone, origin_of, records_at, soa
from steppe_lab.dns.records import Records

_MAX_ALIASES = 8


class Question(msgspec.Struct, frozen=True):
    """A question of class IN, the only one there is anything in."""

    name: dns.name.Name
    type: RdataType


class Answer(msgspec.Struct, frozen=True):
    """What goes into the sections of a response.

    `elsewhere` is the name that only a server upstream can know: the one asked for, or the one that
    an ExternalName leads to.
    """

    rcode: Rcode
    authoritative: bool = True
    answer: tuple[dns.rrset.RRset, ...] = ()
    authority: tuple[dns.rrset.RRset, ...] = ()
    additional: tuple[dns.rrset.RRset, ...] = ()
    elsewhere: dns.name.Name | None = None


def answer(zone: Zone, records: Records, question: Question) -> Answer:
    """The answer, after all aliases that lie in our zones."""
    aliases: list[dns.rrset.RRset] = []
    name = question.name
    while len(aliases) <= _MAX_ALIASES:
        origin = origin_of(zone, name)
        if origin is None:
            # We speak for no other zone. At the end of an alias that is no error: it is answered,
            # and whoever asked may go on from there.
            rcode = Rcode.NOERROR if aliases else Rcode.REFUSED
            return Answer(rcode, bool(aliases), tuple(aliases), elsewhere=name)
        found = records_at(zone, records, name, origin)
        alias = (found or {}).get(RdataType.CNAME)
        if not alias or question.type in (RdataType.CNAME, RdataType.ANY):
            # RFC 6604: the response code is that of the last name.
            last = _last(zone, records, Question(name, question.type), origin, found)
            return msgspec.structs.replace(last, answer=(*aliases, *last.answer))
        aliases.append(_rrset(zone, name, alias))
        name = alias[0].target  # type: ignore[attr-defined]  # CNAME records have one
    return Answer(Rcode.SERVFAIL)


def _last(
    zone: Zone, records: Records, question: Question, origin: dns.name.Name, found: RRs | None
) -> Answer:
    """The answer for a name that is no alias."""
    authority = (_rrset(zone, origin, [soa(zone, records)]),)
    if found is None:
        # The reverse zones are not ours alone.
        elsewhere = None if origin == zone.domain else question.name
        return Answer(Rcode.NXDOMAIN, authority=authority, elsewhere=elsewhere)
    asked = tuple(
        _rrset(zone, question.name, rdatas)
        for type_, rdatas in found.items()
        if question.type in (type_, RdataType.ANY)
    )
    if not asked:
        return Answer(Rcode.NOERROR, authority=authority)
    return Answer(Rcode.NOERROR, answer=asked, additional=_additional(zone, records, asked))


def _additional(
    zone: Zone, records: Records, answers: Iterable[dns.rrset.RRset]
) -> tuple[dns.rrset.RRset, ...]:
    """The addresses of the names in SRV and NS records, which will be asked for next."""
    names: dict[dns.name.Name, None] = {}
    for rrset in answers:
        if rrset.rdtype in (RdataType.SRV, RdataType.NS):
            names |= dict.fromkeys(rdata.target for rdata in rrset)
    found = []
    for name in names:
        at = records_at(zone, records, name, zone.domain) or {}
        found += [_rrset(zone, name, rdatas) for rdatas in at.values()]
    return tuple(found)


def _rrset(zone: Zone, name: dns.name.Name, rdatas: list[dns.rdata.Rdata]) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(name, zone.ttl, rdatas)
