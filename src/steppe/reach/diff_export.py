"""A difference as Markdown for a pull request, and as one HTML page, from its JSON document."""

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

from steppe.net.ports import EVERYTHING
from steppe.reach.document import ports_json
from steppe.reach.export import port_range, table

Json = Mapping[str, Any]
_FLOWS = ("Change", "From", "To", "Ports", "Because")
_SERVICES = ("Service", "From", "Before", "After")
_WORDS = {"denied": "✘ newly denied", "allowed": "✔ newly allowed"}
_UNKNOWN = "? perhaps"
_EVERYTHING = ports_json(EVERYTHING)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 70rem; }
body { padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .6rem; }
tr { border-top: 1px solid #8886; }
"""


def as_markdown(document: Json) -> Iterator[str]:
    """What opens and what closes, for a comment on a change."""
    flows, services = list(_flows(document)), list(_services(document))
    yield f"**{_head(flows, services)}**"
    if flows:
        yield ""
        yield from table(_FLOWS, flows)
    if services:
        yield ""
        yield from table(_SERVICES, services)


def as_html(document: Json) -> Iterator[str]:
    """The same as a page without scripts; all text of the cluster is escaped."""
    flows, services = list(_flows(document)), list(_services(document))
    head = escape(_head(flows, services))
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield f"<title>{head}</title><style>{_STYLE}</style></head><body><h1>{head}</h1>"
    for heads, rows in ((_FLOWS, flows), (_SERVICES, services)):
        if rows:
            yield f"<table><thead><tr>{_cells('th', heads)}</tr></thead><tbody>"
            yield from (f"<tr>{_cells('td', row)}</tr>" for row in rows)
            yield "</tbody></table>"
    yield "</body></html>"


EXPORTS: Mapping[str, Callable[[Json], Iterator[str]]] = {"md": as_markdown, "html": as_html}
"""Format → its lines. A new one is a function and a line here."""


def _cells(tag: str, texts: tuple[str, ...]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _head(flows: list[tuple[str, ...]], services: list[tuple[str, ...]]) -> str:
    if not flows and not services:
        return "Nothing changes for any flow."
    counts = {word: sum(row[0] == word for row in flows) for word in _WORDS.values()}
    texts = [f"{count} {word[2:]}" for word, count in counts.items() if count]
    unknown = sum(row[0].startswith(_UNKNOWN) for row in flows)
    texts += [f"{unknown} not known"] if unknown else []
    several = "s" if len(services) > 1 else ""
    texts += [f"{len(services)} answer{several} of Services"] if services else []
    return f"What changes: {', '.join(texts)}"


def _flows(document: Json) -> Iterator[tuple[str, ...]]:
    for key, word in _WORDS.items():
        for flow in document["flows"]:
            change = flow.get(key)
            if change:
                who = ", ".join(_name(document, number) for number in flow["from"])
                ports = _ports(change["ports"])
                yield word, who, _name(document, flow["to"]), ports, change["because"]
    for flow in document["flows"]:
        for each in flow.get("unknown", ()):
            who = ", ".join(_name(document, number) for number in flow["from"])
            hangs = "it hangs on " + "; ".join(each["hangsOn"])
            what = f"{_UNKNOWN} {each['perhaps']}"
            yield what, who, _name(document, flow["to"]), _text(each["ports"]), hangs


def _services(document: Json) -> Iterator[tuple[str, ...]]:
    for each in document["services"]:
        names = [_name(document, number) for number in each["from"]]
        only, but = ", ".join(each["only"]), ", ".join(each["but"])
        who = only or ", ".join(names) + (f" but {but}" if but else "")
        where = f" ({each['way']})" if each["way"] else ""
        name = f"svc/{each['service'].removeprefix('svc/')}:{each['port']}/{each['protocol']}"
        family = f"{name} {each['family']}{where}"
        hangs = f" (it hangs on {'; '.join(each['hangsOn'])})" if each["hangsOn"] else ""
        yield family, who, _outcome(each["before"]), _outcome(each["after"]) + hangs


def _outcome(outcome: Json) -> str:
    if outcome["said"] == "partly":
        return f"partly: {outcome['open']} of {outcome['endpoints']} endpoints"
    return "not known" if outcome["said"] == "unknown" else str(outcome["said"])


def _ports(families: Mapping[str, list[Json]]) -> str:
    texts = {family: _text(ranges) for family, ranges in families.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{family} {text}" for family, text in texts.items())


def _text(ranges: list[Json]) -> str:
    return "all" if ranges == _EVERYTHING else ", ".join(map(port_range, ranges))


def _name(document: Json, number: int) -> str:
    return str(document["groups"][number]["name"])
