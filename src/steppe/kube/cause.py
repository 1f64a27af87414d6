"""Where in the cluster something was said: the answer to "which object put this here?"."""

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
    """Something a user wrote that cannot be served, why, and how to cure it.

    User input never raises: a Problem becomes an Event on the object and a line in
    `steppe status`, and everything else goes on.
    """

    cause: Cause
    message: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.message}"
