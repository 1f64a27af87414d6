"""What an archive of `steppe sysdump` is made of, one part after the other.

A part that cannot be read is named with the reason, and the others are read all the same.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from steppe.cli.agents import Agent, OnThisMachine, sockets
from steppe.cli.source import BadInput, Source, config_of, lab_record, read
from steppe.client.errors import ApiError, UnreachableError
from steppe.errors import SteppeError
from steppe.manifests.documents import ref_of
from steppe.manifests.shareable import shareable

LOG_BYTES = 10_000_000
"""The most that is kept of one process's log: its end."""
QUESTIONS = ("status", "show/all", "audit", "denied")
"""What each agent in reach is asked (agent/server.py)."""

Json = dict[str, Any]
Say = Callable[[str], None]


class Part(msgspec.Struct, frozen=True):
    """A file of the archive."""

    name: str
    content: bytes


class Unread(msgspec.Struct, frozen=True):
    """What could not be read, and why."""

    what: str
    why: str


def parts(
    kubeconfig: str, context: str, lab: str | None, node: str | None, say: Say
) -> Iterator[Part | Unread]:
    """The parts of a live cluster's archive, or of the agents and the lab on this machine."""
    if kubeconfig or context:
        config_of(kubeconfig, context)
        source = Source(kubeconfig=kubeconfig, context=context)
        yield from _objects(source)
        yield from _of_cluster(kubeconfig, context, node, say)
        yield from _of_pods(kubeconfig, context, node, say)
        return
    asked = sockets(lab, node)
    name = _lab_of(asked[0])
    nodes = [path.parent.name if name else "this" for path in asked]
    yield from _of_agents(zip(nodes, map(OnThisMachine, asked), strict=True), say)
    if not name:
        yield Unread("objects", "they are the API server's: give --kubeconfig FILE")
        return
    yield from _objects(Source(lab=name))
    for process, path in sorted(lab_record(name).logs.items()):
        part, _, of = process.partition("/")
        if node in (None, of):
            file = f"{_folder(of)}/{part}.log" if of else f"logs/{part}.log"
            yield _log_file(file, Path(path))


def _lab_of(socket: Path) -> str:
    """The lab of an agent's socket (LABS/NAME/nodes/NODE/agent.sock); "" if it is of none."""
    return socket.parents[2].name if socket.parent.parent.name == "nodes" else ""


def _objects(source: Source) -> Iterator[Part | Unread]:
    try:
        found = read(source)
    except BadInput as error:
        yield Unread("objects", error.message)
        return
    documents = [shareable(each.content) for each in found.manifests]
    documents.sort(key=lambda each: (ref_of(each).full_kind, ref_of(each)))
    for kind, same in groupby(documents, key=lambda each: ref_of(each).full_kind):
        items = {"apiVersion": "v1", "kind": "List", "items": list(same)}
        yield Part(f"objects/{kind}.json", _pretty(items))
    yield from (Unread("objects", gap) for gap in found.gaps)


def _of_agents(asked: Iterable[tuple[str, Agent]], say: Say) -> Iterator[Part | Unread]:
    """What the agents of these nodes answer; one that does not is not asked further."""
    for node, agent in asked:
        for question in QUESTIONS:
            say(f"{question} of node {node}")
            try:
                answer = agent.ask(question)
            except SteppeError as error:
                yield Unread(f"{_folder(node)}, from {question} on", str(error))
                break
            yield Part(f"{_folder(node)}/{question.partition('/')[0]}.json", _pretty(answer))


def _log_file(name: str, path: Path) -> Part | Unread:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return Part(name, file.read(LOG_BYTES))
    except OSError as error:
        return Unread(name, f"{path}: {error.strerror}")


def _of_cluster(
    kubeconfig: str, context: str, node: str | None, say: Say
) -> Iterator[Part | Unread]:
    """Each part as it is asked for: the logs of a large cluster are larger than our memory."""
    # Imported late: asking an agent on this machine does not need the HTTP client.
    import asyncio

    from steppe.client.client import Client

    config = config_of(kubeconfig, context)

    async def collect() -> AsyncIterator[Part | Unread]:
        async with Client(config, "steppe-sysdump") as client:
            for some in (_reports(client, node), _events(client), _logs(client, node, say)):
                async for each in some:
                    yield each

    async def following() -> Part | Unread | None:
        return await anext(found, None)

    found = collect()
    with asyncio.Runner() as runner:
        try:
            while (each := runner.run(following())) is not None:
                yield each
        except SteppeError as error:
            yield Unread("reports, events and logs", str(error))


def _of_pods(kubeconfig: str, context: str, node: str | None, say: Say) -> Iterator[Part | Unread]:
    from steppe.cli.pods import agents_of

    try:
        found = agents_of(kubeconfig, context)
    except SteppeError as error:
        yield Unread("answers of the agents", str(error))
        return
    if not found:
        yield Unread("answers of the agents", "no pod of the cluster is one of Steppe's agent")
    asked = ((each.node, each) for each in found if node in (None, each.node))
    yield from _of_agents(asked, say)


async def _reports(client: Any, node: str | None) -> AsyncIterator[Part | Unread]:
    from steppe.cli.reported import read_reports

    try:
        reports = await read_reports(client)
    except ApiError as error:
        yield Unread("reports of the agents", str(error))
        return
    for each in reports:
        if node in (None, each["node"]):
            yield Part(f"{_folder(each['node'])}/report.json", _pretty(each))


async def _events(client: Any) -> AsyncIterator[Part | Unread]:
    from steppe.client.resources import EVENTS

    try:
        events, _ = await client.list(EVENTS)
    except ApiError as error:
        yield Unread("events", str(error))
        return
    ours = [each for each in events if _writer(each).startswith("steppe")]
    yield Part("events.json", _pretty({"apiVersion": "v1", "kind": "List", "items": ours}))


def _writer(event: Json) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    return str(
        event.get("reportingComponent")
        or event.get("reportingController")
        or source.get("component", "")
    )


async def _logs(client: Any, node: str | None, say: Say) -> AsyncIterator[Part | Unread]:
    from steppe.cli.pods import LABELS
    from steppe.client.resources import PODS

    try:
        pods, _ = await client.list(PODS, label_selector=LABELS)
    except ApiError as error:
        yield Unread("logs of the agents", str(error))
        return
    for pod in pods:
        on = pod["spec"].get("nodeName", "")
        if node not in (None, on):
            continue
        say(f"log of node {on}")
        for each in pod.get("status", {}).get("containerStatuses") or ():
            for previous in (False, True)[: 1 + bool(each.get("restartCount"))]:
                name = f"{_folder(on)}/{each['name']}{'-before' if previous else ''}.log"
                yield await _log(client, pod["metadata"], each["name"], name, previous)


async def _log(client: Any, pod: Json, container: str, name: str, previous: bool) -> Part | Unread:
    from steppe.client.logs import log

    where = (pod["name"], pod["namespace"], container)
    try:
        return Part(name, await log(client, *where, LOG_BYTES, previous=previous))
    except (ApiError, UnreachableError) as error:
        return Unread(name, str(error))


def _folder(node: str) -> str:
    """A node's folder in the archive; no name leads out of it."""
    return f"nodes/{quote(node, safe='')}"


def _pretty(document: Json) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"
