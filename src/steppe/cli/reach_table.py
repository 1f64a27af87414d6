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
FROM_OUTSIDE = (
    "From outside, pods are reached through Services only; for pods themselves the table says what "
    "policies would let in."
)
_ALWAYS_SO = "no policy can keep it out"
_CAUSES = 3
_GAP = 2
_NARROWEST = 16

Line = tuple[str, ...]


class _Row(msgspec.Struct, frozen=True):
    """Senders of one receiver with the same text."""

    ports: str
    senders: Mask
    because: tuple[Cause, ...]
    always: bool = False


def footnotes(reach: Reach, flows: Iterable[Sequence[Flow]], *, exactly: bool) -> Iterator[str]:
    """What is to be known about a table of flows."""
    if not exactly or not any(flow.row.always for known in flows for flow in known):
        yield ALWAYS
    outside = reach.of_kind("outside")
    pods = reach.of_kind("pods")
    open_ = (flow for known in flows for flow in known if flow.row.ports or flow.row.unknown)
    if any(flow.senders & outside and pods >> flow.receiver & 1 for flow in open_):
        yield FROM_OUTSIDE


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
            why = _ALWAYS_SO if row.always else because_text(row.because)
            lines.append((receiver, row.ports, who, why))
    print_columns(("TO", "PORTS", "FROM", "BECAUSE"), lines)


def _rows(flows: Sequence[Flow]) -> list[_Row]:
    """Flows as rows; flows that differ only in the senders' families are joined."""
    found: dict[tuple[str, bool], _Row] = {}
    for flow in flows:
        text, always = ports_text(flow.row), flow.row.always
        before = found.get((text, always), _Row(text, 0, ()))
        because = tuple(dict.fromkeys((*before.because, *flow.because)))
        found[text, always] = _Row(text, before.senders | flow.senders, because, always)
    return sorted(found.values(), key=lambda row: row.senders.bit_count())


def print_offers(names: Names, offers: Iterable[tuple[Offer, Sequence[OfferRow]]]) -> None:
    """Print a table: each Service port with the senders that may use it, inside and outside."""
    by_label: dict[str, list[tuple[Offer, Sequence[OfferRow]]]] = {}
    for offer, rows in offers:
        by_label.setdefault(f"{offer}/{offer.port.protocol}", []).append((offer, rows))
    lines: list[Line] = []
    for label, known in by_label.items():
        for index, (answer, who) in enumerate(_answers(names, known)):
            lines.append(("" if index else label, answer, ", ".join(who)))
    print_columns(("SERVICE", "ANSWER", "FROM"), lines)


def _answers(
    names: Names, offers: Sequence[tuple[Offer, Sequence[OfferRow]]]
) -> Iterator[tuple[str, list[str]]]:
    """Each answer at one port of a Service, with all who get it."""
    found: dict[str, list[str]] = {}
    for outer in (False, True):
        known = [(o, rows) for o, rows in offers if (o.kind != "cluster") == outer]
        for offer, rows, told in _joined(known):
            for row in rows:
                who = names.row(row.senders, row.only, row.but)
                where = _way_in(offer, row) if outer else _on(row)
                family = f", by IPv{offer.version}" if told and offer.kind != "none" else ""
                found.setdefault(outcome_text(row), []).append(f"{who}{where}{family}")
    yield from found.items()


def _joined(
    offers: Sequence[tuple[Offer, Sequence[OfferRow]]],
) -> Iterator[tuple[Offer, Sequence[OfferRow], bool]]:
    """Entries of both families joined if their outcomes are equal; else with their family told."""
    found: dict[object, list[tuple[Offer, Sequence[OfferRow]]]] = {}
    for offer, rows in offers:
        address = offer.address if offer.kind in ("balancer", "external") else None
        found.setdefault((offer.kind, address), []).append((offer, rows))
    for known in found.values():
        told = len({tuple(map(_told, rows)) for _, rows in known}) > 1
        for offer, rows in known if told else known[:1]:
            yield offer, rows, told


def _told(row: OfferRow) -> object:
    return row.senders, row.only, row.but, row.view.nodes, outcome_text(row)


def _on(row: OfferRow) -> str:
    return f" on {', '.join(sorted(row.view.nodes))}" if row.view.nodes else ""


def _way_in(offer: Offer, row: OfferRow) -> str:
    """How senders outside come in: ` (node port 30080 of any node)`."""
    nodes = ", ".join(sorted(row.view.nodes))
    match offer.kind:
        case "none":
            return ""
        case "node":
            any_node = "nodes with endpoints" if offer.service.external_local else "any node"
            here = nodes or any_node
            if offer.address is not None:
                here = str(offer.address)
            return f" (node port {offer.port.node_port} of {here})"
        case _:
            return f" (at {offer.address}{f', coming in by {nodes}' if nodes else ''})"


_OUTCOMES = {
    "refused": "refused: no ready endpoint, or more ports than are served (steppe lint)",
    "dropped": "dropped: no ready endpoint on the node",
    "barred": "denied: not in its loadBalancerSourceRanges",
    "no way in": "denied: no node port, load balancer or external address to come in by",
    "partly": "PARTLY: {open} of {endpoints} endpoints allowed",
}


def outcome_text(row: OfferRow) -> str:
    said = row.outcome
    if said.said == "unknown":
        sure = f"{said.open} of {said.endpoints} endpoints allowed for sure"
        return f"NOT KNOWN: {sure if said.endpoints else 'its endpoints are not known'}"
    text = _OUTCOMES.get(said.said, said.said)
    return text.format(open=said.open, endpoints=said.endpoints)


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
