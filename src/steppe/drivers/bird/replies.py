"""What BIRD's tables say, as values: sessions, and which session a route was learned by."""

import re
from collections.abc import Iterator

import msgspec

from steppe.bgp.seen import LearnedRoute, SeenSession
from steppe.drivers.bird.control import Reply
from steppe.net.address import IPNetwork, parse_prefix

_PROTOCOL, _DETAIL, _ROUTES = 1002, 1006, 1007
_FIELD = re.compile(r"\s*(?P<name>[A-Z][A-Za-z ]*):\s+(?P<value>.*)")
_COUNTS = re.compile(r"(\d+) imported,(?: \d+ filtered,)? (\d+) exported")
_ROUTE = re.compile(r"\s*(?P<prefix>[0-9a-f.:]+/\d+)?\s+(?P<kind>\w+) \[(?P<by>\S+) ")


def sessions(reply: Reply) -> tuple[SeenSession, ...]:
    """Those of `show protocols all`."""
    return tuple(found for head, details in _protocols(reply) if (found := _session(head, details)))


def _protocols(reply: Reply) -> Iterator[tuple[str, list[str]]]:
    head, details = "", list[str]()
    for line in reply.lines:
        if line.code == _PROTOCOL:
            if head:
                yield head, details
            head, details = line.text, []
        elif line.code == _DETAIL:
            details.append(line.text)
    if head:
        yield head, details


def _session(head: str, details: list[str]) -> SeenSession | None:
    # Name, Proto, Table, State, Since (date and time), Info
    words = head.split(None, 6)
    if len(words) < 4 or words[1] != "BGP":
        return None
    state, error, imported, exported = "", "", 0, 0
    for text in details:
        found = _FIELD.fullmatch(text)
        if found is None:
            continue
        name, value = found["name"], found["value"].strip()
        if name == "BGP state":
            state = value
        elif name == "Last error":
            error = value
        elif name == "Routes" and (counts := _COUNTS.match(value)):
            imported, exported = imported + int(counts[1]), exported + int(counts[2])
    since = " ".join(words[4:6])
    return SeenSession(words[0], state or words[3].capitalize(), error, since, imported, exported)


def routes(reply: Reply) -> tuple[LearnedRoute, ...]:
    """Those of `show route`; a prefix that several protocols have is there once for each."""
    found: list[LearnedRoute] = []
    prefix: IPNetwork | None = None
    for text in reply.of(_ROUTES):
        seen = _ROUTE.match(text)
        if seen is not None:
            prefix = parse_prefix(seen["prefix"]) if seen["prefix"] else prefix
            way = "" if seen["kind"] == "unicast" else seen["kind"]
            if prefix is not None:
                found.append(LearnedRoute(prefix, seen["by"], way))
        elif found and text.startswith("\t"):
            way = ", ".join(filter(None, (found[-1].way, text.strip())))
            found[-1] = msgspec.structs.replace(found[-1], way=way)
    return tuple(found)
