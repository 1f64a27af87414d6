"""`steppe diff` for people: what opens, what closes, Services, and tables node by node."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import click
import msgspec

from steppe.cli.reach_table import because_text, print_columns
from steppe.kube.doubt import Doubt
from steppe.net.ports import PortSet
from steppe.plan.diff import Change
from steppe.reach.difference import Because, Difference, FlowChange
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import Names
from steppe.reach.offer_changes import ABSENT, OUTSIDE, OfferChange
from steppe.reach.services import Outcome

NOTHING = "Nothing changes for any flow."
NOT_KNOWN = "It is not known what this change does to some flows."


class _Row(msgspec.Struct, frozen=True):
    """Changes with the same text: the same ports for the same reason."""

    receivers: Mask
    senders: Mask
    ports: str
    because: str


def print_flow_changes(
    difference: Difference, names: Names, changes: Sequence[FlowChange], *, opened: bool
) -> None:
    """Print a table of what opens (or closes).

    Receivers and senders with equal text share a line.
    """
    rows = _rows(difference, changes, opened=opened)
    if not rows:
        return
    click.echo(f"\nNEWLY {'ALLOWED' if opened else 'DENIED'}")
    print_columns(
        ("TO", "PORTS", "FROM", "BECAUSE"),
        [
            (names.senders(row.receivers), row.ports, names.senders(row.senders), row.because)
            for row in rows
        ],
    )


def _rows(difference: Difference, changes: Sequence[FlowChange], *, opened: bool) -> list[_Row]:
    by_receiver: dict[tuple[int, str, str], Mask] = {}
    for change in changes:
        if change.opened if opened else change.closed:
            why = _why(difference, change, opened=opened)
            key = (change.receiver, _ports(difference, change, opened=opened), why)
            by_receiver[key] = by_receiver.get(key, 0) | change.senders
    together: dict[tuple[Mask, str, str], Mask] = {}
    for (receiver, ports, why), senders in by_receiver.items():
        key_ = (senders, ports, why)
        together[key_] = together.get(key_, 0) | 1 << receiver
    return [_Row(mask, senders, p, why) for (senders, p, why), mask in together.items()]


def _why(difference: Difference, change: FlowChange, *, opened: bool) -> str:
    ends = (change.receiver, *bits(change.senders))
    if opened and difference.is_new(change.receiver):
        return "it is new"
    if not opened and difference.is_gone(change.receiver):
        return "it is gone"
    if opened and all(map(difference.is_new, ends[1:])):
        return "the sender is new"
    if not opened and all(map(difference.is_gone, ends[1:])):
        return "the sender is gone"
    return why_text(difference.because(change, opened=opened))


def why_text(because: Because) -> str:
    if because.before:
        return f"no longer {because_text(because.before)}"
    return because_text(because.now)


def print_unknown_flows(
    difference: Difference, names: Names, changes: Sequence[FlowChange]
) -> None:
    """Print a table of what may open or close, and what that hangs on."""
    rows: dict[tuple[Mask, str, str, str], Mask] = {}
    for change in (each for each in changes if each.unknown):
        hangs = doubts_text(difference.doubts(change))
        for word, ports in perhaps(change).items():
            key = (change.senders, word, str(ports), hangs)
            rows[key] = rows.get(key, 0) | 1 << change.receiver
    if rows:
        click.echo("\nNOT KNOWN")
        lines = [
            (names.senders(receivers), ports, names.senders(senders), word, hangs)
            for (senders, word, ports, hangs), receivers in rows.items()
        ]
        print_columns(("TO", "PORTS", "FROM", "PERHAPS", "HANGS ON"), lines)


def perhaps(change: FlowChange) -> dict[str, PortSet]:
    """What may happen to which ports: `newly allowed`, `newly denied`, or one of the two."""
    either = change.may_open & change.may_close
    found = {
        "newly denied": change.may_close - either,
        "newly allowed": change.may_open - either,
        "newly allowed or denied": either,
    }
    return {word: ports for word, ports in found.items() if ports}


def doubts_text(doubts: Iterable[Doubt]) -> str:
    """What an answer hangs on: the first object with its reason, and how many more there are."""
    texts = list(dict.fromkeys(map(str, doubts)))
    if len(texts) < 2:
        return "".join(texts)
    return f"{texts[0]}; and {len(texts) - 1} more"


def _ports(difference: Difference, change: FlowChange, *, opened: bool) -> str:
    """The ports as text; with the family if the ends have both in common."""
    found = ports_of(change, opened=opened)
    if len(set(found.values())) == 1 and difference.families(change) <= found.keys():
        return str(next(iter(found.values())))
    return "; ".join(f"{family} {ports}" for family, ports in found.items())


def print_offer_changes(
    difference: Difference, names: Names, changes: Sequence[OfferChange]
) -> None:
    """Print a table of Service ports at which the result of some sender changes, or may."""
    found: dict[tuple[object, ...], dict[int, OfferChange]] = {}
    hangs: dict[str, str] = {}
    for change in filter(_is_told, changes):
        if change.unknown:
            hangs.setdefault(change.service, doubts_text(difference.offer_doubts(change)))
        key = (change.service, change.port, change.protocol, change.before, change.after)
        where = (change.way, change.nodes, change.only, change.but)
        found.setdefault((*key, *where), {})[change.version] = change
    lines: list[tuple[str, ...]] = []
    for by_version in found.values():
        masks = {change.senders for change in by_version.values()}
        for version, change in sorted(by_version.items())[: 1 if len(masks) == 1 else None]:
            label = f"svc/{change.service}:{change.port}/{change.protocol}"
            family = "" if len(masks) == 1 else f" (IPv{version})"
            text = f"{_outcome(change.before)} → {_outcome(change.after)}"
            lines.append((label + family, text, _senders(names, change)))
    if lines:
        click.echo("\nSERVICES")
        print_columns(("SERVICE", "ANSWER", "FROM"), lines)
    for service, text in hangs.items():
        click.echo(f"svc/{service}: what is not known hangs on {text}")


def _is_told(change: OfferChange) -> bool:
    """Whether something changes for somebody who is there."""
    return (
        change.opens
        or change.closes
        or change.unknown
        or ABSENT not in (change.before, change.after)
    )


def _senders(names: Names, change: OfferChange) -> str:
    who = names.row(change.senders, change.only, change.but)
    nodes = ", ".join(sorted(change.nodes))
    if not change.way:
        return f"{who} on {nodes}" if nodes else who
    at = change.way.removeprefix(OUTSIDE)
    return who + at + (f" (coming in by {nodes})" if nodes else "")


def _outcome(outcome: Outcome) -> str:
    if outcome.said == "partly":
        return f"partly ({outcome.open} of {outcome.endpoints} endpoints)"
    return {
        "absent": "not there",
        "barred": "denied (source ranges)",
        "unknown": "not known",
        "no way in": "no way in",
    }.get(outcome.said, outcome.said)


def print_tables(changes: Mapping[str, Sequence[Change]], *, wide: bool) -> None:
    """Print how many entries each node's tables gain and lose; all entries if `wide`."""
    click.echo("\nTABLES")
    if not changes:
        click.echo("no entry changes on any node")
    lines: list[tuple[str, ...]] = []
    for node, found in changes.items():
        if wide:
            lines += ((node, str(change)) for change in found)
        else:
            lines.append((node, counted(found)))
    if lines:
        print_columns(("NODE", "ENTRIES"), lines)


def counted(changes: Iterable[Change]) -> str:
    """The number of changes by table: `elements +12 -3, routes +1`."""
    found: dict[str, Counter[str]] = {}
    for change in changes:
        sign = "+" if change.old is None else "-" if change.new is None else "~"
        found.setdefault(change.key.table, Counter())[sign] += 1
    return ", ".join(
        f"{table} {' '.join(f'{sign}{count}' for sign, count in sorted(signs.items()))}"
        for table, signs in sorted(found.items())
    )


def summary(flows: Sequence[FlowChange], offers: Sequence[OfferChange]) -> str:
    """One sentence that says whether traffic changes."""
    opens = sum(1 for change in flows if change.opened) + sum(1 for c in offers if c.opens)
    closes = sum(1 for change in flows if change.closed) + sum(1 for c in offers if c.closes)
    if not flows and not offers:
        return NOTHING
    said = [text for count, text in ((closes, "denies"), (opens, "allows")) if count]
    unknown = any(c.unknown for c in flows) or any(c.unknown for c in offers)
    if unknown:
        rest = "; what it does to others is not known"
        return f"This change {' and '.join(said)} traffic{rest}." if said else NOT_KNOWN
    if not said:
        return "Some Services answer otherwise; nothing is newly allowed or denied."
    return f"This change {' and '.join(said)} traffic."


def ports_of(change: FlowChange, *, opened: bool) -> dict[str, PortSet]:
    """The ports that open (or close), by family."""
    gains = {"IPv4": change.v4, "IPv6": change.v6}
    found = {name: gain.opened if opened else gain.closed for name, gain in gains.items()}
    return {name: ports for name, ports in found.items() if ports}
