"""What a few kinds do beyond being stored, in one small protocol.

Namespaces wait for their content, Services hold addresses, CustomResourceDefinitions serve
new kinds. Everything else keeps these defaults, which do nothing.
"""

from steppe.admission.model import FieldError, Json
from steppe_lab.apiserver.store import Record


class Behaviour:
    """Called around the writes of one resource; the object given may be changed in `before_*`."""

    def before_create(self, obj: Json) -> list[FieldError]:
        """Complete an admitted object, or say why that cannot be; nothing is reserved yet."""
        del obj
        return []

    def before_update(self, old: Json, new: Json) -> list[FieldError]:
        del old, new
        return []

    def before_terminating(self, obj: Json) -> None:
        """The object was asked to go, and will stay until its finalizers are gone."""
        del obj

    def holds(self, obj: Json) -> bool:
        """Whether something besides metadata.finalizers keeps a deleted object here."""
        del obj
        return False

    def stored(self, record: Record) -> None:
        """The object is in the store, in this version."""
        del record

    def removed(self, record: Record) -> None:
        """The object has left the store."""
        del record


class NamespaceBehaviour(Behaviour):
    """A namespace stays, Terminating, until a controller has emptied and finalized it."""

    def before_create(self, obj: Json) -> list[FieldError]:
        # "kubernetes" is the finalizer that every namespace controller removes.
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        labels = obj["metadata"].get("labels") or {}
        named = {"kubernetes.io/metadata.name": obj["metadata"]["name"]}
        obj["metadata"]["labels"] = labels | named
        return []

    def before_terminating(self, obj: Json) -> None:
        obj.setdefault("status", {})["phase"] = "Terminating"

    def holds(self, obj: Json) -> bool:
        return bool((obj.get("spec") or {}).get("finalizers"))
