from collections.abc import Iterator
from typing import Any

import pytest

from steppe_lab.apiserver import kinds
from tests.apiserver.kinds.test_custom import POOL

ALL = (*kinds.BUILTIN, POOL)
VERSIONS = sorted({(kind.group, kind.version) for kind in ALL})


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize(("group", "version"), VERSIONS)
def test_every_kind_can_be_found_as_kubectl_looks_for_it(group: str, version: str) -> None:
    document = kinds.openapi_v3(group, version, ALL)
    schemas = document["components"]["schemas"]
    assert {ref.rpartition("/")[2] for ref in references(document)} <= set(schemas)
    for kind in (k for k in ALL if (k.group, k.version) == (group, version)):
        gvk = {"group": group, "version": version, "kind": kind.kind}
        named = [s for s in schemas.values() if gvk in s.get("x-kubernetes-group-version-kind", [])]
        assert len(named) == 1
        patches = [
            operation["patch"]
            for operation in document["paths"].values()
            if operation.get("patch", {}).get("x-kubernetes-group-version-kind") == gvk
        ]
        assert patches
        for patch in patches:
            assert {"fieldValidation", "dryRun"} <= {p["name"] for p in patch["parameters"]}
            strategic = "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
            assert strategic is not isinstance(kind, kinds.CustomKind)


def test_merge_keys_are_told() -> None:
    schemas = kinds.openapi_v3("", "v1", ALL)["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    port = schemas["io.k8s.api.core.v1.ContainerPort"]
    assert port["properties"]["protocol"]["default"] == "TCP"
    assert port["required"] == ["containerPort"]


def test_the_old_document_holds_all_kinds_and_no_dangling_reference() -> None:
    document = kinds.openapi_v2(ALL)
    definitions = document["definitions"]
    assert {ref.rpartition("/")[2] for ref in references(document)} <= set(definitions)
    told = [g for d in definitions.values() for g in d.get("x-kubernetes-group-version-kind", [])]
    assert len(told) == len(ALL)
    assert "com.example.net.v1.Pool" in definitions
