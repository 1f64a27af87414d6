"""Sends the probes: sockets made in each source's namespace, exchanges in one event loop.

No process and no thread a source: a socket stays in the namespace it was made in, wherever it is
used. At most CONCURRENT exchanges are under way, so a hundred pods do not flood the machine.
"""

import asyncio
import itertools
import socket
import time

import msgspec

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.resources import PODS
from steppe_lab import netns
from steppe_lab.probe.dial import Answer, dial, make_socket
from steppe_lab.probe.endpoints import host_endpoints, pod_endpoints
from steppe_lab.probe.plan import Probe, probes
from steppe_lab.ready import Say
from steppe_lab.record import LabError, Record, paths

CONCURRENT = 48
PROGRESS_SECONDS = 2.0

_VERSIONS = {"dual": (4, 6), "ipv4": (4,), "ipv6": (6,)}


class Result(msgspec.Struct, frozen=True):
    """A probe and its result."""

    source: str
    target: str
    relation: str
    family: str
    protocol: str
    port: int
    expect: tuple[str, ...]
    seen: str
    milliseconds: float
    error: str

    @property
    def ok(self) -> bool:
        return not self.error


class Report(msgspec.Struct, frozen=True, tag_field="schema", tag="steppe.lab-probe/v1"):
    """Every result, and the pods that were not probed."""

    ok: bool
    results: tuple[Result, ...]
    skipped: tuple[str, ...]


def probe_lab(record: Record, family: str, say: Say) -> Report:
    """Probe every pair of a lab, in the families asked for."""
    versions = tuple(v for v in _VERSIONS[family] if v in _VERSIONS[record.options.family])
    if not versions:
        raise LabError(f"lab {record.options.name!r} has no {family}")
    return asyncio.run(_probe_lab(record, versions, say))


async def _probe_lab(record: Record, versions: tuple[int, ...], say: Say) -> Report:
    async with Client(load_config(record.kubeconfig), user_agent="steppe-lab") as client:
        objects, _ = await client.list(PODS)
    pods, skipped = pod_endpoints(objects, paths(record.options.name).root)
    if not pods:
        raise LabError(
            "there is no ready pod to probe; for example `kubectl apply -f examples/app.yaml`"
        )
    with host_endpoints(record.options) as hosts:
        results = await _send_all(probes((*pods, *hosts), versions), say)
    return Report(all(result.ok for result in results), results, skipped)


async def _send_all(planned: tuple[Probe, ...], say: Say) -> tuple[Result, ...]:
    results: list[Result] = []
    said = time.monotonic()
    for _, group in itertools.groupby(planned, key=lambda probe: probe.source.name):
        rest = tuple(group)
        while rest:
            some, rest = rest[:CONCURRENT], rest[CONCURRENT:]
            results += await _send(some)
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                say(f"{len(results)} of {len(planned)} probes")
    return tuple(results)


async def _send(some: tuple[Probe, ...]) -> list[Result]:
    """Probes of one source, side by side."""
    sockets: list[socket.socket] = netns.inside(
        some[0].source.netns, lambda: [make_socket(p.version, p.protocol) for p in some]
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            pairs = zip(sockets, some, strict=True)
            running = [tasks.create_task(dial(sock, probe)) for sock, probe in pairs]
    finally:
        for sock in sockets:
            sock.close()
    return [judge(probe, task.result()) for probe, task in zip(some, running, strict=True)]


def judge(probe: Probe, answer: Answer) -> Result:
    """A probe succeeds when it is answered, and the receiver saw the source it should see."""
    error = answer.error
    if not error and probe.expect and answer.seen not in probe.expect:
        error = f"seen as {answer.seen or 'nobody'}, not as {' or '.join(probe.expect)}"
    return Result(
        probe.source.name,
        probe.target.name,
        f"{probe.source.kind} → {probe.target.kind}",
        f"ipv{probe.version}",
        probe.protocol,
        probe.port,
        probe.expect,
        answer.seen,
        answer.milliseconds,
        error,
    )
