"""An explanation as text for people: the verdict first, then what decides, then every step."""

import textwrap
from collections.abc import Iterator, Sequence

import click

from steppe.ends.target import RangeTarget, ServiceTarget
from steppe.explain.judged import fate_of
from steppe.explain.model import Case, Explanation, Kind, Path, Step
from steppe.explain.sentences import cause_text, decided, listed, reason, seen_sender
from steppe.explain.steps import step_text
from steppe.kube.cause import Cause

MIN_WIDTH = 40
_COLOURS: dict[Kind, str] = {
    "allowed": "green",
    "denied": "red",
    "partly": "yellow",
    "doubtful": "yellow",
    "unknown": "yellow",
}
_FATES = {
    "delivered": "allowed",
    "denied": "denied",
    "refused": "refused",
    "dropped": "dropped",
    "unknown": "unknown",
}
_STAGE = 13
_SHOWN = 8
_ALIKE = 3


def text(said: Explanation, width: int) -> str:
    """The explanation as text; lines are wrapped to `width`, but words are never split."""
    return "\n".join(_lines(said, max(width, MIN_WIDTH)))


def _lines(said: Explanation, width: int) -> Iterator[str]:
    colour = _COLOURS[said.kind]
    yield from (click.style(line, fg=colour, bold=True) for line in _wrapped(said.verdict, width))
    yield from _conflicts(said, width)
    yield from _doubts(said, width)
    if said.kind == "unknown":
        yield from _wrapped("What follows is by what is known.", width)
    if said.changes:
        yield ""
        which = "Any one of these" if len(said.changes) > 1 else "This"
        yield from _wrapped(f"{which} would open it (tried, and it does):", width)
        for change in said.changes:
            yield from _wrapped(change.text, width, "  - ", "    ")
    for case, alike in _labelled_cases(said):
        yield ""
        yield from _case(said, case, alike, width)
    if said.basis == "promises":
        yield ""
        yield from _wrapped(_PROMISES, width, "~ ", "  ")
    for note in said.notes:
        yield from _wrapped(note, width, "Note: ", "      ")


def _conflicts(said: Explanation, width: int) -> Iterator[str]:
    """The lines about wrong entries in kernels, or about a bug in Steppe itself."""
    head = "FAULT OF STEPPE'S OWN, please report it"
    if said.basis == "kernels":
        head = "NOT AS IT SHALL BE"
    for conflict in said.conflicts:
        lines = _wrapped(f"{head}: {conflict}", width)
        yield from (click.style(line, fg="magenta", bold=True) for line in lines)
    if said.differences:
        yield ""
        yield from _wrapped("The kernels differ from what they shall hold:", width)
    for each in said.differences:
        yield from _wrapped(str(each), width, "  - ", "    ")
        yield from _causes(each.because, width)


def _doubts(said: Explanation, width: int) -> Iterator[str]:
    """The lines about what is not Steppe's on the nodes of the path."""
    if said.doubts:
        yield ""
        yield from _wrapped("Not as Steppe has made it, on the nodes of this path:", width)
    for each in said.doubts:
        yield from _wrapped(f"{each.node}: {each.entry}", width, "  - ", "    ")
        yield from _wrapped(each.effect, width, "    ", "    ")
        yield from _wrapped(f"cure: {each.cure}", width, "    ", "    ")


_PROMISES = (
    "is promised by Kubernetes' documentation. Nobody has looked at how this cluster's network "
    "keeps it."
)


def _labelled_cases(said: Explanation) -> Iterator[tuple[Case, str]]:
    """The cases with a label each; of cases with equal results only the first, labelled for all."""
    shown: list[tuple[Case, list[str]]] = []
    for case in said.cases:
        for known, alike in shown:
            if _result_key(said, known) == _result_key(said, case):
                alike.append(case.name)
                break
        else:
            shown.append((case, []))
    for case, alike in shown:
        more = [f"{len(alike) - _ALIKE} more"] if len(alike) > _ALIKE else []
        yield case, f", and {listed((*alike[:_ALIKE], *more))} alike" if alike else ""


def _result_key(said: Explanation, case: Case) -> object:
    """The key by which two cases have equal results: the same ends for the same reasons."""
    to = said.flow.destination
    one_of_many = isinstance(to, ServiceTarget) and to.service.headless
    return sorted(
        ("" if one_of_many else p.receiver, p.fate, str(p.share), p.decisive) for p in case.paths
    )


def _case(said: Explanation, case: Case, alike: str, width: int) -> Iterator[str]:
    by = f", coming in by {case.entering}" if case.entering and not case.by_nodes else ""
    source = said.flow.source
    many = isinstance(source, RangeTarget) and source.address is None
    stands = ", such as" if many else ":"
    head = f"{case.name}{alike}{stands} {case.packet}{by}"
    yield from (click.style(line, bold=True) for line in _wrapped(head, width))
    if len(case.paths) > 1:
        yield from _endpoints(said, case, width)
    detailed = [next((p for p in case.paths if p.open is open_), None) for open_ in (True, False)]
    for path in (path for path in detailed if path is not None):
        if len(case.paths) > 1:
            yield f"  the way to {path.receiver}:"
        yield from _path(said, path, width)


def _endpoints(said: Explanation, case: Case, width: int) -> Iterator[str]:
    """A line for each endpoint; only the first few if many have the same result."""
    for fate, word in _FATES.items():
        alike = [path for path in case.paths if fate_of(case, path) == fate]
        yield from _some_endpoints(said, fate, alike[:_SHOWN], width)
        if len(alike) > _SHOWN:
            yield f"  {len(alike) - _SHOWN} more are {word}; -o json lists them"


def _some_endpoints(
    said: Explanation, fate: str, paths: Sequence[Path], width: int
) -> Iterator[str]:
    to = said.flow.destination
    sticky = isinstance(to, ServiceTarget) and to.service.affinity_seconds
    among = "of the clients" if sticky else "of the time"
    for path in paths:
        colour = "yellow" if fate == "unknown" else "green" if path.open else "red"
        word = click.style(f"{_FATES[fate]:8}", fg=colour)
        yield f"  {word} " + _cut(f"{path.share!s:>4} {among}: {path.receiver}", width - 11)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def _path(said: Explanation, path: Path, width: int) -> Iterator[str]:
    sender, seen = str(said.flow.source), path.received
    out = decided(path.egress, "egress", sender, path.receiver, seen)
    into = decided(path.ingress, "ingress", path.receiver, seen_sender(said.flow, path), seen)
    if path.egress.by != "no pod":
        yield from _row("egress", out, width, path.egress.allowed)
    if path.egress.allowed and path.ingress.by != "no pod":
        yield from _row("ingress", into, width, path.ingress.allowed)
    for miss in path.misses:
        yield from _wrapped(
            f"{cause_text(miss.cause)} {miss.text}", width, _INDENT + "- ", _INDENT + "  "
        )
    yield from _steps(path.steps, width)
    if path.fate in ("refused", "dropped") and path.steps[-1].stage != path.fate:
        yield from _row(_FATES[path.fate], reason(said.flow, path), width, allowed=False)
        yield from _causes(path.decisive, width)
    if path.fate == "denied" and said.basis != "promises":
        yield from _row("denied", "dropped here, without an answer", width, allowed=False)
    if path.mtu is not None:
        yield from _row("mtu", f"{path.mtu.bytes} bytes: {path.mtu.text}", width)
        yield from _causes(path.mtu.because, width)
    if path.reply:
        yield "  and back:"
        yield from _steps(path.reply, width)


def _row(head: str, words: str, width: int, allowed: bool | None = None) -> Iterator[str]:
    lines = _wrapped(words, width, f"  {head:<{_STAGE}} ", " " * (_STAGE + 3))
    colour = {None: None, True: "green", False: "red"}[allowed]
    for number, line in enumerate(lines):
        if number == 0 and colour:
            yield "  " + click.style(head, fg=colour) + line[2 + len(head) :]
        else:
            yield line


def _steps(steps: Sequence[Step], width: int) -> Iterator[str]:
    node = ""
    for step in steps:
        if step.node and step.node != node:
            node = step.node
            yield f"  on {node}"
        mark = "~" if step.promised else ""
        yield from _wrapped(
            step_text(step.what), width, f"    {mark + step.stage:<{_STAGE - 2}} ", _INDENT
        )
        yield from _causes(step.because, width)


def _causes(causes: Sequence[Cause], width: int) -> Iterator[str]:
    for cause in causes:
        lines = _wrapped(f"by {cause_text(cause)}", width, _INDENT + "  ", _INDENT + "    ")
        yield from (click.style(line, dim=True) for line in lines)


_INDENT = " " * (_STAGE + 3)


def _wrapped(words: str, width: int, first: str = "", then: str = "") -> list[str]:
    return textwrap.wrap(
        words,
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]
