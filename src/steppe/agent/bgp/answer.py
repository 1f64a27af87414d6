"""What the agent says of BGP: `steppe bgp`, and the sessions in `steppe audit`."""

import contextlib
from collections.abc import Iterable
from typing import Any

from steppe.agent.bgp.speaker import Speaker
from steppe.bgp.judge import best
from steppe.bgp.render import protocol_of
from steppe.bgp.seen import LearnedRoute
from steppe.bgp.tables import BgpTables, Filter, Session, SessionKey
from steppe.drivers.bird.control import BirdError
from steppe.kube.cause import Cause
from steppe.net.address import IPNetwork, sort_key
from steppe.state.claim import Entry

Json = dict[str, Any]


async def bgp_document(node: str, speaker: Speaker | None) -> Json:
    """The three tables with their causes, how each session is, and what was learned by which."""
    head = {"schema": "steppe.bgp/v1", "node": node, "speaks": speaker is not None}
    if speaker is None:
        return head | {"sessions": [], "announcements": [], "filters": [], "learned": []}
    tables = speaker.tables
    by_name = _by_name(speaker)
    return head | {
        "starts": speaker.starts,
        "sessions": sorted(_sessions(speaker), key=lambda row: str(row["name"])),
        "announcements": [*_announcements(tables)],
        "filters": [
            {
                "session": key.session,
                "direction": key.direction,
                **_filter(entry.value),
                "because": _because(entry.because),
            }
            for key, entry in sorted(tables.filters.items(), key=lambda item: str(item[0]))
        ],
        "learned": [
            {
                "prefix": str(route.prefix),
                "way": route.way,
                "session": route.protocol,
                "because": _because(by_name[_session_of(route)].because),
            }
            for route in await speaker.learned()
            if _session_of(route) in by_name
        ],
    }


def _announcements(tables: BgpTables) -> Iterable[Json]:
    for key, entry in sorted(tables.announcements.items(), key=lambda i: sort_key(i[0].prefix)):
        yield {
            "prefix": str(key),
            "source": entry.value.source,
            "communities": [str(each) for each in entry.value.communities],
            "because": _because(entry.because),
        }


def _session_of(route: LearnedRoute) -> str:
    """The session's name; those that came up on a link have a number behind it."""
    return route.protocol.partition("#")[0]


def _sessions(speaker: Speaker) -> Iterable[Json]:
    for key, entry in speaker.tables.sessions.items():
        session = entry.value
        seen = best(session, speaker.seen)
        yield {
            "name": session.name,
            "neighbor": str(key),
            "asn": session.asn,
            "ownASN": session.own_asn,
            "state": seen.state if seen is not None else "not loaded",
            "since": seen.since if seen is not None else "",
            "imported": seen.imported if seen is not None else 0,
            "exported": seen.exported if seen is not None else 0,
            "bfd": session.bfd,
            "missing": speaker.missing.get(key, ""),
            "because": _because(entry.because),
        }


def _filter(value: Filter) -> Json:
    return {
        "sources": list(value.sources),
        "refused": [str(network) for network in value.refused],
        "rules": None
        if value.rules is None
        else [
            {
                "prefix": str(rule.prefix),
                "minLength": rule.lowest,
                "maxLength": rule.highest,
                "action": "Accept" if rule.accept else "Reject",
            }
            for rule in value.rules
        ],
        "communities": [str(each) for each in value.communities],
        "reflected": value.reflected,
    }


def _because(causes: Iterable[Cause]) -> list[str]:
    return [str(cause) for cause in causes]


def missing_rows(speaker: Speaker | None) -> list[Json]:
    """The sessions that are missing for a while, for an audit."""
    return [
        {"session": entry.value.name, "why": why, "because": _because(entry.because)}
        for entry, why in (speaker.late() if speaker is not None else ())
    ]


async def causes_of_routes(speaker: Speaker | None) -> dict[IPNetwork, tuple[Cause, ...]]:
    """Of each prefix that BIRD has learned, the objects that asked for the sessions; nothing where
    BIRD cannot be asked.
    """
    found: dict[IPNetwork, dict[Cause, None]] = {}
    if speaker is None:
        return {}
    by_name = _by_name(speaker)
    with contextlib.suppress(BirdError):
        for route in await speaker.learned():
            entry = by_name.get(_session_of(route))
            if entry is not None:
                found.setdefault(route.prefix, {}).update(dict.fromkeys(entry.because))
    return {prefix: tuple(causes) for prefix, causes in found.items()}


def _by_name(speaker: Speaker) -> dict[str, Entry[SessionKey, Session]]:
    """The sessions by the names of their protocols."""
    return {protocol_of(entry.value): entry for entry in speaker.tables.sessions.values()}
