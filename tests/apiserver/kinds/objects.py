"""Kinds by name, and small objects to vary."""

from typing import Any

from steppe_lab.apiserver import kinds

CONTEXT = kinds.Context()
KINDS = {(kind.group, kind.kind): kind for kind in kinds.BUILTIN}
NETWORKING = "networking.k8s.io"


def kind(name: str, group: str = "") -> kinds.Kind:
    return KINDS[group, name]


def pod(**spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "nginx"}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container], **spec}}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    selector = {"matchLabels": {"a": "b"}}
    return {"metadata": {"name": "d"}, "spec": {"selector": selector, "template": template} | spec}


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


def errors(kind_: kinds.Kind, obj: dict[str, Any]) -> list[tuple[str, str]]:
    found = kinds.admit_create(kind_, obj, CONTEXT).errors
    return [(error.field, error.message) for error in found]


def admitted(kind_: kinds.Kind, obj: dict[str, Any]) -> dict[str, Any]:
    found = kinds.admit_create(kind_, obj, CONTEXT)
    assert not found.errors, found.errors
    return found.object


def update_errors(
    kind_: kinds.Kind, old: dict[str, Any], new: dict[str, Any], subresource: str = ""
) -> list[tuple[str, str]]:
    found = kinds.admit_update(kind_, admitted(kind_, old), new, subresource, CONTEXT).errors
    return [(error.field, error.message) for error in found]
