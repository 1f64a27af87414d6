"""`steppe denied`: packets that policies denied to pods, counted or live."""

from typing import Any

import click
import msgspec
from tabulate import tabulate

from steppe.cli.agents import ask, follow_agents, options, print_errors, print_json

SCHEMA = "steppe.denied/v1"


@click.command(epilog="Example: steppe denied --follow --lab lab")
@click.option("--follow", is_flag=True, help="Print packets as they are denied, until Ctrl-C.")
@options
def denied(follow: bool, node: str | None, lab: str | None, output: str) -> None:
    """Count the packets that policies denied to each pod, and name the policies.

    A packet is denied to a pod by all policies that guard it in that direction together: none of
    them lets it through. --follow prints a line a packet (-o json: a document a line), at most 10
    a second from each node and direction.

    Exit code: 0 shown, 1 an agent did not answer, 2 bad usage.
    """
    if follow:
        _follow(lab, node, output)
        return
    answers = ask(lab, node, "denied")
    if output == "json":
        print_json(SCHEMA, answers)
    else:
        _print_rows([{"node": a["node"], **row} for a in answers for row in a.get("rows", ())])
    if print_errors(answers):
        raise SystemExit(1)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("nothing denied")
        return
    table = [
        [row["node"], row["pod"], row["direction"], row["packets"], _policies(row)] for row in rows
    ]
    headers = ["NODE", "POD", "DIRECTION", "PACKETS", "GUARDED BY"]
    click.echo(tabulate(table, headers, tablefmt="plain", disable_numparse=True))


def _follow(lab: str | None, node: str | None, output: str) -> None:
    try:
        for packet in follow_agents(lab, node, "denied", {"follow": "true"}):
            if "error" in packet:
                print_errors([packet])
            elif output == "json":
                click.echo(msgspec.json.encode({"schema": SCHEMA, **packet}).decode())
            else:
                click.echo(_line(packet))
    except KeyboardInterrupt:
        return
    # A stream of an agent does not end by itself.
    click.echo("no agent is left to follow", err=True)
    raise SystemExit(1)


def _line(packet: dict[str, Any]) -> str:
    source, destination = (_end(packet[end]) for end in ("source", "destination"))
    port = f" {packet['port']}" if packet["port"] else ""
    return (
        f"{packet['time']}  {packet['direction']:7}  {source} > {destination}  "
        f"{packet['protocol']}{port}  {_policies(packet)}"
    )


def _end(end: dict[str, str]) -> str:
    return f"{end['name']} ({end['address']})" if end["name"] else end["address"]


def _policies(packet: dict[str, Any]) -> str:
    return ", ".join(packet["policies"]) or "the pod is not known yet"
