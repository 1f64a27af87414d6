"""Reach in other programs' formats, from its JSON document: CSV, Markdown, Graphviz's DOT, SVG."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from steppe.net.ports import LAST_PORT
from steppe.reach.svg import Cell, Sign, matrix

Json = Mapping[str, Any]
_SIGNS: Mapping[str, Sign] = {"allowed": "all", "partly": "some", "unknown": "unknown"}
_LINES = {"allowed": "solid", "partly": "dashed", "unknown": "dotted"}
"""The styles of lines in DOT."""
_ITSELF = "a pod reaches itself"
_FAMILIES = ("IPv4", "IPv6")
_ALL = "all"
_NONE = "none"


def as_csv(document: Json) -> Iterator[str]:
    """A line for each pair of members and each answer of a Service, as RFC 4180 has it.

    The columns: `flow` or `service`, sender, receiver, by IPv4 and by IPv6 the ports (or a
    Service's answer), and what decides it (or at which address and on which nodes it holds).
    """
    yield _line(("kind", "from", "to", "ipv4", "ipv6", "because"))
    groups = document["groups"]
    for flow in document["flows"]:
        ports = [_family(document, flow, family) for family in _FAMILIES]
        for sender in flow["from"]:
            because = "; ".join((*flow["because"], *_own_node(groups[sender], groups[flow["to"]])))
            for here in groups[sender]["members"]:
                for there in groups[flow["to"]]["members"]:
                    said = ports if here != there else [_ALL if text else "" for text in ports]
                    why = because if here != there else _ITSELF
                    yield _line(("flow", here, there, *said, why))
    for service in document["services"]:
        name = _service(service)
        for answer in service["answers"]:
            said = [_outcome(answer) if family == service["family"] else "" for family in _FAMILIES]
            where = f"{_way(service)}{_nodes(service, answer)}".strip()
            for here in _members(document, answer):
                yield _line(("service", here, name, *said, where))


def _own_node(sender: Json, receiver: Json) -> Iterator[str]:
    """The exception among the pairs of two groups which the document does not tell one by one."""
    if (sender["kind"], receiver["kind"]) == ("nodes", "pods"):
        yield "but a node reaches the pods that it runs"


def as_markdown(document: Json) -> Iterator[str]:
    """Two tables, of flows and of Services, by group."""
    yield from table(
        ("To", "Ports", "From", "Because"),
        (
            (
                _name(document, flow["to"]),
                _ports(document, flow),
                _names(document, flow["from"]),
                ", ".join(flow["because"]) or "no policy is in the way",
            )
            for flow in document["flows"]
        ),
    )
    rows = [
        (f"{_service(service)}{_way(service)}", _outcome(a), _senders(document, service, a))
        for service in document["services"]
        for a in service["answers"]
    ]
    if rows:
        yield ""
        yield from table(("Service", "Answer", "From"), rows)
    yield from ("", f"Besides: {'; '.join(document['always'])}.")


def as_dot(document: Json) -> Iterator[str]:
    """A graph of groups: an edge for each flow on any port, and to each Service that answers;
    dotted where it is not known.
    """
    yield "digraph reach {"
    yield '  rankdir=LR; node [shape=box, fontname="sans-serif"]; edge [fontname="sans-serif"];'
    for flow in document["flows"]:
        text = _ports(document, flow)
        if text == _NONE:
            continue
        for sender in flow["from"]:
            ends = f"{_quoted(_name(document, sender))} -> {_quoted(_name(document, flow['to']))}"
            style = ", style=dotted" if flow["unknown"] else ""
            yield f"  {ends} [label={_quoted(text)}{style}];"
    for service in document["services"]:
        name = _quoted(_service(service))
        yield f"  {name} [shape=ellipse];"
        for answer in service["answers"]:
            told = _some(answer)
            style = _LINES.get(answer["outcome"], "")
            style += f", label={_quoted(told)}" if told else ""
            for sender in answer["from"] if answer["outcome"] in _LINES else ():
                yield f"  {_quoted(_name(document, sender))} -> {name} [style={style}];"
    yield "}"


def as_svg(document: Json) -> Iterator[str]:
    """A picture: senders down, receivers and Services across; a cell for each pair."""
    cells: dict[tuple[str, str], Cell] = {}
    for flow in document["flows"]:
        text = _ports(document, flow)
        sign: Sign = "all" if text == _ALL else "none" if text == _NONE else "some"
        if flow["unknown"]:
            sign = "unknown"
        because = "\n".join(flow["because"]) or "no policy is in the way"
        for sender in flow["from"]:
            key = (_name(document, sender), _name(document, flow["to"]))
            cells[key] = Cell(sign, f"{text}\n{because}")
    for service in document["services"]:
        for answer in service["answers"]:
            for sender in answer["from"]:
                key = (_name(document, sender), _service(service))
                cells[key] = _cell(service, answer, cells.get(key))
    yield from matrix(cells, "Who reaches whom")


def _cell(service: Json, answer: Json, before: Cell | None) -> Cell:
    """The cell of a Service, with another of its answers: those of other addresses, or members."""
    some = _some(answer)
    sign: Sign = _SIGNS.get(answer["outcome"], "none")
    if some and sign == "all":
        sign = "some"
    told = f"{_outcome(answer)}{_way(service)}{_nodes(service, answer)}"
    told += f" (of these {some})" if some else ""
    if before is None:
        return Cell(sign, told)
    return Cell(sign if sign == before.sign else "some", f"{before.text}\n{told}")


EXPORTS: Mapping[str, Callable[[Json], Iterable[str]]] = {
    "csv": as_csv,
    "md": as_markdown,
    "dot": as_dot,
    "svg": as_svg,
}
"""Format → its lines. A new one is a function and a line here."""


def _line(cells: Iterable[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow([_plain(cell) for cell in cells])
    return written.getvalue()


def _plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table; names cannot break out of a cell."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _ports(document: Json, flow: Json) -> str:
    """The ports in both families, told apart where they differ, and those that are not known."""
    texts = {f: _family(document, flow, f) for f in _FAMILIES if f in flow["ports"]}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{family} {text}" for family, text in texts.items())


def _family(document: Json, flow: Json, family: str) -> str:
    ranges = flow["ports"].get(family)
    if ranges is None:
        return ""
    unknown = _ranges(document, flow["unknown"])
    if unknown == _NONE:
        return _ranges(document, ranges)
    return "; ".join((*([_ranges(document, ranges)] if ranges else ()), f"not known: {unknown}"))


def _ranges(document: Json, ranges: Sequence[Json]) -> str:
    if ranges and ranges == document["ports"]:
        return _ALL
    return ", ".join(map(port_range, ranges)) or _NONE


def port_range(ports: Json) -> str:
    """Ports as text: `80/TCP`, `8000-8080/TCP`, `all UDP` or `ICMP`."""
    protocol, first, last = ports["protocol"], ports["first"], ports["last"]
    if protocol not in ("TCP", "UDP", "SCTP"):
        return "other protocols" if protocol == "other" else str(protocol)
    if (first, last) == (0, LAST_PORT):
        return f"all {protocol}"
    return f"{first}/{protocol}" if first == last else f"{first}-{last}/{protocol}"


def _outcome(answer: Json) -> str:
    if answer["outcome"] == "partly":
        return f"partly: {answer['open']} of {answer['endpoints']} endpoints"
    return str(answer["outcome"])


def _senders(document: Json, service: Json, answer: Json) -> str:
    but = f" but {', '.join(answer['but'])}" if answer["but"] else ""
    who = ", ".join(answer["only"]) or _names(document, answer["from"]) + but
    return who + _nodes(service, answer)


def _members(document: Json, answer: Json) -> Iterator[str]:
    """Those of the senders' groups that have this answer."""
    for sender in answer["from"]:
        for name in document["groups"][sender]["members"]:
            if name not in answer["but"] and (not answer["only"] or name in answer["only"]):
                yield name


def _some(answer: Json) -> str:
    """Which members of the groups have the answer; "" if all have it."""
    return ", ".join((*answer["only"], *(f"not {name}" for name in answer["but"])))


def _nodes(service: Json, answer: Json) -> str:
    """On which nodes senders have the answer, or by which they come in; "" for all nodes."""
    word = "on" if service["way"] == "cluster" else "coming in by"
    return f" {word} {', '.join(answer['nodes'])}" if answer["nodes"] else ""


def _way(service: Json) -> str:
    """Where a Service is asked; "" for senders outside who have no way in."""
    number, address = service["nodePort"], service["address"]
    if service["way"] == "node":
        return f" at node port {number}" + (f" of {address}" if address else "")
    return f" at {address}" if address else ""


def _service(service: Json) -> str:
    return f"svc/{service['service']}:{service['port']}/{service['protocol']}"


def _name(document: Json, number: int) -> str:
    return str(document["groups"][number]["name"])


def _names(document: Json, numbers: Iterable[int]) -> str:
    return ", ".join(_name(document, number) for number in numbers)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
