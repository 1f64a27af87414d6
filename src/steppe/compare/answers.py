"""All that a comparison says: yes only where nothing is unknown that may turn it."""

from collections.abc import Iterator

import msgspec

from steppe.compare.conflicts import Conflict
from steppe.compare.redundant import Redundancy
from steppe.compare.relation import Relation
from steppe.compare.witness import Said

_CODES = {"yes": 0, "no": 1, "unknown": 2}


class Answers(msgspec.Struct, frozen=True):
    """The answers about one set of policies, or two; `names` are the sets'.

    `unsure` says why there may be pods that are not known: no yes about all pods is then certain.
    """

    names: tuple[str, ...]
    asked: frozenset[str]
    unsure: tuple[str, ...] = ()
    relation: Relation | None = None
    later: Relation | None = None
    """With pods in mind that are not there yet. It decides nothing: asked are those given."""
    redundancies: tuple[Redundancy, ...] = ()
    conflicts: tuple[Conflict, ...] = ()

    def hedged(self, said: Said) -> Said:
        """The answer, with all pods in mind that may be there."""
        return "unknown" if said == "yes" and self.unsure else said

    @property
    def redundant(self) -> Said:
        """Whether any policy or rule is redundant."""
        said = {self.hedged(each.said) for each in self.redundancies}
        return "yes" if "yes" in said else "unknown" if "unknown" in said else "no"

    @property
    def conflicting(self) -> Said:
        """Whether any two policies conflict."""
        if self.conflicts:
            return "yes" if any(each.certain for each in self.conflicts) else "unknown"
        return "unknown" if self.unsure else "no"

    @property
    def exit_code(self) -> int:
        """0 if all that was asked is well, 1 if something is not, else 2."""
        codes = set(self._codes())
        return 1 if 1 in codes else 2 if 2 in codes else 0

    def _codes(self) -> Iterator[int]:
        if self.relation is not None and "same" in self.asked:
            yield _CODES[self.hedged(self.relation.same)]
        if self.relation is not None and "contained" in self.asked:
            yield _CODES[self.hedged(self.relation.one_in_other.said)]
        flipped: dict[Said, Said] = {"yes": "no", "no": "yes", "unknown": "unknown"}
        if "redundant" in self.asked:
            yield _CODES[flipped[self.redundant]]
        if "conflicting" in self.asked:
            yield _CODES[flipped[self.conflicting]]
