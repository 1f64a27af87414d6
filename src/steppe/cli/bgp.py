"""`steppe bgp`: each node's sessions, what it announces and what it learned, with causes."""

from collections.abc import Iterator
from typing import Any

import click
from tabulate import tabulate

from steppe.cli.agents import ask, options, print_errors, print_json

Answer = dict[str, Any]


@click.command(epilog="Example: steppe bgp --node node-a --routes")
@click.option("--routes", is_flag=True, help="Also what is announced and what was learned.")
@options
def bgp(routes: bool, node: str | None, lab: str | None, output: str) -> None:
    """Show each node's BGP sessions, and why one is missing.

    With --routes also the prefixes that the node announces, and those that it learned, by which
    session; every row with the object that asks for it. JSON has all of it, and the filters.

    Exit code: 0 every session is up, 1 one is missing or an agent did not answer, 2 bad usage.
    """
    answers = ask(lab, node, "bgp")
    known = [answer for answer in answers if "error" not in answer]
    if output == "json":
        print_json("steppe.bgp/v1", answers)
    else:
        click.echo("\n".join(lines(known, routes=routes)))
    silent = print_errors(answers)
    if silent or any(row["missing"] for answer in known for row in answer["sessions"]):
        raise SystemExit(1)


def lines(answers: list[Answer], *, routes: bool) -> Iterator[str]:
    """A table of sessions, with the reason below for each that is missing; then routes."""
    if not any(answer["speaks"] for answer in answers):
        yield "no node speaks BGP: the fabric is not bgp"
        return
    rows = [
        [
            answer["node"],
            row["name"],
            row["neighbor"],
            row["asn"],
            row["state"] if not row["missing"] else click.style(row["state"], fg="red"),
            row["since"],
            row["imported"],
            row["exported"],
            ", ".join(row["because"]),
        ]
        for answer in answers
        for row in answer["sessions"]
    ]
    headers = ["NODE", "SESSION", "NEIGHBOR", "AS", "STATE", "SINCE", "IN", "OUT", "BECAUSE"]
    yield _table(rows, headers) if rows else "no sessions"
    for answer in answers:
        for row in answer["sessions"]:
            if row["missing"]:
                yield click.style(f"{row['name']}: {row['missing']}", fg="red")
    if routes:
        yield from _routes(answers)


def _routes(answers: list[Answer]) -> Iterator[str]:
    announced = [
        [answer["node"], row["prefix"], " ".join((row["source"], *row["communities"])),
         ", ".join(row["because"])]
        for answer in answers
        for row in answer["announcements"]
    ]  # fmt: skip
    learned = [
        [answer["node"], row["prefix"], row["way"], row["session"], ", ".join(row["because"])]
        for answer in answers
        for row in answer["learned"]
    ]
    yield ""
    yield _table(announced, ["NODE", "ANNOUNCES", "AS", "BECAUSE"])
    yield ""
    yield _table(learned, ["NODE", "LEARNED", "WAY", "SESSION", "BECAUSE"])


def _table(rows: list[list[Any]], headers: list[str]) -> str:
    return tabulate(rows, headers, tablefmt="plain", disable_numparse=True)
