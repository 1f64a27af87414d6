"""`steppe show`, `steppe status`, `steppe audit`: what the agents know, each row with its cause."""

from typing import Any

import click
from tabulate import tabulate

from steppe.cli.agents import ask, options, print_errors, print_json
from steppe.cli.audit_text import audit_lines
from steppe.printable import printable
from steppe.state.node import TABLES

IN_KERNEL = "in kernel"


@click.command(epilog="Example: steppe show routes --node node-a --cause Node/node-b")
@click.argument("table", type=click.Choice([*TABLES, "all"]), metavar="TABLE")
@click.option("--cause", default="", metavar="KIND/NS/NAME", help="Only rows this object asks for.")
@options
def show(table: str, cause: str, node: str | None, lab: str | None, output: str) -> None:
    """Show what a TABLE shall hold on each node, and the objects that ask for it.

    TABLE: links, addresses, routes, rules, neighbours, fdb, sysctls, elements, or all.

    Exit code: 0 shown, 1 an agent did not answer, 2 bad usage.
    """
    answers = ask(lab, node, f"show/{table}", {"cause": cause})
    if output == "json":
        print_json("steppe.show/v1", answers)
    else:
        print_rows([{"node": a["node"], **row} for a in answers for row in a.get("rows", ())])
    if print_errors(answers):
        raise SystemExit(1)


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a line for each row: node, entry, what is wrong with it, and its causes."""
    if not rows:
        click.echo("nothing")
        return
    late = any(row["state"] != IN_KERNEL for row in rows)
    table = [
        [
            row["node"],
            f"{row['key']} {row['value']}".rstrip(),
            *([row["state"]] if late else []),
            ", ".join(row["because"]),
        ]
        for row in rows
    ]
    headers = ["NODE", "ENTRY", *(["STATE"] if late else []), "BECAUSE"]
    click.echo(tabulate(table, headers, tablefmt="plain", disable_numparse=True))


STATUS_SECONDS = 10.0
"""Longer than an agent needs for 100,000 entries; one that has hung shall not hide the others."""


@click.command(epilog="Example: steppe status --lab lab -o json")
@options
def status(node: str | None, lab: str | None, output: str) -> None:
    """Tell how each node's agent is, what is not in its kernel, and which objects are wrong.

    Exit code: 0 all well, 1 something is wrong or an agent did not answer, 2 bad usage.
    """
    answers = ask(lab, node, "status", timeout=STATUS_SECONDS)
    if output == "json":
        print_json("steppe.status/v1", answers)
    else:
        _print_status([answer for answer in answers if "error" not in answer])
    silent = print_errors(answers)
    if silent or any(map(_is_wrong, answers)):
        raise SystemExit(1)


def _is_wrong(answer: dict[str, Any]) -> bool:
    away = not answer.get("api", {}).get("inSync")
    return away or any((not answer["ready"], answer["notInKernel"], answer["problems"]))


def _print_status(answers: list[dict[str, Any]]) -> None:
    table = [
        [
            a["node"],
            "ready" if a["ready"] else "not ready",
            "in sync" if a["api"]["inSync"] else "away",
            a["fabric"],
            a["nodes"],
            a["pods"],
            sum(a["entries"].values()),
            len(a["notInKernel"]),
            len(a["problems"]),
        ]
        for a in answers
    ]
    headers = ["NODE", "AGENT", "API", "FABRIC", "NODES", "PODS", "ENTRIES", "PENDING", "PROBLEMS"]
    click.echo(tabulate(table, headers, tablefmt="plain", disable_numparse=True))
    for answer in answers:
        if answer["reason"]:
            click.echo(printable(f"{answer['node']}: {answer['reason']}"))
        if not answer["api"]["inSync"]:
            why = answer["api"]["lastError"]
            click.echo(f"{answer['node']}: changes in the API do not all come in: {why}")
        for row in answer["notInKernel"]:
            click.echo(f"{answer['node']}: {row['table']} {row['key']} {row['state']}")
    told: dict[str, list[str]] = {}
    for answer in answers:
        for problem in answer["problems"]:
            where = " ".join(filter(None, (problem["object"], problem["field"])))
            said = printable(f"{where}: {problem['message']}")
            told.setdefault(said, []).append(answer["node"])
    for text, nodes in sorted(told.items()):
        click.echo(f"{text} (seen by {', '.join(nodes)})")


@click.command(epilog="Example: steppe audit --node node-a --repair")
@click.option("--repair", is_flag=True, help="Make the kernel agree at once.")
@options
def audit(repair: bool, node: str | None, lab: str | None, output: str) -> None:
    """Hold each node's kernel against what its tables shall hold.

    It also looks into pods, for tracked flows that go on to endpoints which are gone, and for what
    is not Steppe's but stops packets or leads them elsewhere: other programs' routes, ip rules,
    packet rules, IPsec policies, neighbours, and settings of links; each with the flows that it
    concerns. --repair leaves those alone.

    Exit code: 0 they agree, 1 they differ, or something else surely stops packets of the cluster,
    or an agent did not answer, 2 bad usage. What may stop packets (as a firewall of the node's) is
    told without changing it.
    """
    answers = ask(lab, node, "audit", method="POST" if repair else "GET")
    if output == "json":
        print_json("steppe.audit/v1", answers)
    else:
        click.echo("\n".join(audit_lines([answer for answer in answers if "error" not in answer])))
    silent = print_errors(answers)
    if silent or any(map(_is_amiss, answers)):
        raise SystemExit(1)


def _is_amiss(answer: dict[str, Any]) -> bool:
    stopped = any(other.get("sure") for other in answer.get("others", ()))
    return bool(answer.get("differences") or answer.get("flows") or stopped)
