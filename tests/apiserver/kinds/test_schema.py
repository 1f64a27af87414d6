import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import models

from steppe.admission.schema import shapes
from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.kinds.lists import ATOMIC_MAPS, ATOMIC_TYPES, LISTS, RETAIN_KEYS
from tests.apiserver.kinds.objects import CONTEXT, KINDS, deployment, kind, pod

ROOT = Path(__file__).parents[3]
SAMPLES: dict[str, Any] = {
    "string": "text",
    "integer": 3,
    "number": 1.5,
    "boolean": True,
    "int-or-string": "25%",
    "quantity": "1Gi",
    "time": "2026-01-02T03:04:05Z",
    "bytes": "YWJj",
    "any": {"free": [1]},
}
MODELS = {("", "Event"): "CoreV1Event", ("events.k8s.io", "Event"): "EventsV1Event"}


def full(type_: str, depth: int) -> Any:
    """A value of a type with every field set, to a depth."""
    if type_[0] == "[":
        return [full(type_[1:-1], depth)]
    if type_[0] == "{":
        return {"key": full(type_[1:-1], depth)}
    if "." not in type_:
        return SAMPLES[type_]
    fields = shapes()[type_].items()
    wanted = [(name.removesuffix("!"), field) for name, field in fields if depth or name[-1] == "!"]
    return {name: full(field, depth - 1 if depth else 0) for name, field in wanted}


@pytest.mark.parametrize("key", sorted(KINDS))
def test_an_object_with_every_field_survives_decoding_and_the_models(key: tuple[str, str]) -> None:
    from steppe.admission.schema import decode, type_name

    obj = full(type_name(KINDS[key]), 4)
    decoded, report = decode(KINDS[key], obj)
    assert (report.errors, report.unknown) == ([], [])
    assert decoded == obj
    model = getattr(models, MODELS.get(key, f"V1{key[1]}"))
    assert {name.removesuffix("!") for name in shapes()[type_name(KINDS[key])]} == set(
        model.attribute_map.values()
    )


def test_the_schemas_are_what_the_generator_writes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/gen_schemas.py")], capture_output=True, check=True
    )
    committed = ROOT / "src/steppe/admission/schemas.json"
    assert json.loads(done.stdout) == json.loads(committed.read_text())


def test_facts_about_lists_name_fields_that_exist() -> None:
    for name in (*LISTS, *RETAIN_KEYS, *ATOMIC_MAPS):
        type_, _, field = name.rpartition(".")
        assert {field, f"{field}!"} & set(shapes()[type_]), name
    assert set(shapes()) >= ATOMIC_TYPES


def test_decoding_drops_what_go_would_drop() -> None:
    obj = pod(nodeName=None, nodeSelector={}, volumes=[], nonsense=1)
    obj["metadata"]["annotations"] = {}
    found = kinds.admit_create(kind("Pod"), obj, CONTEXT).object
    assert not {"nodeName", "nodeSelector", "volumes", "nonsense"} & set(found["spec"])
    assert "annotations" not in found["metadata"]
    assert "nonsense" in obj["spec"], "the input is not changed"


def test_unknown_fields_are_named_by_path() -> None:
    obj = deployment(foo=1)
    obj["spec"]["template"]["spec"]["containers"][0]["imag"] = "x"
    assert kinds.unknown_fields(kind("Deployment", "apps"), obj) == [
        'unknown field "spec.template.spec.containers[0].imag"',
        'unknown field "spec.foo"',
    ]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"replicas": "two"}, "spec.replicas", "string into Go struct field Deployment.spec.repl"),
        ({"template": []}, "spec.template", "array into Go struct field Deployment.spec.template"),
        ({"paused": 1}, "spec.paused", "number into Go struct field Deployment.spec.paused of typ"),
    ],
)
def test_a_wrong_type_is_an_error(spec: dict[str, Any], field: str, message: str) -> None:
    found = kinds.admit_create(kind("Deployment", "apps"), deployment(**spec), CONTEXT).errors
    assert [(error.field, error.reason) for error in found] == [(field, "FieldValueTypeInvalid")]
    assert message in found[0].message


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("2026-01-02T03:04:05Z", True),
        ("2026-01-02T03:04:05.123456Z", True),
        ("2026-01-02T03:04:05+01:00", True),
        ("2026-01-02T03:04:05", False),
        ("2026-01-02", False),
        ("soon", False),
    ],
)
def test_times_are_checked(text: str, fits: bool) -> None:
    lease = {"metadata": {"name": "l"}, "spec": {"renewTime": text}}
    found = kinds.admit_create(kind("Lease", "coordination.k8s.io"), lease, CONTEXT)
    assert (found.errors == []) is fits


@pytest.mark.parametrize(
    ("name", "group", "path", "key", "merge", "keys"),
    [
        ("Pod", "", "spec.containers", "name", "map", ("name",)),
        ("Pod", "", "spec.containers.ports", "containerPort", "map", ("containerPort", "protocol")),
        ("Pod", "", "spec.containers.args", None, "atomic", ()),
        ("Pod", "", "spec.tolerations", None, "atomic", ()),
        ("Pod", "", "metadata.finalizers", "", "set", ()),
        ("Pod", "", "metadata.labels", None, "granular", ()),
        ("Pod", "", "spec.nodeSelector", None, "atomic", ()),
        ("Pod", "", "status.podIPs", "ip", "map", ("ip",)),
        ("Deployment", "apps", "spec.template.spec.volumes", "name", "map", ("name",)),
        ("Deployment", "apps", "spec.selector", None, "atomic", ()),
        ("Service", "", "spec.ports", "port", "map", ("port", "protocol")),
        ("Node", "", "spec.podCIDRs", "", "set", ()),
        ("EndpointSlice", "discovery.k8s.io", "endpoints", None, "atomic", ()),
    ],
)
def test_how_fields_merge(  # noqa: PLR0917 - the columns of the table
    name: str, group: str, path: str, key: str | None, merge: str, keys: tuple[str, ...]
) -> None:
    at = tuple(path.split("."))
    assert kinds.merge_key(kind(name, group), at) == key
    found = kinds.structure(kind(name, group), at)
    assert (found.merge, found.keys) == (merge, keys)
