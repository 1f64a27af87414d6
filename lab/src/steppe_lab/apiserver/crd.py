"""CustomResourceDefinitions: their kinds are served at once, and deleted with all their objects.

A definition holds a finalizer, as in Kubernetes, until the last object of its kind is gone.
"""

from steppe.admission.model import Json
from steppe_lab.apiserver.api import Api
from steppe_lab.apiserver.behaviour import Behaviour
from steppe_lab.apiserver.kinds import FieldError, custom_kinds, established
from steppe_lab.apiserver.store import Record
from steppe_lab.apiserver.verbs.delete import Options, delete_object

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


class DefinitionBehaviour(Behaviour):
    """Keeps the registry in step with the stored definitions."""

    def __init__(self, api: Api) -> None:
        self._api = api
        for record in tuple(api.store.collection(DEFINITIONS).records.values()):
            self._serve(record)

    def before_create(self, obj: Json) -> list[FieldError]:
        metadata = obj["metadata"]
        others = [name for name in metadata.get("finalizers") or [] if name != _CLEANUP]
        metadata["finalizers"] = [*others, _CLEANUP]
        obj["status"] = established(obj, self._api.clock())
        return []

    def before_update(self, old: Json, new: Json) -> list[FieldError]:
        if old["spec"] != new["spec"]:
            new["status"] = established(new, self._api.clock())
        return []

    def stored(self, record: Record) -> None:
        self._serve(record)
        if "deletionTimestamp" in record.object["metadata"]:
            self._clear(record)

    def removed(self, record: Record) -> None:
        self._api.registry.withdraw(record.key[1])
        self._api.behaviours.pop(record.key[1], None)

    def _serve(self, record: Record) -> None:
        # A definition's name is PLURAL.GROUP, which is also the name its objects are stored by.
        name = record.key[1]
        self._api.registry.serve(name, custom_kinds(record.object))
        self._api.behaviours[name] = _ObjectBehaviour(self, name)

    def _clear(self, record: Record) -> None:
        """Delete every object of a terminating definition, then remove its finalizer."""
        kinds = custom_kinds(record.object)
        for held in tuple(self._api.store.collection(record.key[1]).records.values()):
            if kinds and "deletionTimestamp" not in held.object["metadata"]:
                delete_object(self._api, kinds[0], held, Options())
        self.release(record.key[1])

    def release(self, name: str) -> None:
        """Remove the finalizer of a definition that is going and has no objects left."""
        record = self._api.store.get(DEFINITIONS, "", name)
        if record is None or self._api.store.collection(name).records:
            return
        obj = record.copy()
        metadata = obj["metadata"]
        if "deletionTimestamp" not in metadata:
            return
        metadata["finalizers"] = [f for f in metadata.get("finalizers") or [] if f != _CLEANUP]
        if metadata["finalizers"]:
            self._api.store.put(DEFINITIONS, obj)
        else:
            self.removed(self._api.store.remove(DEFINITIONS, obj))


class _ObjectBehaviour(Behaviour):
    """Deleting the last object of a terminating definition deletes the definition."""

    def __init__(self, definitions: DefinitionBehaviour, name: str) -> None:
        self._definitions = definitions
        self._name = name

    def removed(self, record: Record) -> None:
        del record
        self._definitions.release(self._name)
