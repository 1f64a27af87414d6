"""References to objects and their fields: the answer to "which object put this entry here?"."""

import msgspec
from msgspec.structs import force_setattr

from steppe.kube.kinds import GROUP_OF
from steppe.printable import printable

_ITS_OWN = "?"
"""No API group has this name: it asks for the one that the kind is known by."""


class ObjectRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """A Kubernetes object by kind, namespace ("" for cluster-wide kinds), name and API group.

    Without a group it is the one that kube/kinds.py knows the kind by. Text names the group, as
    `kubectl` does (`Service.serving.knative.dev`), only where the kind alone would mean another.
    """

    kind: str
    namespace: str
    name: str
    group: str = _ITS_OWN

    def __post_init__(self) -> None:
        if self.group == _ITS_OWN:
            force_setattr(self, "group", GROUP_OF.get(self.kind, ""))

    @property
    def full_kind(self) -> str:
        """The kind, with its group where the kind alone would mean another."""
        known = GROUP_OF.get(self.kind, self.group)
        return self.kind if known == self.group else f"{self.kind}.{self.group}"

    def __str__(self) -> str:
        parts = (self.full_kind, self.namespace, self.name)
        return printable("/".join(part for part in parts if part))


class Cause(msgspec.Struct, frozen=True, order=True, gc=False):
    """An object and the field of it, in the API's own spelling, that asks for a table entry."""

    ref: ObjectRef
    field: str = ""

    def __str__(self) -> str:
        return f"{self.ref} {printable(self.field)}" if self.field else str(self.ref)


class Problem(msgspec.Struct, frozen=True, order=True):
    """Something in an object that Steppe cannot do: what, why, and how to cure it.

    Invalid user input raises no exception: it becomes a Problem, which is shown as an Event on
    the object and as a line in `steppe status`. Everything else continues.
    """

    cause: Cause
    message: str

    def __str__(self) -> str:
        return f"{self.cause}: {printable(self.message)}"
