"""OpenAPI documents, as far as kubectl and client libraries read them.

kubectl wants to know of each kind: that PATCH takes fieldValidation and dryRun, its schema for
`explain`, and its merge keys for `apply`. Descriptions are not carried.
"""

from collections.abc import Iterable, Iterator

from steppe.admission.custom import CustomKind
from steppe.admission.model import Json, Kind
from steppe.admission.schema import shapes, type_name
from steppe_lab.apiserver.kinds.lists import ATOMIC_MAPS, ATOMIC_TYPES, LISTS, RETAIN_KEYS

_INFO = {"title": "Kubernetes", "version": "v1.32.0"}
_PATCHES = ("apply-patch+yaml", "json-patch+json", "merge-patch+json")
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_LIST_PARAMETERS = ("continue", "fieldSelector", "labelSelector", "limit", "resourceVersion")
_FULL = {
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
}
_SCALARS: dict[str, Json] = {
    "any": {},
    "boolean": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "int-or-string": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "string": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
}
# OpenAPI v2 knows no oneOf.
_SCALARS_V2 = {
    "int-or-string": {"type": "string", "format": "int-or-string"},
    "quantity": {"type": "string"},
}
# Server-side apply fills these into list keys.
_DEFAULTS = {
    "core.v1.ContainerPort.protocol": "TCP",
    "core.v1.ServicePort.protocol": "TCP",
}


class _Writer:
    """Schemas in one of the two dialects, and the types they lead to."""

    def __init__(self, prefix: str, scalars: dict[str, Json]) -> None:
        self.prefix = prefix
        self.scalars = scalars
        self.schemas: dict[str, Json] = {}

    def reference(self, type_: str) -> Json:
        return {"$ref": f"{self.prefix}{full_name(type_)}"}

    def add(self, type_: str) -> None:
        """Write a type and all that it mentions."""
        todo = [type_]
        while todo:
            name = todo.pop()
            if full_name(name) in self.schemas:
                continue
            self.schemas[full_name(name)] = self._struct(name)
            inner = (field.strip("[]{}") for field in shapes()[name].values())
            todo += [field for field in inner if "." in field]

    def _struct(self, type_: str) -> Json:
        marked = shapes()[type_]
        required = [name[:-1] for name in marked if name.endswith("!")]
        out: Json = {
            "type": "object",
            "properties": {
                name.removesuffix("!"): self._field(f"{type_}.{name.removesuffix('!')}", field)
                for name, field in marked.items()
            },
        }
        if required:
            out["required"] = required
        if type_ in ATOMIC_TYPES:
            out["x-kubernetes-map-type"] = "atomic"
        return out

    def _field(self, name: str, type_: str) -> Json:
        out = dict(self.value(type_))
        if type_.startswith("["):
            out |= _merging(name)
        if name in ATOMIC_MAPS:
            out["x-kubernetes-map-type"] = "atomic"
        if name == "apps.v1.DeploymentSpec.strategy":
            out["x-kubernetes-patch-strategy"] = "retainKeys"
        if name in _DEFAULTS:
            out["default"] = _DEFAULTS[name]
        return out

    def value(self, type_: str) -> Json:
        if type_.startswith("["):
            return {"type": "array", "items": self.value(type_[1:-1])}
        if type_.startswith("{"):
            return {"type": "object", "additionalProperties": self.value(type_[1:-1])}
        if "." in type_:
            # A reference may have no siblings, and a field has some.
            return {"allOf": [self.reference(type_)]} if self.v3 else self.reference(type_)
        return self.scalars[type_]

    @property
    def v3(self) -> bool:
        return self.prefix.startswith("#/components")


def _merging(name: str) -> Json:
    if name not in LISTS:
        return {"x-kubernetes-list-type": "atomic"}
    key, structure = LISTS[name]
    out: Json = {"x-kubernetes-list-type": structure.merge}
    if structure.keys:
        out["x-kubernetes-list-map-keys"] = list(structure.keys)
    if key is not None:
        retain = ",retainKeys" if name in RETAIN_KEYS else ""
        out["x-kubernetes-patch-strategy"] = f"merge{retain}"
        if key:
            out["x-kubernetes-patch-merge-key"] = key
    return out


def full_name(type_: str) -> str:
    """core.v1.Pod as io.k8s.api.core.v1.Pod."""
    package, _, rest = type_.partition(".")
    return f"{_FULL.get(package, f'io.k8s.api.{package}')}.{rest}"


def _schema_name(kind: Kind) -> str:
    if isinstance(kind, CustomKind):
        reverse = ".".join(reversed(kind.group.split(".")))
        return f"{reverse}.{kind.version}.{kind.kind}"
    return full_name(type_name(kind))


def _gvk(kind: Kind) -> Json:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


def _schemas(writer: _Writer, kinds: Iterable[Kind]) -> dict[str, Json]:
    for kind in kinds:
        if isinstance(kind, CustomKind):
            writer.add("meta.v1.ObjectMeta")
            writer.schemas[_schema_name(kind)] = _custom_schema(writer, kind)
        else:
            writer.add(type_name(kind))
    for kind in kinds:
        schema = writer.schemas[_schema_name(kind)]
        schema["x-kubernetes-group-version-kind"] = [_gvk(kind)]
    return writer.schemas


def _custom_schema(writer: _Writer, kind: CustomKind) -> Json:
    given = kind.compiled.schema
    if not writer.v3:
        # v2 cannot express all that a structural schema may hold.
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    meta = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": writer.value("meta.v1.ObjectMeta"),
    }
    return {**given, "properties": {**given.get("properties", {}), **meta}}


def _paths(kind: Kind) -> Iterator[tuple[str, str]]:
    """Each path of a kind, and what is found there: "list", "object" or a subresource."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    yield f"{root}{scope}/{kind.plural}", "list"
    yield f"{root}{scope}/{kind.plural}/{{name}}", "object"
    if "status" in kind.subresources:
        yield f"{root}{scope}/{kind.plural}/{{name}}/status", "status"


_VERBS = {
    "list": (("get", "list"), ("post", "post"), ("delete", "deletecollection")),
    "object": (("get", "get"), ("put", "put"), ("patch", "patch"), ("delete", "delete")),
    "status": (("get", "get"), ("put", "put"), ("patch", "patch")),
}


def _parameters(names: Iterable[str], *, v3: bool) -> list[Json]:
    text: Json = {"schema": {"type": "string"}} if v3 else {"type": "string"}
    return [{"name": name, "in": "query", "uniqueItems": True, **text} for name in names]


def _operations(kind: Kind, what: str, body: Json, *, v3: bool) -> Json:
    patches = (
        _PATCHES if isinstance(kind, CustomKind) else (*_PATCHES, "strategic-merge-patch+json")
    )
    types = [f"application/{name}" for name in patches]
    out: Json = {}
    for method, action in _VERBS[what]:
        operation: Json = {
            "operationId": f"{action}{kind.version}{kind.group}{kind.plural}{what}",
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(kind),
            "responses": {"200": {"description": "OK", **body}},
        }
        if method in ("post", "put", "patch"):
            names: tuple[str, ...] = _WRITE_PARAMETERS
            operation["parameters"] = _parameters(names, v3=v3)
        elif action == "list":
            operation["parameters"] = _parameters(_LIST_PARAMETERS, v3=v3)
        if method == "patch" and v3:
            operation["requestBody"] = {"content": {type_: {"schema": {}} for type_ in types}}
        elif method == "patch":
            operation["consumes"] = types
        out[method] = operation
    return out


def openapi_v3(group: str, version: str, kinds: Iterable[Kind]) -> Json:
    """The document of one group and version, given any kinds."""
    found = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    writer = _Writer("#/components/schemas/", _SCALARS)
    schemas = _schemas(writer, found)
    paths: Json = {}
    for kind in found:
        reference = {"$ref": f"#/components/schemas/{_schema_name(kind)}"}
        body = {"content": {"application/json": {"schema": reference}}}
        for path, what in _paths(kind):
            paths[path] = _operations(kind, what, body, v3=True)
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": paths,
        "components": {"schemas": schemas},
    }


def openapi_v2(kinds: Iterable[Kind]) -> Json:
    """One document of all kinds."""
    found = list(kinds)
    writer = _Writer("#/definitions/", {**_SCALARS, **_SCALARS_V2})
    schemas = _schemas(writer, found)
    paths: Json = {}
    for kind in found:
        body = {"schema": {"$ref": f"#/definitions/{_schema_name(kind)}"}}
        for path, what in _paths(kind):
            paths[path] = _operations(kind, what, body, v3=False)
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": schemas}
