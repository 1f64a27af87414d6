"""Cases with their verdicts: what they come to together, and whether the paths agree with them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from steppe.explain.model import Case, Kind, Path, kind_of
from steppe.judge.verdict import Said, Verdict
from steppe.kube.doubt import Doubt
from steppe.oracle.promised_path import Fate, PromisedPath

_KINDS: Mapping[Said, Kind] = {"yes": "allowed", "no": "denied", "partly": "partly"}


def kind_of_all(cases: Sequence[Case]) -> Kind:
    """What the cases come to together: unknown as soon as one is."""
    kinds = {case.kind for case in cases}
    if "unknown" in kinds:
        return "unknown"
    return kinds.pop() if len(kinds) == 1 else "partly"


def doubts_of(cases: Iterable[Case]) -> tuple[Doubt, ...]:
    """What the answer hangs on, where it is not known."""
    verdicts = (case.judged for case in cases if case.judged is not None)
    return tuple(dict.fromkeys(doubt for said in verdicts for doubt in said.doubts))


def fate_of(case: Case, path: Path) -> Fate | Literal["unknown"]:
    """What becomes of a path's packet; "unknown" where the judge says so of its endpoint.

    A path goes by what is read. Where more hangs on what is not, its own fate is none to tell.
    """
    said = case.judged
    if said is None or said.said != "unknown":
        return path.fate
    to = (path.received.destination, path.received.destination_port)
    sure = any((way.address, way.port) == to and way.said != "unknown" for way in said.ways)
    return path.fate if sure else "unknown"


def disagreement(case: Case, promised: Sequence[PromisedPath]) -> Iterator[str]:
    """A sentence if the paths that the API promises come to another verdict than the judge's."""
    said: Verdict | None = case.judged
    if said is None or said.said == "unknown":
        return
    kind = kind_of(path.fate == "delivered" for path in promised)
    if _KINDS[said.said] != kind:
        yield f"{case.packet}: judged {said.said}, and the paths that are promised are {kind}"
