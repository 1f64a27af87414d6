"""Finds and asks agents: this machine's own, or those of a lab on it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from steppe.agent import ask as agent

OWN = Path("/run/steppe")
LABS = OWN / "labs"

AT_ONCE = 16
"""How many agents are asked at the same time."""

F = TypeVar("F", bound=Callable[..., Any])


def options(command: F) -> F:
    """Adds the options of every command that asks agents."""
    for option in (
        click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text"),
        click.option("--lab", metavar="NAME", help="Which lab, where several are up."),
        click.option("--node", metavar="NODE", help="One node; default: every one in reach."),
    ):
        command = option(command)
    return command


def sockets(lab: str | None, node: str | None) -> list[Path]:
    """The sockets of the agents to ask; a usage error if no lab or several labs fit."""
    own = OWN / "agent.sock"
    if lab is None and own.exists() and node is None:
        return [own]
    found = sorted(LABS.glob(f"{lab or '*'}/nodes/{node or '*'}/agent.sock"))
    names = sorted({path.parents[2].name for path in found})
    if len(names) > 1:
        raise click.UsageError(f"several labs are up ({', '.join(names)}): say --lab NAME")
    if not found:
        what = f"node {node}" if node else f"lab {lab}" if lab else "agent"
        raise click.UsageError(
            f"no {what} in reach on this machine; `steppe lab up` starts a lab, and on a cluster's "
            f"node the agent listens on {own}"
        )
    return found


def ask(
    lab: str | None,
    node: str | None,
    what: str,
    query: dict[str, str] | None = None,
    *,
    method: str = "GET",
    timeout: float = agent.TIMEOUT_SECONDS,
) -> list[dict[str, Any]]:
    """Every agent's answer, sorted by node; an error in place of a missing answer.

    All are asked at once, so that several silent ones take no longer than one.
    """

    def answer(path: Path) -> dict[str, Any]:
        name = {"node": path.parent.name}
        try:
            return name | agent.ask(path, what, query, method=method, timeout=timeout)
        except agent.AskError as error:
            return name | {"error": str(error)}

    asked = sockets(lab, node)
    with ThreadPoolExecutor(min(len(asked), AT_ONCE)) as threads:
        return list(threads.map(answer, asked))


def follow_agents(
    lab: str | None, node: str | None, what: str, query: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The lines that agents send, as they arrive, until all streams have ended."""
    for path, answer in agent.follow(sockets(lab, node), what, query):
        yield {"node": path.parent.name} | answer


def print_json(schema: str, answers: list[dict[str, Any]]) -> None:
    """The answers as one JSON document."""
    text = msgspec.json.format(msgspec.json.encode({"schema": schema, "nodes": answers}))
    click.echo(text.decode())


def print_errors(answers: list[dict[str, Any]]) -> bool:
    """Print which agents did not answer; returns whether there were any."""
    silent = [answer for answer in answers if "error" in answer]
    for answer in silent:
        click.echo(f"{answer['node']}: {answer['error']}", err=True)
    return bool(silent)
