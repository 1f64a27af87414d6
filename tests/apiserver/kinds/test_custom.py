import copy
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.kinds.jsonpath import find
from tests.apiserver.kinds.objects import CONTEXT, admitted, errors, kind, pod, update_errors

DEFINITION = yaml.safe_load("""
metadata: {name: pools.net.example.com}
spec:
  group: net.example.com
  scope: Namespaced
  names: {plural: pools, kind: Pool, shortNames: [pl]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp, priority: 1}
    selectableFields: [{jsonPath: .spec.mode}]
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, maximum: 10}
              mode: {type: string, enum: [auto, manual], default: auto}
              name: {type: string, pattern: '^[a-z]+$', maxLength: 5}
              surge: {x-kubernetes-int-or-string: true}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              tags: {type: array, items: {type: string}, x-kubernetes-list-type: set}
              address: {type: string, format: ipv6}
              maybe: {type: string, nullable: true}
              limits:
                type: object
                minProperties: 1
                maxProperties: 2
                additionalProperties: {type: integer}
              few: {type: array, items: {type: string}, minItems: 1, maxItems: 2}
              either:
                type: object
                properties: {a: {type: string}, b: {type: string}}
                oneOf: [{required: [a]}, {required: [b]}]
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [port, protocol]
                items:
                  type: object
                  required: [port]
                  properties:
                    port: {type: integer}
                    protocol: {type: string, default: TCP}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
  - {name: v0, served: false, storage: false, schema: {openAPIV3Schema: {type: object}}}
""")
CRD = admitted(kind("CustomResourceDefinition", "apiextensions.k8s.io"), DEFINITION)
(POOL,) = kinds.custom_kinds(CRD)


def pool(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": {"size": 3, **spec}}


def test_a_definition_gives_one_kind_per_served_version() -> None:
    assert POOL.gvk == ("net.example.com", "v1", "Pool")
    assert (POOL.plural, POOL.singular, POOL.short_names) == ("pools", "pool", ("pl",))
    assert POOL.subresources == ("status", "scale")
    assert {POOL: "hashable"}[POOL] == "hashable"
    assert CRD["spec"]["names"]["listKind"] == "PoolList"
    assert CRD["status"]["storedVersions"] == ["v1"]


def test_objects_are_pruned_and_defaulted() -> None:
    obj = pool(nonsense=1, free={"any": {"thing": None}}, ports=[{"port": 1, "x": 2}], maybe=None)
    found = kinds.admit_create(POOL, obj | {"status": {"size": 1}}, CONTEXT)
    assert found.errors == []
    assert found.object["spec"] == {
        "size": 3,
        "mode": "auto",
        "free": {"any": {"thing": None}},
        "ports": [{"port": 1, "protocol": "TCP"}],
        "maybe": None,
    }
    assert "status" not in found.object
    assert kinds.unknown_fields(POOL, obj) == [
        'unknown field "spec.nonsense"',
        'unknown field "spec.ports[0].x"',
    ]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"size": None}, "spec.size", 'spec.size in body must be of type integer: "null"'),
        ({"size": "3"}, "spec.size", 'spec.size in body must be of type integer: "string"'),
        ({"size": 0}, "spec.size", "spec.size in body should be greater than or equal to 1"),
        ({"size": 11}, "spec.size", "should be less than or equal to 10"),
        ({"mode": "x"}, "spec.mode", 'Unsupported value: "x": supported values: "auto", "manual"'),
        ({"name": "A"}, "spec.name", "spec.name in body should match '^[a-z]+$'"),
        ({"name": "aaaaaa"}, "spec.name", "Too long: may not be more than 5 bytes"),
        ({"surge": True}, "spec.surge", "must be of type"),
        ({"tags": ["a", "a"]}, "spec.tags[1]", 'Duplicate value: "a"'),
        ({"address": "10.0.0.1"}, "spec.address", "must be of type ipv6"),
        ({"limits": {"a": "b"}}, "spec.limits.a", "must be of type integer"),
        ({"limits": {}}, "spec.limits", "should have at least 1 properties"),
        ({"limits": dict.fromkeys("abc", 1)}, "spec.limits", "should have at most 2 properties"),
        ({"few": []}, "spec.few", "should have at least 1 items"),
        ({"few": ["a", "b", "c"]}, "spec.few", "should have at most 2 items"),
        (
            {"either": {}},
            "spec.either",
            "must validate one and only one schema (oneOf). Found none",
        ),
        ({"ports": [{}]}, "spec.ports[0].port", "Required value"),
        ({"ports": [{"port": 1}, {"port": 1}]}, "spec.ports[1]", "Duplicate value"),
    ],
)
def test_what_a_schema_refuses(spec: dict[str, Any], field: str, message: str) -> None:
    found = errors(POOL, pool(**spec))
    assert [at for at, text in found if message in text] == [field], found


def test_status_is_written_by_its_subresource_only() -> None:
    old = kinds.admit_create(POOL, pool(), CONTEXT).object
    changed = pool(size=5) | {"status": {"size": 5}}
    assert "status" not in kinds.admit_update(POOL, old, changed, "", CONTEXT).object
    after = kinds.admit_update(POOL, old, changed, "status", CONTEXT).object
    assert (after["spec"]["size"], after["status"]) == (3, {"size": 5})


def test_how_fields_of_a_custom_resource_merge() -> None:
    ports = kinds.structure(POOL, ("spec", "ports"))
    assert (ports.merge, ports.keys) == ("map", ("port", "protocol"))
    assert ports.defaults == (("protocol", "TCP"),)
    assert kinds.structure(POOL, ("spec", "tags")).merge == "set"
    assert kinds.structure(POOL, ("spec", "ports", "port")).merge == "atomic"
    assert kinds.structure(POOL, ("metadata", "labels")).merge == "granular"
    assert kinds.merge_key(POOL, ("spec", "ports")) is None


def test_printer_columns_and_selectable_fields() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    obj = pool(mode="manual") | {
        "status": {"conditions": [{"type": "A", "status": "x"}, {"type": "Ready", "status": "No"}]}
    }
    obj["metadata"]["creationTimestamp"] = (now - timedelta(days=3)).isoformat()
    table = kinds.table(POOL, [obj, pool()], now)
    assert [row["cells"] for row in table["rows"]] == [["p", 3, "No", "3d"], ["p", 3, None, None]]
    assert [c["priority"] for c in table["columnDefinitions"]] == [0, 0, 0, 1]
    assert kinds.selectable_fields(POOL, obj)["spec.mode"] == "manual"
    assert kinds.selectable_fields(kind("Pod"), pod(nodeName="n"))["spec.nodeName"] == "n"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        ("{.a.b}", [1]),
        (".a['b']", [1]),
        (".list[1].n", ["y"]),
        (".list[-1].n", ["y"]),
        (".list[*].n", ["x", "y"]),
        (".list[?(@.on==true)].n", ["y"]),
        (".list[?(@.n!='x')].n", ["y"]),
        (".absent.b", []),
        (".a[[", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    value = {"a": {"b": 1}, "list": [{"n": "x", "on": False}, {"n": "y", "on": True}]}
    assert find(path, value) == found


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("metadata", "name"), "other", "metadata.name"),
        (("spec", "scope"), "World", "spec.scope"),
        (("spec", "versions"), [], "spec.versions"),
        (("spec", "versions", 0, "storage"), False, "spec.versions"),
        (
            ("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec"),
            {"properties": {}},
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].type",
        ),
        (
            ("spec", "versions", 0, "schema", "openAPIV3Schema", "x-kubernetes-validations"),
            [{"message": "no rule"}],
            "spec.versions[0].schema.openAPIV3Schema.x-kubernetes-validations[0].rule",
        ),
    ],
)
def test_definitions_that_are_refused(path: tuple[Any, ...], value: Any, field: str) -> None:
    definition = copy.deepcopy(DEFINITION)
    at = definition
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    found = errors(kind("CustomResourceDefinition", "apiextensions.k8s.io"), definition)
    assert [where for where, _ in found] == [field]


def test_a_rule_that_is_not_evaluated_is_warned_of() -> None:
    definition = copy.deepcopy(DEFINITION)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    name = schema["properties"]["spec"]["properties"]["name"]
    name["x-kubernetes-validations"] = [{"rule": "isCIDR(self)"}, {"rule": "self != 'x'"}]
    found = kinds.admit_create(
        kind("CustomResourceDefinition", "apiextensions.k8s.io"), definition, CONTEXT
    )
    assert found.errors == []
    (warning,) = found.warnings
    assert "properties[name].x-kubernetes-validations[1].rule: not enforced" in warning
    assert warning.endswith("self != 'x'")


def test_a_definition_keeps_its_scope() -> None:
    crd = kind("CustomResourceDefinition", "apiextensions.k8s.io")
    wide = {**DEFINITION, "spec": {**DEFINITION["spec"], "scope": "Cluster"}}
    assert [at for at, _ in update_errors(crd, DEFINITION, wide)] == ["spec.scope"]


def test_an_established_definition_says_so() -> None:
    status = kinds.established(CRD, datetime(2026, 1, 2, tzinfo=UTC))
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    again = kinds.established({**CRD, "status": status}, datetime(2027, 1, 2, tzinfo=UTC))
    assert again == status


def test_admission_is_cheap() -> None:
    """10,000 pods must not take minutes: half a millisecond each, with room for slow machines."""
    obj = pod(tolerations=[{"operator": "Exists"}])
    start = time.process_time()
    for _ in range(500):
        kinds.admit_create(kind("Pod"), obj, CONTEXT)
    assert (time.process_time() - start) / 500 < 0.0005
