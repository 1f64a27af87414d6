"""What on the nodes of a path may do otherwise than Steppe's tables: no yes is sure then."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from steppe.explain.model import Doubt, Explanation, Path
from steppe.findings.finding import Finding


def doubted(said: Explanation, found: Mapping[str, Iterable[Finding]]) -> Explanation:
    """The explanation with the findings, by node, that concern its open paths, and with those that
    may open what policies have closed.

    Findings that the walk takes into account are left out: the path is open in spite of them.
    """
    paths = [path for case in said.cases for path in case.paths if path.open or _denied(path)]
    doubts = tuple(dict.fromkeys(doubt for path in paths for doubt in _of_path(path, found)))
    if not doubts:
        return said
    first = doubts[0]
    more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
    verdict = (
        f"By Steppe's tables, {said.verdict.rstrip('.')}; "
        f"but on {first.node} {first.entry}: {first.effect}{more}."
    )
    kind = "doubtful" if said.kind in ("allowed", "denied") else said.kind
    return msgspec.structs.replace(said, kind=kind, verdict=verdict, doubts=doubts)


def _denied(path: Path) -> bool:
    """Whether policies stop it, and nothing else does."""
    return path.fate == "denied"


def _of_path(path: Path, found: Mapping[str, Iterable[Finding]]) -> Iterator[Doubt]:
    packets = (path.sent, path.received)
    for node in dict.fromkeys(step.node for step in (*path.steps, *path.reply) if step.node):
        for each in found.get(node, ()):
            matters = not each.walked if path.open else each.opens
            if matters and any(map(each.concerns, packets)):
                yield Doubt(node, each.entry, each.effect, each.cure)
