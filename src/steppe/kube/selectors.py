"""Label selectors, checked or as text: which objects do they select?

"A label selector is a label query over a set of resources. The result of matchLabels and
matchExpressions are ANDed. An empty label selector matches all objects." (metav1.LabelSelector)
How a selector that cannot be understood fails closed is decided by the policy that contains it.
"""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.policy_wire import LabelSelector
from steppe.kube.policy_wire import Requirement as WireRequirement

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
"""All operators. Gt and Lt exist for node selectors and in text, not in a LabelSelector."""

_SIGNS: Mapping[str, Operator] = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}
_SET_BASED = re.compile(r"^\s*([^\s,()=!]+)\s+(in|notin)\s*\(([^()]*)\)\s*$")
_COMPARED = re.compile(r"^\s*([^\s,()=!<>]+)\s*(==|=|!=|>|<)\s*([^\s,()=!<>]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s,()=!<>]+)\s*$")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class Requirement(msgspec.Struct, frozen=True):
    """One condition on labels."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                # "NotIn … matches all resources without a label with that key" as well
                # (Labels and Selectors: set-based requirement).
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case "Gt" | "Lt":
                return self._compares(labels.get(self.key, ""))
        return False  # an unknown operator matches nothing

    def _compares(self, held: str) -> bool:
        """Both values are read as integers (NodeSelectorRequirement.values)."""
        try:
            (number, limit) = int(held), int(*self.values)
        except (TypeError, ValueError):
            return False
        return number > limit if self.operator == "Gt" else number < limit

    def __str__(self) -> str:
        """As `kubectl -l` accepts it; In with one value is written as an equality."""
        values = ",".join(sorted(self.values))
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={values}"
            case "In" | "NotIn":
                return f"{self.key} {self.operator.lower()} ({values})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case "Gt" | "Lt":
                return f"{self.key} {'>' if self.operator == 'Gt' else '<'} {values}"


class Selector(msgspec.Struct, frozen=True):
    """Matches labels that meet all requirements; without requirements it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        # Called very often; `all` with a generator would take twice the time.
        for requirement in self.requirements:  # noqa: SIM110
            if not requirement.matches(labels):
                return False
        return True

    def __str__(self) -> str:
        return ", ".join(map(str, self.requirements)) or "everything"


EVERYTHING = Selector()


def labels_are(labels: Mapping[str, str]) -> Selector:
    """The selector equal to these matchLabels.

    "A single {key,value} in the matchLabels map is equivalent to an element of matchExpressions,
    whose key field is "key", the operator is "In", and the values array contains only "value"."
    (LabelSelector.matchLabels)
    """
    return Selector(
        tuple(Requirement(key, "In", frozenset((labels[key],))) for key in sorted(labels))
    )


def parse_selector(text: str) -> Selector:
    """A selector as `kubectl -l` accepts it (k8s.io/apimachinery/pkg/labels); ValueError names the
    part that is not valid.
    """
    return Selector(tuple(_parsed(part, text) for part in split_parts(text)))


def split_parts(text: str) -> list[str]:
    """The parts between commas that stand outside parentheses."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _parsed(part: str, text: str) -> Requirement:
    if found := _SET_BASED.match(part):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "In" if found[2] == "in" else "NotIn", values)
    if found := _COMPARED.match(part):
        return Requirement(found[1], _SIGNS[found[2]], frozenset((found[3],)))
    if found := _EXISTS.match(part):
        return Requirement(found[2], "DoesNotExist" if found[1] else "Exists")
    raise ValueError(f"unable to parse requirement {part!r} of selector {text!r}")


def selector_from(
    seen: LabelSelector | None, ref: ObjectRef, field: str, problems: list[Problem]
) -> tuple[Selector, bool]:
    """The selector of the requirements that can be understood, and whether these are all of them.

    Requirements are ANDed, so the returned selector matches at least what the complete one would.
    This is safe for the pods that a policy isolates, and not safe for a peer that it allows.
    """
    if seen is None:
        return EVERYTHING, True
    found = list(labels_are(seen.match_labels or {}).requirements)
    understood = True
    for index, expression in enumerate(seen.match_expressions or ()):
        fault = _fault(expression)
        if fault:
            cause = Cause(ref, f"{field}.matchExpressions[{index}]")
            problems.append(Problem(cause, fault))
            understood = False
            continue
        values = frozenset(expression.values or ())
        found.append(Requirement(expression.key, expression.operator, values))  # type: ignore[arg-type]
    # Sorted and without duplicates, so that selectors with the same meaning are equal values.
    unique = sorted(set(found), key=lambda r: (r.key, r.operator, sorted(r.values)))
    return Selector(tuple(unique)), understood


def _fault(seen: WireRequirement) -> str:
    """What is wrong with a requirement; "" if nothing is."""
    if not _NAME.fullmatch(seen.key.rpartition("/")[2]):
        return f"{seen.key!r} is no label key, so nothing is selected by it; correct the key"
    # "If the operator is In or NotIn, the values array must be non-empty. If the operator is
    # Exists or DoesNotExist, the values array must be empty." (LabelSelectorRequirement.values)
    match seen.operator:
        case "In" | "NotIn":
            return "" if seen.values else f"{seen.operator} needs at least one of values"
        case "Exists" | "DoesNotExist":
            return f"{seen.operator} takes no values; remove them" if seen.values else ""
        case _:
            return (
                f"the operator {seen.operator!r} is not known; "
                "use In, NotIn, Exists or DoesNotExist"
            )
