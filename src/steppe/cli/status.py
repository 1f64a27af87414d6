"""`steppe status`: how each node's agent is, asked on its node or read from a cluster's API."""

from typing import Any

import click
from tabulate import tabulate

from steppe.cli.agents import ask, options, print_errors, print_json
from steppe.client.reports import duration
from steppe.printable import printable

STATUS_SECONDS = 10.0
"""Longer than an agent needs for 100,000 entries; one that has hung shall not hide the others."""
HEADERS = (
    *("NODE", "AGENT", "VERSION", "API", "FABRIC", "NODES", "PODS", "ENTRIES", "PENDING"),
    "PROBLEMS",
)
REPORTED = "REPORTED"

Answer = dict[str, Any]


@click.command(
    epilog="Example: steppe status --lab lab -o json    or, from a laptop:  "
    "steppe status --kubeconfig ~/.kube/config"
)
@click.option("--context", default="", metavar="NAME", help="Which of a kubeconfig's contexts.")
@click.option(
    "--kubeconfig",
    default="",
    metavar="FILE",
    help="All nodes of this cluster, by what their agents report to its API.",
)
@options
def status(kubeconfig: str, context: str, node: str | None, lab: str | None, output: str) -> None:
    """Tell how each node's agent is, what is not in its kernel, and which objects are wrong.

    By default the agents on this machine are asked. With --kubeconfig or --context, every node of
    that cluster is in the table: agents report to the API once a minute, and within 5 s of a change
    of what is wrong. Such a report has at most 50 Problems, and of the entries that are not in the
    kernel only those that it refuses. A node without a report, or with one older than 150 s, is
    named. Reading needs `list` of Nodes, and of Leases in steppe-status.

    Exit code: 0 all well, 1 something is wrong or a node is not known of, 2 bad usage.
    """
    if kubeconfig or context:
        if lab is not None:
            raise click.UsageError("give one of --kubeconfig and --lab: which cluster is meant?")
        answers = _reported(kubeconfig, context, node)
    else:
        answers = ask(lab, node, "status", timeout=STATUS_SECONDS)
    if output == "json":
        print_json("steppe.status/v1", answers)
    else:
        click.echo("\n".join(lines(answers)))
    silent = print_errors(answers)
    if silent or any(map(_is_wrong, answers)):
        raise SystemExit(1)


def _reported(kubeconfig: str, context: str, node: str | None) -> list[Answer]:
    # Imported late: asking an agent on this machine does not need the HTTP client.
    import asyncio

    from steppe.cli.reported import read_reports
    from steppe.cli.source import config_of
    from steppe.client.client import Client

    config = config_of(kubeconfig, context)

    async def read() -> list[Answer]:
        async with Client(config, "steppe-status") as client:
            return await read_reports(client)

    answers = [each for each in asyncio.run(read()) if node in (None, each["node"])]
    if not answers:
        raise click.UsageError(f"the cluster has no node {node}" if node else "it has no nodes")
    return answers


def _is_wrong(answer: Answer) -> bool:
    away = not answer.get("api", {}).get("inSync")
    return away or any((not answer["ready"], answer["notInKernel"], answer["problems"]))


def lines(answers: list[Answer]) -> list[str]:
    """A table with a row for each node, then what is wrong; agents that did not answer have
    their reason told by the caller.
    """
    known = [answer for answer in answers if "error" not in answer]
    reported = any("reportedSecondsAgo" in answer for answer in answers)
    headers = [*HEADERS, *([REPORTED] if reported else [])]
    rows = [_row(answer) for answer in answers]
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True)
    return [table, *(text for answer in known for text in _faults(answer)), *_problems(known)]


def _row(answer: Answer) -> list[object]:
    age = answer.get("reportedSecondsAgo")
    ago = [] if age is None else [f"{duration(max(0, age))} ago"]
    if "error" in answer:
        # Nothing that was true once is shown as if it were true now.
        return [answer["node"], "not known", *["-"] * (len(HEADERS) - 2), *ago]
    return [
        answer["node"],
        "ready" if answer["ready"] else "not ready",
        printable(answer.get("version", "-")),
        "in sync" if answer["api"]["inSync"] else "away",
        answer["fabric"],
        answer["nodes"],
        answer["pods"],
        sum(answer["entries"].values()),
        len(answer["notInKernel"]),
        len(answer["problems"]),
        *ago,
    ]


def _faults(answer: Answer) -> list[str]:
    node, found = answer["node"], []
    if answer["reason"]:
        found.append(answer["reason"])
    if not answer["api"]["inSync"]:
        found.append(f"changes in the API do not all come in: {answer['api']['lastError']}")
    found += [f"{row['table']} {row['key']} {row['state']}" for row in answer["notInKernel"]]
    if answer.get("leftOut"):
        found.append(f"{answer['leftOut']} more are left out here; on the node: steppe status")
    return [printable(f"{node}: {text}") for text in found]


def _problems(answers: list[Answer]) -> list[str]:
    told: dict[str, list[str]] = {}
    for answer in answers:
        for problem in answer["problems"]:
            where = " ".join(filter(None, (problem["object"], problem["field"])))
            said = printable(f"{where}: {problem['message']}")
            told.setdefault(said, []).append(answer["node"])
    return [f"{text} (seen by {', '.join(nodes)})" for text, nodes in sorted(told.items())]
