"""The kinds that a CustomResourceDefinition adds, one for each served version.

Objects are not converted between versions but for their apiVersion (conversion strategy None).
"""

from datetime import datetime

import msgspec

from steppe.admission.model import Admitted, Json, Kind
from steppe.admission.schema import Report, decoder
from steppe.admission.structural import Structural
from steppe.admission.validate.fields import Errors
from steppe.admission.validate.meta import metadata


class Column(msgspec.Struct, frozen=True):
    """One of additionalPrinterColumns."""

    name: str
    type: str
    path: str
    description: str = ""
    format: str = ""
    priority: int = 0


class ScalePaths(msgspec.Struct, frozen=True):
    """Where a custom resource keeps what its scale subresource shows."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""


class CustomKind(Kind, frozen=True):
    """A kind whose rules come from a schema that a user stored."""

    compiled: Structural = Structural({})
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    storage: bool = False
    warning: str = ""
    scale: ScalePaths | None = None

    def __hash__(self) -> int:
        return hash(self.gvk)

    def admit_create(self, obj: Json) -> Admitted:
        cleaned, errors = self._clean(obj)
        if "status" in self.subresources:
            cleaned.pop("status", None)
        return self._checked(cleaned, errors)

    def admit_update(self, old: Json, new: Json, subresource: str) -> Admitted:
        cleaned, errors = self._clean(new)
        if subresource == "status":
            # "PUT requests to the /status subresource … ignore changes to anything except the
            # status stanza"; managedFields are the server's own record.
            meta = dict(old.get("metadata", {}))
            for name in ("managedFields", "resourceVersion"):
                if name in cleaned.get("metadata", {}):
                    meta[name] = cleaned["metadata"][name]
            kept = {**old, "metadata": meta}
            kept.pop("status", None)
            if "status" in cleaned:
                kept["status"] = cleaned["status"]
            cleaned = kept
        elif "status" in self.subresources:
            cleaned.pop("status", None)
            if "status" in old:
                cleaned["status"] = old["status"]
        return self._checked(cleaned, errors)

    def _clean(self, obj: Json) -> tuple[Json, Errors]:
        errors = Errors()
        cleaned = self.compiled.pruned(obj, "", [], root=True)
        report = Report(self.kind)
        report.path.append(".metadata")
        cleaned["metadata"] = decoder("meta.v1.ObjectMeta").decode(obj.get("metadata", {}), report)
        errors.found += report.errors
        return cleaned, errors

    def _checked(self, obj: Json, errors: Errors) -> Admitted:
        warnings = [self.warning] if self.warning else []
        obj["apiVersion"], obj["kind"] = self.api_version, self.kind
        if not errors.found:
            self.compiled.fill(obj)
            metadata(errors, self, obj["metadata"])
            self.compiled.validate(errors, obj)
        if not errors.found:
            # "some validation rules were not checked because the object was invalid"
            self.compiled.judge(errors, obj)
        return Admitted(obj, errors.found, warnings)


def custom_kinds(crd: Json) -> tuple[CustomKind, ...]:
    """One kind for each served version of an admitted CustomResourceDefinition."""
    spec = crd["spec"]
    return tuple(_kind(spec, version) for version in spec["versions"] if version.get("served"))


def _kind(spec: Json, version: Json) -> CustomKind:
    names, sub = spec["names"], version.get("subresources", {})
    api_version = f"{spec['group']}/{version['name']}"
    warning = version.get("deprecationWarning") or f"{api_version} {names['kind']} is deprecated"
    return CustomKind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        subresources=tuple(name for name in ("status", "scale") if name in sub),
        compiled=Structural(version.get("schema", {}).get("openAPIV3Schema", {})),
        columns=_columns(version),
        selectable=tuple(item["jsonPath"] for item in version.get("selectableFields", ())),
        storage=version.get("storage") is True,
        warning=warning if version.get("deprecated") else "",
        scale=_scale(sub["scale"]) if "scale" in sub else None,
    )


def _columns(version: Json) -> tuple[Column, ...]:
    given = version.get("additionalPrinterColumns")
    if not given:
        return (Column("Age", "date", ".metadata.creationTimestamp"),)
    return tuple(
        Column(
            name=item["name"],
            type=item["type"],
            path=item["jsonPath"],
            description=item.get("description", ""),
            format=item.get("format", ""),
            priority=item.get("priority", 0),
        )
        for item in given
    )


def _scale(paths: Json) -> ScalePaths:
    return ScalePaths(
        spec_replicas=paths.get("specReplicasPath", ".spec.replicas"),
        status_replicas=paths.get("statusReplicasPath", ".status.replicas"),
        label_selector=paths.get("labelSelectorPath", ""),
    )


def established(crd: Json, now: datetime) -> Json:
    """The status of a definition whose names are accepted and whose kinds are served."""
    when = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {
            "type": type_,
            "status": "True",
            "lastTransitionTime": when,
            "reason": reason,
            "message": message,
        }
        for type_, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    known = {c["type"]: c for c in crd.get("status", {}).get("conditions", ())}
    stored = [version["name"] for version in crd["spec"]["versions"] if version.get("storage")]
    before = crd.get("status", {}).get("storedVersions", [])
    return {
        "conditions": [
            known[c["type"]] if known.get(c["type"], {}).get("status") == "True" else c
            for c in conditions
        ],
        "acceptedNames": crd["spec"]["names"],
        "storedVersions": [*before, *(name for name in stored if name not in before)],
    }
