"""An end that is not among the objects, because its object was refused: the error says so."""

import re

from steppe.cli.source import BadInput
from steppe.manifests.cluster import Loaded

_BETWEEN = re.compile(r"[/.:\[\]]+")


def unknown_end(loaded: Loaded, error: Exception, *asked: str) -> BadInput:
    """The error, with the faults of the objects whose names the ends have."""
    words = {word for text in asked for word in _BETWEEN.split(text)}
    faults = [
        str(problem)
        for ref, refused in sorted(loaded.refused.items(), key=lambda item: item[0])
        if ref.name in words and ref.kind != "Namespace"
        for problem in refused.problems
    ]
    makers = sorted(
        {str(ref) for refs in loaded.makers.values() for ref in refs if ref.name in words}
    )
    faults += (f"{ref} is of a kind whose pods are not known here" for ref in makers)
    return BadInput("; ".join((str(error), *faults)))
