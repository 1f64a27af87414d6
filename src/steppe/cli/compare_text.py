"""What `steppe compare` prints, for people and for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from steppe.cli.reach_table import because_text
from steppe.compare.answers import Answers
from steppe.compare.conflicts import Conflict
from steppe.compare.redundant import Redundancy
from steppe.compare.relation import Contained
from steppe.compare.witness import Ruling, Witness
from steppe.compare.worlds import Worlds
from steppe.reach.document import doubts_json

SCHEMA = "steppe.compare/v1"
_WORDS = {"yes": "allowed", "no": "denied", "unknown": "not known"}


def lines(answers: Answers) -> Iterator[str]:
    """The answers as text, the one that was asked for first."""
    if answers.relation is not None:
        yield from _relation(answers)
    if "redundant" in answers.asked:
        yield from _redundancies(answers)
    if "conflicting" in answers.asked:
        yield from _conflicts(answers)
    for text in answers.unsure:
        yield f"Not known: {text}; so what is said of all pods may not hold for those."


def _relation(answers: Answers) -> Iterator[str]:
    if answers.relation is None:
        return
    one, other = answers.names
    said = answers.hedged(answers.relation.same)
    both = {
        "yes": f"{one} and {other} allow the same.",
        "no": f"{one} and {other} do not allow the same.",
        "unknown": f"It is not known whether {one} and {other} allow the same.",
    }
    yield both[said]
    relation, later = answers.relation, answers.later or answers.relation
    parts = (
        (one, other, relation.one_in_other, later.one_in_other),
        (other, one, relation.other_in_one, later.other_in_one),
    )
    for mine, theirs, now, then in parts:
        if said != "yes":
            yield from _contained(answers, mine, theirs, now)
        if now.said == "yes" and then.said != "yes" and then.witness is not None:
            more = "allows" if then.said == "no" else "may allow"
            yield f"Of new pods, {mine} {more} more than {theirs}:"
            yield from _proof(answers, then.witness)


def _contained(answers: Answers, mine: str, theirs: str, part: Contained) -> Iterator[str]:
    match answers.hedged(part.said):
        case "yes":
            yield f"{mine} allows no more than {theirs}."
        case "no":
            yield f"{mine} allows more than {theirs}:"
        case _:
            end = "." if part.witness is None else ":"
            yield f"It is not known whether {mine} allows more than {theirs}{end}"
    if part.witness is not None:
        yield from _proof(answers, part.witness)


def _proof(answers: Answers, proof: Witness) -> Iterator[str]:
    yield f"  {proof}"
    yield from _rulings(proof, [f"with {name}" for name in answers.names])


def _rulings(proof: Witness, when: Sequence[str]) -> Iterator[str]:
    width = max(map(len, when))
    for name, ruling in zip(when, proof.rulings, strict=False):
        yield f"    {name:<{width}}  {_WORDS[ruling.said]:<9}  {_because(ruling)}"


def _because(ruling: Ruling) -> str:
    return because_text(ruling.because)


def _redundancies(answers: Answers) -> Iterator[str]:
    found = [each for each in answers.redundancies if answers.hedged(each.said) != "no"]
    yield "REDUNDANT (by itself: after removing one, ask again)"
    for each in found:
        what = _called(each)
        if answers.hedged(each.said) == "yes":
            yield f"  {what}  removing it changes no flow"
        else:
            yield f"  {what}  not known"
            if each.witness is not None:
                yield f"      may change {each.witness}"
    if not found:
        yield "  nothing: without any of these, some flow changes (-o json says which)"


def _called(found: Redundancy) -> str:
    return str(found.cause) if found.is_rule else str(found.cause.ref)


def _conflicts(answers: Answers) -> Iterator[str]:
    yield "CONFLICTING"
    for each in answers.conflicts:
        yield f"  {each.allows}  allows, and"
        yield f"  {each.denies}  denies ({each.direction})"
        perhaps = "" if each.certain else ", if an address that is not known is there"
        yield f"      {each.witness}{perhaps}"
        yield f"      {_decided(each)}"
    if not answers.conflicts:
        yield "  nothing" if answers.conflicting == "no" else "  nothing that is known"


def _decided(found: Conflict) -> str:
    if found.open_order:
        return "both have one tier and priority: the API leaves open which decides"
    by = because_text(found.decides)
    if found.wins:
        return f"the one that {found.wins} decides: {by}"
    return f"neither decides: {by}"


def document(answers: Answers, worlds: Worlds) -> dict[str, Any]:
    """The answers as a JSON document: `steppe.compare/v1`."""
    said: dict[str, Any] = {"schema": SCHEMA, "sets": list(answers.names)}
    if answers.relation is not None:
        said["same"] = answers.hedged(answers.relation.same)
        said["contained"] = [
            _contained_json(answers, part)
            for part in (answers.relation.one_in_other, answers.relation.other_in_one)
        ]
    if answers.later is not None:
        said["newPods"] = [
            {"answer": part.said, "witness": _witness_json(part.witness)}
            for part in (answers.later.one_in_other, answers.later.other_in_one)
        ]
    if "redundant" in answers.asked:
        said["redundant"] = [_redundant_json(answers, each) for each in answers.redundancies]
    if "conflicting" in answers.asked:
        said["conflicting"] = [_conflict_json(each) for each in answers.conflicts]
    said["unsure"] = list(answers.unsure)
    said["aside"] = list(worlds.aside)
    said["worlds"] = [doubts_json(loaded) for loaded in worlds.loaded]
    return said


def _contained_json(answers: Answers, part: Contained) -> dict[str, Any]:
    return {"answer": answers.hedged(part.said), "witness": _witness_json(part.witness)}


def _redundant_json(answers: Answers, each: Redundancy) -> dict[str, Any]:
    return {
        "object": str(each.cause.ref),
        "field": each.cause.field if each.is_rule else None,
        "answer": answers.hedged(each.said),
        "witness": _witness_json(each.witness),
    }


def _conflict_json(each: Conflict) -> dict[str, Any]:
    return {
        "allows": str(each.allows),
        "denies": str(each.denies),
        "direction": each.direction,
        "wins": each.wins or None,
        "decides": [str(cause) for cause in each.decides],
        "openOrder": each.open_order,
        "certain": each.certain,
        "witness": _witness_json(each.witness),
    }


def _witness_json(proof: Witness | None) -> dict[str, Any] | None:
    """A flow with what the judge says under each set, or with and without what is redundant."""
    if proof is None:
        return None
    return {
        "from": proof.sender,
        "to": proof.receiver,
        "source": str(proof.source),
        "destination": str(proof.destination),
        "family": proof.family,
        "protocol": proof.protocol,
        "port": proof.port,
        "answers": [
            {"allowed": {"yes": True, "no": False}.get(r.said), "because": [*map(str, r.because)]}
            for r in proof.rulings
        ],
    }
