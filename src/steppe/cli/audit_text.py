"""An audit as text: for each node its verdict, then what is wrong, and by which object."""

from collections.abc import Iterator
from typing import Any

import click

from steppe.findings.finding import OWN_TABLE

Json = dict[str, Any]

_HOW = {"missing": "is not there", "foreign": "nothing asks for it", "differs": "differs"}
_COLOURS = {"missing": "red", "differs": "red", "foreign": "yellow"}
_CURE = (
    "`steppe audit --repair` puts it right; what differs inside a pod comes right when the pod is "
    "made anew."
)
_SHOWN = 20
_NAMES = {"addresses": "address", "fdb": "fdb"}


def audit_lines(answers: list[Json]) -> Iterator[str]:
    """The lines for each node, and at the end what to do."""
    for answer in answers:
        yield from _node(answer)
    if any((a["differences"] or a["flows"]) and not a["repaired"] for a in answers):
        yield _CURE


def _node(answer: Json) -> Iterator[str]:
    wrong, stale, others = answer["differences"], answer["flows"], answer["others"]
    said = [f"{len(wrong)} not as they shall be" if wrong else "all as they shall be"]
    if stale:
        said.append(f"{len(stale)} stale flows" if len(stale) > 1 else "a stale flow")
    refused = sum(bool(row["refused"]) for row in wrong)
    if answer["repaired"]:
        said.append(f"repaired but {refused}" if refused else "repaired")
    head = f"{answer['node']}: {answer['entries']} entries, {', '.join(said)}"
    yield click.style(head, bold=True, fg="red" if wrong or stale else None)
    for row in wrong[:_SHOWN]:
        yield from _difference(row)
    if len(wrong) > _SHOWN:
        yield f"  and {len(wrong) - _SHOWN} more: -o json lists them"
    for row in stale:
        yield click.style(f"  stale flow {row['flow']}", fg="red")
        yield f"    {_to_whom(row)} leads there no more; its packets are lost until it ends"
    for row in answer.get("sessions", ()):
        yield click.style(f"  BGP session {row['session']} is missing", fg="red")
        yield f"    {row['why']}"
        yield from (f"    by       {cause}" for cause in row["because"])
    for kind, title in _OTHERS.items():
        rows = [row for row in others if _kind(row) == kind]
        if rows:
            yield click.style(f"  {title}", fg="red" if kind != _MAYBE else None)
        for row in rows[:_SHOWN]:
            yield from _other(row)
        if len(rows) > _SHOWN:
            yield f"    and {len(rows) - _SHOWN} more: -o json lists them"


_CHANGED, _SURE, _MAYBE = "changed", "sure", "maybe"
_OTHERS = {
    _CHANGED: "somebody has changed Steppe's own table:",
    _SURE: "not Steppe's, and it stops packets or leads them elsewhere:",
    _MAYBE: "not Steppe's, but it may stop packets or change them:",
}


def _kind(row: Json) -> str:
    if row.get("kind") == OWN_TABLE:
        return _CHANGED
    return _SURE if row.get("sure") else _MAYBE


def _other(row: Json) -> Iterator[str]:
    yield f"    {row['entry']}"
    yield f"      {row['text']}"
    if row.get("cure"):
        yield click.style(f"      cure: {row['cure']}", dim=True)


def _difference(row: Json) -> Iterator[str]:
    head = f"  {entry_name(row['table'], row['key'])} {_HOW[row['how']]}"
    yield click.style(head, fg=_COLOURS[row["how"]])
    if row["actual"]:
        yield f"    is       {said_of(row['actual'])}"
    if row["desired"]:
        yield f"    shall be {said_of(row['desired'])}"
    yield from (f"    by       {cause}" for cause in row["because"])
    if row["refused"]:
        yield f"    refused  {row['refused']}"


def entry_name(table: str, key: str) -> str:
    """An entry as text: `route 10.244.1.0/24`."""
    return f"{_NAMES.get(table, table.removesuffix('s'))} {key}"


def said_of(value: object) -> str:
    """A value as text; "" for none."""
    # An element of a set exists but has no value.
    return "" if value is None else str(value).removeprefix(": ") or "there"


def _to_whom(row: Json) -> str:
    return ", ".join(row["because"]) or "the Service, which is gone,"
