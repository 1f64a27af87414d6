"""What a list or watch selects by: labels (kube/selectors.py), fields, a namespace, a name.

The grammar of field selectors is that of k8s.io/apimachinery's pkg/fields. Which fields a kind
can be selected by is told by `kinds.selectable_fields`; here an unknown one is an error.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from steppe.admission.model import Json
from steppe.kube.selectors import (
    EVERYTHING,
    Operator,
    Requirement,
    Selector,
    parse_selector,
    split_parts,
)
from steppe_lab.apiserver.status import bad_request


def label_selector(text: str) -> Selector:
    """The selector in text; an ApiError (400) where it is none."""
    try:
        return parse_selector(text)
    except ValueError as error:
        raise bad_request(str(error)) from error


def field_selector(text: str) -> Selector:
    """Field selectors know only =, == and !=."""
    requirements = []
    for part in split_parts(text):
        found = re.match(r"^\s*([^\s=!]+)\s*(==|=|!=)(.*)$", part)
        if found is None:
            raise bad_request(f"invalid field selector {text!r}: cannot parse {part!r}")
        operator: Operator = "NotIn" if found[2] == "!=" else "In"
        requirements.append(Requirement(found[1], operator, frozenset((found[3].strip(),))))
    return Selector(tuple(requirements))


class Selection(msgspec.Struct, frozen=True):
    """Which objects a list or watch asks for."""

    namespace: str = ""
    name: str = ""
    labels: Selector = EVERYTHING
    fields: Selector = EVERYTHING
    field_values: Callable[[Json], Mapping[str, str]] | None = None

    @property
    def everything(self) -> bool:
        return not (self.namespace or self.name or self.filters)

    @property
    def filters(self) -> bool:
        """Whether labels or fields are looked at."""
        return self.labels != EVERYTHING or self.fields != EVERYTHING

    def matches(self, obj: Json) -> bool:
        metadata = obj["metadata"]
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        if self.name and metadata["name"] != self.name:
            return False
        if not self.labels.matches(metadata.get("labels") or {}):
            return False
        return self._fields_match(obj)

    def _fields_match(self, obj: Json) -> bool:
        if self.fields == EVERYTHING or self.field_values is None:
            return True
        values = self.field_values(obj)
        for requirement in self.fields.requirements:
            if requirement.key not in values:
                raise bad_request(f"field label not supported: {requirement.key}")
            if not requirement.matches(values):
                return False
        return True
