"""Reach in other programs' formats, from its JSON document: CSV, Markdown, Graphviz's DOT, SVG."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from steppe.net.ports import LAST_PORT
from steppe.reach.svg import Cell, Sign, matrix

Json = Mapping[str, Any]
_SIGNS: Mapping[str, Sign] = {"allowed": "all", "partly": "some", "unknown": "unknown"}
_ALL = "all"
_STYLES = {"allowed": "solid", "partly": "dashed", "unknown": "dotted"}
"""How a graph draws a way to a Service: open, open for some or at times, not known."""
_NONE = "none"


def as_csv(document: Json) -> Iterator[str]:
    """A line for each pair of members and each answer of a Service, as RFC 4180 has it.

    kind, from, to, address, protocol and port (of Services), IPv4 and IPv6 ports or the outcome,
    and what decides it.
    """
    yield _line(("kind", "from", "to", "ipv4", "ipv6", "because"))
    groups = document["groups"]
    for flow in document["flows"]:
        ports = [_family(document, flow, family) for family in ("IPv4", "IPv6")]
        because = "; ".join(flow["because"])
        for sender in flow["from"]:
            for here in groups[sender]["members"]:
                for there in groups[flow["to"]]["members"]:
                    yield _line(("flow", here, there, *ports, because))
    for service in document["services"]:
        for answer in service["answers"]:
            outcome, name = _outcome(answer), f"{_service(service)}{_where(service, answer)}"
            said = (outcome, "") if service["family"] == "IPv4" else ("", outcome)
            for sender in answer["from"]:
                for here in groups[sender]["members"]:
                    if here not in answer["but"] and here in (answer["only"] or (here,)):
                        yield _line(("service", here, name, *said, ""))


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
        (f"{_service(service)} at {_place(service)}", _outcome(a), _senders(document, a))
        for service in document["services"]
        for a in service["answers"]
    ]
    if rows:
        yield ""
        yield from table(("Service", "Answer", "From"), rows)
    yield from ("", f"Besides: {'; '.join(document['always'])}.")


def as_dot(document: Json) -> Iterator[str]:
    """A graph of groups: an edge for each flow on any port, and to each Service that answers."""
    yield "digraph reach {"
    yield '  rankdir=LR; node [shape=box, fontname="sans-serif"]; edge [fontname="sans-serif"];'
    for flow in document["flows"]:
        text = _ports(document, flow)
        if text == _NONE:
            continue
        for sender in flow["from"]:
            ends = f"{_quoted(_name(document, sender))} -> {_quoted(_name(document, flow['to']))}"
            style = ", style=dotted" if flow.get("unknown") else ""
            yield f"  {ends} [label={_quoted(text)}{style}];"
    for service in document["services"]:
        name = _quoted(_service(service))
        yield f"  {name} [shape=ellipse];"
        for answer in service["answers"]:
            outcome = answer["outcome"]
            is_part = answer["only"] or answer["but"]
            drawn = _STYLES.get(outcome)
            drawn = "dashed" if drawn == "solid" and is_part else drawn
            for sender in answer["from"] if drawn else ():
                yield f"  {_quoted(_name(document, sender))} -> {name} [style={drawn}];"
    yield "}"


def as_svg(document: Json) -> Iterator[str]:
    """A picture: senders down, receivers and Services across; a cell for each pair."""
    cells: dict[tuple[str, str], Cell] = {}
    for flow in document["flows"]:
        text = _ports(document, flow)
        sign: Sign = "all" if text == _ALL else "none" if text == _NONE else "some"
        if flow.get("unknown"):
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
    some = [*answer["only"], *(f"not {name}" for name in answer["but"])]
    sign: Sign = _SIGNS.get(answer["outcome"], "none")
    if some and sign == "all":
        sign = "some"
    told = f"{_outcome(answer)} at {_place(service)}"
    told += f" (of these {', '.join(some)})" if some else ""
    if before is None:
        return Cell(sign, told)
    return Cell(sign if sign == before.sign else "some", f"{before.text}\n{told}")


def _place(service: Json) -> str:
    """The address of a Service that is meant, or its node port."""
    if service["address"] is not None:
        return str(service["address"])
    return f"node port {service['nodePort']}" if service["way"] == "node" else "no address"


def _where(service: Json, answer: Json) -> str:
    """What an answer is for beside the cluster IP and all nodes: ` at 198.51.100.7 by node-a`."""
    at = "" if service["way"] == "cluster" else f" at {_place(service)}"
    by = f" by {' '.join(answer['nodes'])}" if answer["nodes"] else ""
    return f"{at}{by}"


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
    """The ports in both families, told apart where they differ."""
    texts = {f: _family(document, flow, f) for f in ("IPv4", "IPv6") if f in flow["ports"]}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{family} {text}" for family, text in texts.items())


def _family(document: Json, flow: Json, family: str) -> str:
    ranges = flow["ports"].get(family)
    if ranges is None:
        return ""
    if ranges == document["ports"]:
        return _ALL
    known = _ranges(ranges) or _NONE
    return f"{known}; not known: {_ranges(flow['unknown'])}" if flow.get("unknown") else known


def _ranges(ranges: Iterable[Json]) -> str:
    return ", ".join(map(port_range, ranges))


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


def _senders(document: Json, answer: Json) -> str:
    where = f" on {', '.join(answer['nodes'])}" if answer["nodes"] else ""
    if answer["only"]:
        return ", ".join(answer["only"]) + where
    but = f" but {', '.join(answer['but'])}" if answer["but"] else ""
    return _names(document, answer["from"]) + but + where


def _service(service: Json) -> str:
    return f"svc/{service['service']}:{service['port']}/{service['protocol']}"


def _name(document: Json, number: int) -> str:
    return str(document["groups"][number]["name"])


def _names(document: Json, numbers: Iterable[int]) -> str:
    return ", ".join(_name(document, number) for number in numbers)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
