"""The cluster before and after a change, and what of the change an API server does not take."""

from collections.abc import Mapping

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


def states(base: Collected, change: Collected, *, delete: bool) -> States:
    """The states; objects that may not be changed as asked keep what they were."""
    if delete:
        after = deleted(base.objects, [*change.objects, *change.refused])
        refused = {ref: each for ref, each in base.refused.items() if ref not in change.refused}
    else:
        fixed = _fixed(base, change)
        objects = {ref: doc for ref, doc in change.objects.items() if ref not in fixed}
        after = applied(base.objects, objects)
        kept = {ref: each for ref, each in base.refused.items() if ref not in change.objects}
        refused = {**kept, **change.refused, **fixed}
        change = msgspec.structs.replace(
            change,
            problems=(*change.problems, *(p for each in fixed.values() for p in each.problems)),
            refused={**change.refused, **fixed},
        )
    makers = {
        space: (*base.makers.get(space, ()), *change.makers.get(space, ()))
        for space in {**base.makers, **change.makers}
    }
    old = loaded_of(msgspec.structs.replace(base, gaps=(*base.gaps, *change.gaps)))
    new = loaded_of(Collected(after.objects, refused=refused, makers=makers))
    missing = () if not delete else tuple(r for r in after.missing if r not in base.refused)
    told = dict.fromkeys((*old.problems, *change.problems, *new.problems))
    return States(old, new, tuple(told), missing, not delete and bool(change.refused))


def _fixed(base: Collected, change: Collected) -> Mapping[ObjectRef, Refused]:
    """The objects of the change that differ from the base in what may not change."""
    found = {
        ref: changed(ref, base.objects[ref], document)
        for ref, document in change.objects.items()
        if ref in base.objects
    }
    return {ref: Refused(change.objects[ref], told) for ref, told in found.items() if told}
