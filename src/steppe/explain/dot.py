"""An explanation as a graph in Graphviz's DOT language: who sends, by what, and who gets it."""

from collections.abc import Iterator

from steppe.ends.target import ServiceTarget
from steppe.explain.judged import fate_of
from steppe.explain.model import Case, Explanation, Path
from steppe.explain.sentences import object_text
from steppe.kube.services import Service

_STYLES = {
    "delivered": ("allowed", 'color="#1a7f37"'),
    "denied": ("denied", 'color="#cf222e", style=dashed'),
    "refused": ("refused", 'color="#cf222e", style=dotted'),
    "dropped": ("dropped", 'color="#cf222e", style=dotted'),
    "unknown": ("not known", 'color="#8a6100", style=dotted'),
}
"""Lines differ by their style as well, for who cannot tell red from green."""


def dot(said: Explanation) -> str:
    """The graph, one line an edge; every way of every case is one."""
    return "\n".join(("digraph explain {", *(f"  {line}" for line in _lines(said)), "}"))


def _lines(said: Explanation) -> Iterator[str]:
    to = said.flow.destination
    service = to.service if isinstance(to, ServiceTarget) else None
    yield "rankdir=LR;"
    yield 'node [shape=box, fontname="sans-serif"]; edge [fontname="sans-serif"];'
    yield f"label={_quoted(said.verdict)};"
    told: dict[str, None] = {}
    for case in said.cases:
        for path in case.paths:
            told |= dict.fromkeys(_edges(said, service, case, path))
    yield from told


def _edges(said: Explanation, service: Service | None, case: Case, path: Path) -> Iterator[str]:
    sender = _quoted(str(said.flow.source))
    if len(said.cases) > 1 and case.name:
        sender = _quoted(f"{said.flow.source}\n{case.name}")
    if service is not None:
        name = _quoted(str(said.flow.destination))
        yield f"{name} [shape=ellipse];"
        yield f"{sender} -> {name};"
        sender = name
    causes = [object_text(each.ref) for each in path.decisive]
    port = path.received.destination_port
    receiver = _quoted(path.receiver or str(path.received.destination))
    word, style = _STYLES[fate_of(case, path)]
    text = f"{word} {path.received.protocol} {port}" if port else word
    label = _quoted("\n".join((text, *dict.fromkeys(causes))))
    yield f"{sender} -> {receiver} [{style}, label={label}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
