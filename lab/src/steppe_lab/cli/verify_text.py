"""A verification as text and as JSON: one entry for each cause, with one of its packets."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from steppe.cli.audit_text import entry_name, said_of
from steppe.cli.explain_text import text
from steppe.explain.document import document
from steppe.explain.model import Explanation
from steppe.verify.stops import Differing, Group, Stop
from steppe_lab.verify import Report, Wrong

SCHEMA = "steppe.verify/v2"
_NAMED = 3
_UNKNOWN = (
    "cause not found: the tables are as they should be, and no rule of nftables drops these "
    "packets; `steppe audit` lists others' rules, settings and flows"
)


class Explained(msgspec.Struct, frozen=True):
    """Why a packet should do what it should, and what the kernels do with it."""

    desired: Explanation
    actual: Explanation


class Cause(msgspec.Struct, frozen=True):
    """Packets that went wrong for one cause; the first of them is explained, if any is."""

    group: Group[Wrong]
    explained: Explained | None = None
    failed: str = ""


def lines(report: Report, causes: Sequence[Cause], width: int, seconds: float) -> Iterator[str]:
    """What `steppe verify` prints, but for the notes."""
    for cause in causes:
        yield from _cause(cause, width)
        yield ""
    if report.skipped:
        yield f"not verified, for they are not up: {', '.join(report.skipped)}"
    count, known = len(report.wrong), sum(bool(cause.group.stops) for cause in causes)
    verdict = "all did what they should"
    if count:
        some = f"{known} {'cause' if known == 1 else 'causes'}"
        verdict = f"{count} did not do what they should, by {some}" if known else ""
        verdict = verdict or f"{count} did not do what they should"
    sizes = f", {report.sizes} of them to find the paths' MTUs" if report.sizes else ""
    yield f"{report.sent} packets{sizes}, in {seconds:.1f} s: {verdict}"


def _cause(cause: Cause, width: int) -> Iterator[str]:
    group = cause.group
    count = len(group.members)
    what = "1 packet" if count == 1 else f"{count} packets"
    stops = "; ".join(map(_stop, group.stops)) or _UNKNOWN
    yield click.style(f"{what}: {stops}", fg="red", bold=True)
    for each in group.entries[:_NAMED]:
        yield f"  {_entry(each)}"
    if len(group.entries) > _NAMED:
        yield f"  and {len(group.entries) - _NAMED} more entries: -o json lists them"
    yield f"  {_ends(group.members)}"
    first = group.members[0]
    yield f"  for example {title(first)}"
    yield f"    should: {first.should}"
    yield f"    did:    {first.did}"
    if cause.explained is not None and not group.stops:
        for heading, said in (
            ("What it should do", cause.explained.desired),
            ("What the kernels' tables make of it", cause.explained.actual),
        ):
            yield f"\n  {heading}:"
            yield from (f"    {line}".rstrip() for line in text(said, width - 4).splitlines())
    elif cause.failed:
        yield f"    not explained: {cause.failed}"
    if first.check.size == 0:
        yield f"    more: {_command(first)}"


def _stop(stop: Stop) -> str:
    where = f"{stop.node}: " if stop.node else ""
    by = f", by {', '.join(map(str, stop.because))}" if stop.because else ""
    return f"{where}{stop.text}{by}"


def _entry(each: Differing) -> str:
    key, state = each.state.key, each.state
    name = entry_name(key.table, str(key))
    desired = f"should be {said_of(state.desired)}" if state.desired is not None else ""
    if state.actual is None:
        return f"{name} is not there, {desired}"
    is_now = f"{name} is {said_of(state.actual)}"
    return f"{is_now}, {desired}" if desired else f"{is_now}; nothing asks for it"


def _ends(members: Sequence[Wrong]) -> str:
    """From and to whom these packets went, and which they were."""
    sources = [each.check.source for each in members]
    targets = [each.check.target for each in members]
    kinds = dict.fromkeys(
        f"{each.check.packet.protocol} over IPv{each.check.packet.source.version}"
        for each in members
    )
    return f"from {_some(sources)} to {_some(targets)}; {', '.join(kinds)}"


def _some(names: Sequence[str]) -> str:
    """The names that come most often, and how many there are besides."""
    known = [name for name, _ in Counter(names).most_common()]
    more = len(known) - _NAMED
    return ", ".join(known[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _command(wrong: Wrong) -> str:
    check, packet = wrong.check, wrong.check.packet
    port = f" --port {packet.destination_port}" if packet.destination_port else ""
    return (
        f"steppe explain {check.source} {check.target}{port} "
        f"--protocol {packet.protocol.lower()} --family ipv{packet.source.version} --actual"
    )


def title(wrong: Wrong) -> str:
    """A packet as text: who to whom, and which."""
    check, packet = wrong.check, wrong.check.packet
    port = f" {packet.destination_port}" if packet.destination_port else ""
    size = f" of {check.size} bytes" if check.size else ""
    address = str(packet.destination)
    at = "" if check.target == address else f" ({address})"
    return f"{check.source} to {check.target}{at}, {packet.protocol}{port}{size}"


def as_document(
    report: Report, causes: Sequence[Cause], notes: Sequence[str], seconds: float
) -> dict[str, Any]:
    """The same as JSON; `cause` of a mismatch is a place in `causes`."""
    return {
        "schema": SCHEMA,
        "sent": report.sent,
        "sentForSizes": report.sizes,
        "seconds": round(seconds, 1),
        "causes": [_cause_document(cause) for cause in causes],
        "mismatches": [
            _mismatch(number, wrong)
            for number, cause in enumerate(causes)
            for wrong in cause.group.members
        ],
        "notVerified": list(report.skipped),
        "notes": list(notes),
    }


def _cause_document(cause: Cause) -> dict[str, Any]:
    explained = cause.explained
    return {
        "packets": len(cause.group.members),
        "stoppedBy": [
            {"node": each.node, "text": each.text, "because": [str(one) for one in each.because]}
            for each in cause.group.stops
        ],
        "entries": [
            {
                "node": each.node,
                "entry": entry_name(each.state.key.table, str(each.state.key)),
                "actual": said_of(each.state.actual),
                "desired": said_of(each.state.desired),
                "because": [str(one) for one in each.state.because],
            }
            for each in cause.group.entries
        ],
        "example": title(cause.group.members[0]),
        "desired": document(explained.desired) if explained else None,
        "actual": document(explained.actual) if explained else None,
        "notExplained": cause.failed,
    }


def _mismatch(cause: int, wrong: Wrong) -> dict[str, Any]:
    return {
        "from": wrong.check.source,
        "to": wrong.check.target,
        "packet": str(wrong.check.packet),
        "bytes": wrong.check.size or None,
        "should": wrong.should,
        "did": wrong.did,
        "cause": cause,
    }
