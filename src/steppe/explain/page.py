"""An explanation as one HTML page without scripts, to keep and to pass on."""

from collections.abc import Iterable, Iterator
from html import escape

from steppe.explain.judged import fate_of
from steppe.explain.model import Case, Explanation, Path, Step
from steppe.explain.sentences import cause_text, decided, reason, seen_sender
from steppe.explain.steps import step_text
from steppe.kube.cause import Cause

_SIGNS = {
    "allowed": "✔ yes",
    "denied": "✘ no",
    "partly": "◐ partly",
    "doubtful": "? not sure",
    "unknown": "? not known",
}
"""Signs beside colours, for who cannot tell red from green."""
_FATES = {"delivered": "allowed", "unknown": "not known"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 60rem; }
body { padding: 0 1rem; }
h1 { font-size: 1.25rem; border-left: .5rem solid; padding-left: .7rem; }
h1.allowed { border-color: #1a7f37; } h1.denied { border-color: #b3261e; }
h1.partly, h1.doubtful, h1.unknown { border-color: #8a6100; }
h2 { font-size: 1.05rem; margin-top: 1.6rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .6rem; }
tr { border-top: 1px solid #8886; }
.because, .note { font-size: .92em; } code { overflow-wrap: anywhere; }
"""


def page(said: Explanation, gaps: Iterable[str] = ()) -> str:
    """The page; all text of the cluster is escaped."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(said.verdict)}</title><style>{_STYLE}</style></head><body>",
            *_body(said, gaps),
            "</body></html>",
        )
    )


def _body(said: Explanation, gaps: Iterable[str]) -> Iterator[str]:
    yield f'<h1 class="{said.kind}">{_SIGNS[said.kind]}: {escape(said.verdict)}</h1>'
    yield from _listed("Not as it shall be", (*said.conflicts, *map(str, said.differences)))
    yield from _listed("It hangs on this, which is not known", said.unknown)
    doubts = (f"{each.node}: {each.entry}: {each.effect}; {each.cure}" for each in said.doubts)
    yield from _listed("Not Steppe's, on the nodes of this path", doubts)
    if said.kind == "unknown":
        yield '<p class="note">What follows is by what is known.</p>'
    changes = [change.text for change in said.changes]
    yield from _listed("Any one of these would open it (tried, and it does)", changes)
    for case in said.cases:
        yield f"<h2>{escape(case.name)}: <code>{escape(str(case.packet))}</code></h2>"
        for path in case.paths:
            yield from _path(said, case, path)
    if said.basis == "promises":
        yield '<p class="note">~ is promised by Kubernetes\' documentation.</p>'
    yield from _listed("Notes", (*said.notes, *gaps))


def _listed(head: str, texts: Iterable[str]) -> Iterator[str]:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    if items:
        yield f"<h2>{escape(head)}</h2><ul>{items}</ul>"


def _path(said: Explanation, case: Case, path: Path) -> Iterator[str]:
    share = f" ({path.share} of the ways)" if len(case.paths) > 1 else ""
    fate = fate_of(case, path)
    yield f"<h3>to {escape(path.receiver)}{share}: {_FATES.get(fate, fate)}</h3><table>"
    sender = str(said.flow.source)
    out = decided(path.egress, "egress", sender, path.receiver, path.received)
    into = decided(
        path.ingress, "ingress", path.receiver, seen_sender(said.flow, path), path.received
    )
    yield _row("egress", out)
    if path.egress.allowed:
        yield _row("ingress", into)
    for miss in path.misses:
        yield _row("", f"{cause_text(miss.cause)} {miss.text}")
    for step in path.steps:
        yield _step(step)
    if not path.open:
        yield _row(path.fate, reason(said.flow, path), path.decisive)
    if path.mtu is not None:
        yield _row("mtu", f"{path.mtu.bytes} bytes: {path.mtu.text}", path.mtu.because)
    for step in path.reply:
        yield _step(step)
    yield "</table>"


def _step(step: Step) -> str:
    head = f"{'~' if step.promised else ''}{step.stage.value}"
    return _row(f"{step.node} {head}".strip(), step_text(step.what), step.because)


def _row(head: str, text: str, because: Iterable[Cause] = ()) -> str:
    causes = "".join(f'<div class="because">by {escape(cause_text(c))}</div>' for c in because)
    return f"<tr><th>{escape(head)}</th><td>{escape(text)}{causes}</td></tr>"
