"""The cluster before and after a change, and what of the change an API server does not take."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from steppe.kube.cause import ObjectRef, Problem
from steppe.manifests.checked import changed
from steppe.manifests.cluster import Loaded, loaded_of
from steppe.manifests.collect import Collected, Refused
from steppe.reach.changes import applied, deleted


class States(msgspec.Struct, frozen=True):
    """Both states; `missing` are objects to delete that are not there. `refused` is whether the
    change has objects that are not taken: what it does is then not known.
    """

    old: Loaded
    new: Loaded
    problems: tuple[Problem, ...]
    missing: tuple[ObjectRef, ...] = ()
    refused: bool = False


Kind = Literal["apply", "delete", "whole"]
"""What is done with the objects of a change; `whole`: they are applied, and all others deleted."""


def states(base: Collected, change: Collected, kind: Kind) -> States:
    """The states; objects that may not be changed as asked keep what they were."""
    if kind == "delete":
        after = deleted(base.objects, [*change.objects, *change.refused])
        refused = {ref: each for ref, each in base.refused.items() if ref not in change.refused}
    else:
        fixed = _fixed(base, change)
        objects = {ref: doc for ref, doc in change.objects.items() if ref not in fixed}
        stay = _staying(base, change) if kind == "whole" else base
        after = applied(stay.objects, objects)
        kept = {ref: each for ref, each in stay.refused.items() if ref not in change.objects}
        refused = {**kept, **change.refused, **fixed}
        change = msgspec.structs.replace(
            change,
            problems=(*change.problems, *(p for each in fixed.values() for p in each.problems)),
            refused={**change.refused, **fixed},
        )
    makers_before = {} if kind == "whole" else base.makers
    makers = {
        space: (*makers_before.get(space, ()), *change.makers.get(space, ()))
        for space in {**makers_before, **change.makers}
    }
    old = loaded_of(msgspec.structs.replace(base, gaps=(*base.gaps, *change.gaps)))
    new = loaded_of(Collected(after.objects, refused=refused, makers=makers))
    delete = kind == "delete"
    missing = () if not delete else tuple(r for r in after.missing if r not in base.refused)
    told = dict.fromkeys((*old.problems, *change.problems, *new.problems))
    return States(old, new, tuple(told), missing, not delete and bool(change.refused))


def _staying(base: Collected, change: Collected) -> Collected:
    """What of the base is in the change too; all else is deleted."""
    said = {*change.objects, *change.refused}
    return msgspec.structs.replace(
        base,
        objects={ref: document for ref, document in base.objects.items() if ref in said},
        refused={ref: each for ref, each in base.refused.items() if ref in said},
        makers={},
    )


def _fixed(base: Collected, change: Collected) -> Mapping[ObjectRef, Refused]:
    """The objects of the change that differ from the base in what may not change."""
    found = {
        ref: changed(ref, base.objects[ref], document)
        for ref, document in change.objects.items()
        if ref in base.objects
    }
    return {ref: Refused(change.objects[ref], told) for ref, told in found.items() if told}
