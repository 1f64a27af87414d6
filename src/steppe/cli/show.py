"""`steppe show`, `steppe audit`: what the agents know, each row with its cause."""

from typing import Any

import click
from tabulate import tabulate

from steppe.cli.agents import ask, options, print_errors, print_json
from steppe.cli.audit_text import audit_lines
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


@click.command(
    epilog="Example: steppe audit --node node-a --repair    or, from a laptop:  "
    "steppe audit --kubeconfig ~/.kube/config"
)
@click.option("--repair", is_flag=True, help="Make the kernel agree at once.")
@click.option("--context", default="", metavar="NAME", help="Which of a kubeconfig's contexts.")
@click.option(
    "--kubeconfig",
    default="",
    metavar="FILE",
    help="All nodes of this cluster: the agents are asked in their pods, by its API.",
)
@options
def audit(
    *, repair: bool, kubeconfig: str, context: str, node: str | None, lab: str | None, output: str
) -> None:
    """Hold each node's kernel against what its tables shall hold.

    It also looks into pods, for tracked flows that go on to endpoints which are gone, and for what
    is not Steppe's but stops packets or leads them elsewhere: other programs' routes, ip rules,
    packet rules, IPsec policies, neighbours, and settings of links; each with the flows that it
    concerns. --repair leaves those alone.

    By default the agents on this machine are asked. With --kubeconfig or --context, those of all
    nodes of that cluster, in their pods: it needs `list` of Nodes and Pods, and `get` and `create`
    of pods/exec in the agents' namespace (which is as much as root on the nodes).

    A BGP session that is missing is told with the reason.

    Exit code: 0 they agree, 1 they differ, a session is missing, or something else surely stops
    packets of the cluster, or an agent did not answer, 2 bad usage. What may stop packets (as a
    firewall of the node's) is told without changing it.
    """
    method = "POST" if repair else "GET"
    if kubeconfig or context:
        if lab is not None:
            raise click.UsageError("give one of --kubeconfig and --lab: which cluster is meant?")
        # Imported late: asking an agent on this machine does not need the HTTP client.
        from steppe.cli.pods import ask_in_pods

        answers = ask_in_pods(kubeconfig, context, node, "audit", method=method)
    else:
        answers = ask(lab, node, "audit", method=method)
    if output == "json":
        print_json("steppe.audit/v1", answers)
    else:
        click.echo("\n".join(audit_lines([answer for answer in answers if "error" not in answer])))
    silent = print_errors(answers)
    if silent or any(map(_is_amiss, answers)):
        raise SystemExit(1)


def _is_amiss(answer: dict[str, Any]) -> bool:
    stopped = any(other.get("sure") for other in answer.get("others", ()))
    return stopped or any(answer.get(part) for part in ("differences", "flows", "sessions"))
