"""Golden cases: a folder with `cluster.yaml` and `case.yaml`, and the texts they must give.

`tables.txt` holds one node's tables with causes, `trace.txt` the walks. A golden's diff is what
a reviewer reads first; `make golden` writes them anew.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import yaml

from steppe.compile.node import compile_cluster
from steppe.explain.steps import step_text
from steppe.manifests.cluster import cluster_from
from steppe.net.packet import Packet
from steppe.settings import Settings
from steppe.state.node import TABLES, NodeState
from steppe.walk.trace import Trace
from steppe.walk.walk import Walker

HERE = Path(__file__).parent


class Case(msgspec.Struct, frozen=True):
    settings: dict[str, Any]
    node: str
    walks: tuple[tuple[str, str], ...]


def folders() -> list[Path]:
    return sorted(path.parent for path in HERE.glob("*/case.yaml"))


def rendered(folder: Path) -> dict[str, str]:
    """The texts of a case by file name."""
    case = msgspec.convert(yaml.safe_load((folder / "case.yaml").read_text()), Case)
    documents = yaml.safe_load_all((folder / "cluster.yaml").read_text())
    cluster, unreadable = cluster_from(documents)
    states, problems = compile_cluster(Settings(**case.settings), cluster)
    walker = Walker(cluster, states)
    packets = [Packet(ip_address(a), ip_address(b)) for a, b in case.walks]
    tables = [*_tables(states[case.node]), *_problems((*unreadable, *problems))]
    traces = [line for packet in packets for line in _trace(packet, walker.walk(packet))]
    return {"tables.txt": "\n".join(tables) + "\n", "trace.txt": "\n".join(traces)}


def _tables(state: NodeState) -> Iterator[str]:
    for table in TABLES:
        rows = sorted(
            (str(key), str(entry.value), ", ".join(map(str, entry.because)))
            for key, entry in state.items()
            if key.table == table
        )
        if rows:
            yield f"{table}:"
            yield from (f"  {key} {value}".rstrip() + f"   [{why}]" for key, value, why in rows)


def _problems(problems: tuple[object, ...]) -> Iterator[str]:
    if problems:
        yield "problems:"
        yield from (f"  {problem}" for problem in problems)


def _trace(packet: Packet, trace: Trace) -> Iterator[str]:
    end = trace.end
    seen = f", which sees {end.source}" if end.kind in ("pod", "node", "outside") else ""
    yield f"{packet}: {' '.join(filter(None, (end.kind, end.target, end.reason)))}{seen}"
    for step in trace.steps:
        why = f"   [{', '.join(map(str, step.because))}]" if step.because else ""
        yield f"  {step.node}  {step.stage}  {step_text(step.what)}{why}"
    yield ""
