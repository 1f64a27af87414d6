"""`steppe reach --explain`: the cause of every row, with near misses, as text and JSON."""

from collections.abc import Iterable
from typing import Any

import click

from steppe.cli.reach_table import because_text
from steppe.reach.document import ports_json
from steppe.reach.flows import Flow
from steppe.reach.matrix import bits
from steppe.reach.names import Names
from steppe.reach.reach import Reach
from steppe.reach.reasons import Explained, Reason, explained

_SHOWN = 6


def print_reasons(reach: Reach, names: Names, flows: Iterable[Flow]) -> None:
    """Print each row with its reasons, port by port."""
    for each in explained(reach, flows):
        click.echo(f"\n{names.senders(each.senders)} → {names.group(each.receiver)}")
        alike = len({reasons for _, reasons in each.reasons}) == 1
        for version, reasons in each.reasons[:1] if alike else each.reasons:
            _print_reasons(reasons, "" if alike else f"IPv{version} ")


def _print_reasons(reasons: Iterable[Reason], family: str) -> None:
    for reason in reasons:
        word = _word(reason)
        click.echo(f"  {family}{reason.ports}: {word}, {because_text(reason.because)}")
        for near in reason.near[:_SHOWN]:
            click.echo(f"      {near.cause} {near.text}")
        if len(reason.near) > _SHOWN:
            click.echo(f"      and {len(reason.near) - _SHOWN} more (-o json has all)")


def _word(reason: Reason) -> str:
    if reason.allowed is None:
        return "not known"
    return "allowed" if reason.allowed else f"denied ({reason.direction})"


def reasons_json(reach: Reach, flows: Iterable[Flow]) -> list[dict[str, Any]]:
    """The reasons by sender and receiver groups; ends are referred to by index."""
    return [_explained(each) for each in explained(reach, flows)]


def _explained(each: Explained) -> dict[str, Any]:
    return {
        "from": list(bits(each.senders)),
        "to": each.receiver,
        "reasons": {
            f"IPv{version}": [
                {
                    "ports": ports_json(reason.ports),
                    "allowed": reason.allowed,
                    "direction": reason.direction or None,
                    "because": [str(cause) for cause in reason.because],
                    "near": [{"rule": str(n.cause), "text": n.text} for n in reason.near],
                }
                for reason in reasons
            ]
            for version, reasons in each.reasons
        },
    }
