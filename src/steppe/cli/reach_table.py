"""The text output of `steppe reach`: who reaches whom, by receiver and by Service."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

import click
import msgspec

from steppe.kube.cause import Cause
from steppe.kube.objects import Node, Pod
from steppe.reach.flows import Flow, ports_text
from steppe.reach.groups import Member
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import Names, member_name
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, OfferRow

NO_POLICY = "no policy is in the way"
ALWAYS = "Besides: a pod always reaches itself, and a node the pods that it runs."
_CAUSES = 3
_GAP = 2
_NARROWEST = 16

Line = tuple[str, ...]


class _Row(msgspec.Struct, frozen=True):
    """Senders of one receiver with the same text."""

    ports: str
    senders: Mask
    because: tuple[Cause, ...]


def print_flows(reach: Reach, names: Names, flows: Iterable[Sequence[Flow]]) -> None:
    """Print a table: each receiver with its senders, the row with the most senders last."""
    lines: list[Line] = []
    for known in flows:
        rows = _rows(known)
        complete = _is_complete(reach, known)
        for index, row in enumerate(rows):
            rest = complete and row is rows[-1]
            who = names.senders(row.senders, rest=rest)
            receiver = "" if index else names.group(known[0].receiver)
            lines.append((receiver, row.ports, who, because_text(row.because)))
    print_columns(("TO", "PORTS", "FROM", "BECAUSE"), lines)


def _rows(flows: Sequence[Flow]) -> list[_Row]:
    """Flows as rows; flows that differ only in the senders' families are joined."""
    found: dict[str, _Row] = {}
    for flow in flows:
        text = ports_text(flow.row)
        before = found.get(text, _Row(text, 0, ()))
        because = tuple(dict.fromkeys((*before.because, *flow.because)))
        found[text] = _Row(text, before.senders | flow.senders, because)
    return sorted(found.values(), key=lambda row: row.senders.bit_count())


def print_offers(names: Names, offers: Iterable[tuple[Offer, Sequence[OfferRow]]]) -> None:
    """Print a table: each Service port with the senders that may use it."""
    lines: list[Line] = []
    for label, rows in _joined(offers):
        for index, row in enumerate(rows):
            where = f" on {', '.join(sorted(row.view.nodes))}" if row.view.nodes else ""
            who = names.senders(row.senders) + where
            lines.append(("" if index else label, outcome_text(row), who))
    print_columns(("SERVICE", "ANSWER", "FROM"), lines)


def _joined(
    offers: Iterable[tuple[Offer, Sequence[OfferRow]]],
) -> Iterator[tuple[str, Sequence[OfferRow]]]:
    """Entries of both families joined if their outcomes are equal."""
    found: dict[str, list[tuple[Offer, Sequence[OfferRow]]]] = {}
    for offer, rows in offers:
        found.setdefault(f"{offer}/{offer.port.protocol}", []).append((offer, rows))
    for label, known in found.items():
        if len({tuple((r.senders, outcome_text(r)) for r in rows) for _, rows in known}) == 1:
            yield label, known[0][1]
        else:
            for offer, rows in known:
                yield f"{label} at {offer.address}", rows


def outcome_text(row: OfferRow) -> str:
    said = row.outcome
    match said.said:
        case "refused":
            return "refused: it has no ready endpoint, or more ports than are served (steppe lint)"
        case "dropped":
            return "dropped: no ready endpoint on the sender's node"
        case "partly":
            return f"PARTLY: {said.open} of {said.endpoints} endpoints allowed"
        case _:
            return said.said


def because_text(because: Sequence[Cause]) -> str:
    """The first few causes as text."""
    if not because:
        return NO_POLICY
    isolated = [str(cause.ref) for cause in because if cause.field == "spec.podSelector"]
    rules = [str(cause) for cause in because if cause.field != "spec.podSelector"]
    parts = [_few(rules)] if rules else []
    parts += [f"isolated by {_few(isolated)}"] if isolated else []
    return "; ".join(parts)


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_CAUSES]) + (" and others" if len(texts) > _CAUSES else "")


def _is_complete(reach: Reach, flows: Sequence[Flow]) -> bool:
    """Whether these flows contain every sender of their receiver."""
    found = 0
    for flow in flows:
        found |= flow.senders
    expected = reach.everyone
    if reach.groups[flows[0].receiver].kind != "pods":
        expected = reach.of_kind("pods")
    return not expected & ~found


def print_wide(reach: Reach, flows: Iterable[Flow]) -> None:
    """Print a line for each pair as it is computed: there may be very many."""
    names = [member_name(member) for group in reach.groups for member in group.members]
    width = max(map(len, names), default=0)
    for flow in flows:
        text = f"{ports_text(flow.row):10}  {because_text(flow.because)}"
        for sender in bits(flow.senders):
            for here in reach.groups[sender].members:
                for there in reach.groups[flow.receiver].members:
                    ends = f"{member_name(here):{width}}  {member_name(there):{width}}"
                    click.echo(f"{ends}  {_always(here, there) or text}")


def _always(here: Member, there: Member) -> str:
    """The exception for a pair of single ends that policies cannot change; "" if there is none."""
    if isinstance(there, Pod):
        if isinstance(here, Pod) and here.ref == there.ref:
            return "everything  it is itself"
        if isinstance(here, Node) and here.name == there.node:
            return "everything  it is its own node"
    return ""


def print_columns(headers: Line, lines: Iterable[Line]) -> None:
    """Print columns that fit the terminal; wide columns are wrapped, never truncated."""
    rows = [headers, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headers))]
    room = shutil.get_terminal_size((160, 24)).columns - _GAP * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    for row in rows:
        cells = [wrap(text, width) or [""] for text, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = (cell[number] if number < len(cell) else "" for cell in cells)
            padded = (text.ljust(width) for text, width in zip(parts, widths, strict=True))
            click.echo((" " * _GAP).join(padded).rstrip())
