"""The words of this package: a kind, what is wrong with a field, how a field merges."""

from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]


class Kind(msgspec.Struct, frozen=True):
    """A resource type as discovery describes it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def gvk(self) -> tuple[str, str, str]:
        return self.group, self.version, self.kind


class FieldError(msgspec.Struct, frozen=True):
    """One cause of a 422 answer, in the words of metav1.StatusCause."""

    field: str
    reason: str
    message: str


class Context(msgspec.Struct, frozen=True):
    """What admission must know of the cluster besides the object."""

    families: tuple[str, ...] = ("IPv4", "IPv6")


class Structure(msgspec.Struct, frozen=True):
    """How two writers share a field: metav1's list and map types.

    `merge` is "atomic" (one owner for the whole value), "granular" (an object or map whose
    members are owned one by one), "set" (a list of scalars) or "map" (a list keyed by `keys`).
    """

    merge: str
    keys: tuple[str, ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()


ATOMIC = Structure("atomic")
GRANULAR = Structure("granular")
SET = Structure("set")


class Admitted(NamedTuple):
    """A defaulted object, what is wrong with it, and what to warn of."""

    object: Json
    errors: list[FieldError]
    warnings: list[str]
