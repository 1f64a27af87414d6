"""Label and field selectors: their grammar, and whether an object matches.

The grammar is that of k8s.io/apimachinery's pkg/labels and pkg/fields. Which fields a kind
can be selected by is told by `kinds.selectable_fields`; here an unknown one is an error.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from steppe_lab.apiserver.kinds.model import Json
from steppe_lab.apiserver.status import bad_request

_SETTED = re.compile(r"^\s*([^\s,()=!]+)\s+(in|notin)\s*\(([^()]*)\)\s*$")
_COMPARED = re.compile(r"^\s*([^\s,()=!<>]+)\s*(==|=|!=|>|<)\s*([^\s,()=!<>]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s,()=!<>]+)\s*$")


class Requirement(msgspec.Struct, frozen=True):
    """One comma-separated part of a selector."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in":
                return value in self.values
            case "notin":
                # "notin" and "!=" also select objects without the label.
                return value not in self.values
            case ">" | "<":
                return value is not None and self._compares(value)
            case _:
                return False

    def _compares(self, value: str) -> bool:
        (bound,) = self.values
        try:
            number, limit = int(value), int(bound)
        except ValueError:
            return False
        return number > limit if self.operator == ">" else number < limit


def _split(text: str) -> list[str]:
    """The parts between commas that stand outside parentheses."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _label_requirement(part: str, text: str) -> Requirement:
    if found := _SETTED.match(part):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], found[2], values)
    if found := _COMPARED.match(part):
        operator = {"=": "in", "==": "in", "!=": "notin"}.get(found[2], found[2])
        return Requirement(found[1], operator, frozenset((found[3],)))
    if found := _EXISTS.match(part):
        return Requirement(found[2], "!" if found[1] else "exists")
    raise bad_request(f"unable to parse requirement {part!r} of selector {text!r}")


def label_selector(text: str) -> tuple[Requirement, ...]:
    return tuple(_label_requirement(part, text) for part in _split(text))


def field_selector(text: str) -> tuple[Requirement, ...]:
    """Field selectors know only =, == and !=."""
    requirements = []
    for part in _split(text):
        found = re.match(r"^\s*([^\s=!]+)\s*(==|=|!=)(.*)$", part)
        if found is None:
            raise bad_request(f"invalid field selector {text!r}: cannot parse {part!r}")
        operator = "notin" if found[2] == "!=" else "in"
        requirements.append(Requirement(found[1], operator, frozenset((found[3].strip(),))))
    return tuple(requirements)


class Selection(msgspec.Struct, frozen=True):
    """Which objects a list or watch asks for."""

    namespace: str = ""
    name: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()
    field_values: Callable[[Json], Mapping[str, str]] | None = None

    @property
    def everything(self) -> bool:
        return not (self.namespace or self.name or self.labels or self.fields)

    def matches(self, obj: Json) -> bool:
        metadata = obj["metadata"]
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        if self.name and metadata["name"] != self.name:
            return False
        if self.labels:
            labels = metadata.get("labels") or {}
            if not all(requirement.matches(labels) for requirement in self.labels):
                return False
        return self._fields_match(obj)

    def _fields_match(self, obj: Json) -> bool:
        if not self.fields or self.field_values is None:
            return True
        values = self.field_values(obj)
        for requirement in self.fields:
            if requirement.key not in values:
                raise bad_request(f"field label not supported: {requirement.key}")
            if not requirement.matches(values):
                return False
        return True
