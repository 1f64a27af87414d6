"""Finds and asks agents: this machine's own, those of a lab on it, or a cluster's in their pods."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import click
import msgspec

from steppe.agent import ask as agent
from steppe.errors import SteppeError

OWN = Path("/run/steppe")
LABS = OWN / "labs"

AT_ONCE = 16
"""How many agents are asked at the same time."""

F = TypeVar("F", bound=Callable[..., Any])


class Agent(Protocol):
    """One node's agent, wherever it is."""

    @property
    def node(self) -> str:
        """The node's name; "" if only the agent knows it."""

    def ask(
        self,
        what: str,
        query: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: dict[str, Any] | None = None,
        timeout: float = agent.TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Its answer, which has a member `error` if the question is invalid; AskError if none."""


class OnThisMachine(NamedTuple):
    """An agent whose socket is on this machine."""

    path: Path

    @property
    def node(self) -> str:
        return ""

    def __str__(self) -> str:
        return str(self.path)

    def ask(
        self,
        what: str,
        query: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: dict[str, Any] | None = None,
        timeout: float = agent.TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        return agent.ask(self.path, what, query, method=method, body=body, timeout=timeout)


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
    """The answer of every agent on this machine, as `ask_all`."""
    found = [OnThisMachine(path) for path in sockets(lab, node)]
    names = [each.path.parent.name for each in found]
    return ask_all(found, names, what, query, method=method, timeout=timeout)


def ask_all(
    asked: Sequence[Agent],
    names: Sequence[str],
    what: str,
    query: dict[str, str] | None = None,
    *,
    method: str = "GET",
    timeout: float = agent.TIMEOUT_SECONDS,
) -> list[dict[str, Any]]:
    """Every agent's answer, in their order; an error in place of a missing answer, with the name.

    All are asked at once, so that several silent ones take no longer than one.
    """

    def answer(each: Agent, name: str) -> dict[str, Any]:
        try:
            return {"node": name} | each.ask(what, query, method=method, timeout=timeout)
        except SteppeError as error:
            return {"node": name, "error": str(error)}

    with ThreadPoolExecutor(min(len(asked), AT_ONCE)) as threads:
        return list(threads.map(answer, asked, names))


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
