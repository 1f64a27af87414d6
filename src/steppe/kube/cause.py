"""References to objects and their fields: the answer to "which object put this entry here?"."""

import msgspec


class ObjectRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """A Kubernetes object by kind, namespace ("" for cluster-wide kinds) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        parts = (self.kind, self.namespace, self.name)
        return "/".join(part for part in parts if part)


class Cause(msgspec.Struct, frozen=True, order=True, gc=False):
    """An object and the field of it, in the API's own spelling, that asks for a table entry."""

    ref: ObjectRef
    field: str = ""

    def __str__(self) -> str:
        return f"{self.ref} {self.field}" if self.field else str(self.ref)


class Problem(msgspec.Struct, frozen=True, order=True):
    """Something in an object that Steppe cannot do: what, why, and how to cure it.

    Invalid user input raises no exception: it becomes a Problem, which is shown as an Event on
    the object and as a line in `steppe status`. Everything else continues.
    """

    cause: Cause
    message: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.message}"
