"""The patch forms, each as a table of before, patch and after."""

from typing import Any

import pytest

from steppe_lab.apiserver.kinds import Structure
from steppe_lab.apiserver.patch.apply import applied
from steppe_lab.apiserver.patch.fields import compare, difference, fields_of, intersection, union
from steppe_lab.apiserver.patch.managed import Manager, owners_of, track_update
from steppe_lab.apiserver.patch.merge import json_patch, merge_patch
from steppe_lab.apiserver.patch.strategic import strategic_merge
from steppe_lab.apiserver.status import StatusError

Json = dict[str, Any]
KEYS = {("items",): "name", ("items", "ports"): "port", ("tags",): ""}


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        # The examples of RFC 7386, appendix A, that concern objects.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(before: Json, patch: Json, after: Json) -> None:
    assert merge_patch(before, patch) == after


def test_json_patch_changes_a_copy_and_refuses_what_does_not_fit() -> None:
    before = {"a": {"b": [1, 2]}}
    assert json_patch(before, [{"op": "remove", "path": "/a/b/0"}]) == {"a": {"b": [2]}}
    assert before == {"a": {"b": [1, 2]}}
    with pytest.raises(StatusError) as refusal:
        json_patch(before, [{"op": "test", "path": "/a", "value": 1}])
    assert refusal.value.code == 422


def items(*names: str) -> list[Json]:
    return [{"name": name, "v": 1} for name in names]


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        (
            {"items": items("a", "b")},
            {"items": [{"name": "b", "v": 2}, {"name": "c"}]},
            {"items": [{"name": "a", "v": 1}, {"name": "b", "v": 2}, {"name": "c"}]},
        ),
        (
            {"items": items("a", "b")},
            {"items": [{"name": "a", "$patch": "delete"}]},
            {"items": items("b")},
        ),
        (
            {"items": items("a", "b")},
            {"items": [{"$patch": "replace"}, {"name": "c"}]},
            {"items": [{"name": "c"}]},
        ),
        (
            {"items": items("a", "b", "c")},
            {"$setElementOrder/items": [{"name": "c"}, {"name": "a"}]},
            {"items": items("b", "c", "a")},
        ),
        (
            {"items": items("a", "server")},
            {
                "$setElementOrder/items": [{"name": "new"}, {"name": "a"}],
                "items": [{"name": "new", "v": 1}],
            },
            {"items": items("new", "a", "server")},
        ),
        (
            {"items": [{"name": "a", "ports": [{"port": 1, "x": 1}]}]},
            {"items": [{"name": "a", "ports": [{"port": 1, "y": 2}, {"port": 2}]}]},
            {"items": [{"name": "a", "ports": [{"port": 1, "x": 1, "y": 2}, {"port": 2}]}]},
        ),
        ({"tags": ["a", "b"]}, {"tags": ["b", "c"]}, {"tags": ["a", "b", "c"]}),
        ({"tags": ["a", "b"]}, {"$deleteFromPrimitiveList/tags": ["a"]}, {"tags": ["b"]}),
        ({"plain": [1, 2]}, {"plain": [3]}, {"plain": [3]}),
        ({"m": {"a": 1, "b": 2}}, {"m": {"$retainKeys": ["b"], "b": 3}}, {"m": {"b": 3}}),
        ({"m": {"a": 1}}, {"m": {"$patch": "replace", "b": 2}}, {"m": {"b": 2}}),
        ({"m": {"a": 1, "b": 2}}, {"m": {"a": None}}, {"m": {"b": 2}}),
    ],
)
def test_strategic_merge_patch(before: Json, patch: Json, after: Json) -> None:
    assert strategic_merge(before, patch, KEYS.get) == after


def structure(path: tuple[str, ...]) -> Structure:
    known = {
        ("spec", "items"): Structure("map", ("name",)),
        ("spec", "tags"): Structure("set"),
        ("spec", "list"): Structure("atomic"),
    }
    return known.get(path, Structure("granular"))


def test_field_sets_name_fields_items_and_members() -> None:
    spec = {"spec": {"n": 1, "items": [{"name": "a", "v": 1}], "tags": ["x"], "list": [1, 2]}}
    assert fields_of(spec, structure) == {
        "f:spec": {
            "f:n": {},
            "f:items": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:v": {}}},
            "f:tags": {'v:"x"': {}},
            "f:list": {},
        }
    }


def test_field_sets_are_sets() -> None:
    left = {"f:a": {}, "f:b": {".": {}, "f:c": {}, "f:d": {}}}
    right = {"f:b": {"f:c": {}}, "f:e": {}}
    assert union(left, right) == left | {"f:e": {}}
    assert difference(left, right) == {"f:a": {}, "f:b": {".": {}, "f:d": {}}}
    assert intersection(left, right) == {"f:b": {"f:c": {}}}
    assert difference(left, left) == {}


def test_a_comparison_holds_only_what_differs() -> None:
    old = {"spec": {"a": 1, "b": 2, "items": [{"name": "x", "v": 1}]}}
    new = {"spec": {"a": 1, "c": 3, "items": [{"name": "x", "v": 2}, {"name": "y"}]}}
    found = compare(old, new, structure)
    assert found.removed == {"f:spec": {"f:b": {}}}
    assert found.changed == {
        "f:spec": {
            "f:c": {},
            "f:items": {'k:{"name":"x"}': {"f:v": {}}, 'k:{"name":"y"}': {".": {}, "f:name": {}}},
        }
    }


ANN, BOB = (Manager(name, "Apply", "v1") for name in ("ann", "bob"))


def apply(live: Json, spec: Json, manager: Manager, *, force: bool = False) -> Json:
    wanted = {"metadata": {"name": "x"}, "spec": spec}
    return applied(live, wanted, manager, structure, force=force, now="T")


def test_apply_keeps_what_others_own_and_drops_what_its_manager_gave_up() -> None:
    live: Json = {"metadata": {"name": "x"}}
    live = apply(live, {"a": 1, "b": 1, "items": [{"name": "i", "v": 1}]}, ANN)
    live = apply(live, {"b": 1, "c": 1, "items": [{"name": "j", "v": 1}]}, BOB)
    live = apply(live, {}, ANN)
    assert live["spec"] == {"b": 1, "c": 1, "items": [{"name": "j", "v": 1}]}


def test_to_change_what_another_owns_is_a_conflict_unless_forced() -> None:
    live = apply({"metadata": {"name": "x"}}, {"a": 1, "items": [{"name": "i", "v": 1}]}, ANN)
    # The same value is shared, not fought over.
    live = apply(live, {"a": 1}, BOB)
    with pytest.raises(StatusError) as refusal:
        apply(live, {"a": 2, "items": [{"name": "i", "v": 9}]}, BOB)
    assert refusal.value.code == 409
    assert refusal.value.details is not None
    fields = sorted(cause["field"] for cause in refusal.value.details["causes"])
    assert fields == [".spec.a", '.spec.items[name="i"].v']
    live = apply(live, {"a": 2}, BOB, force=True)
    owners = owners_of(live["metadata"]["managedFields"])
    assert "f:a" not in owners[ANN]["f:spec"]
    assert owners[BOB] == {"f:spec": {"f:a": {}}}


def test_an_update_takes_over_what_it_changes() -> None:
    live = apply({"metadata": {"name": "x"}}, {"a": 1, "b": 1}, ANN)
    new = {"metadata": dict(live["metadata"]), "spec": {"a": 2, "b": 1}}
    track_update(live, new, Manager("eve", "Update", "v1"), structure, "later")
    owners = owners_of(new["metadata"]["managedFields"])
    assert owners[ANN] == {"f:spec": {"f:b": {}}}
    assert owners[Manager("eve", "Update", "v1")] == {"f:spec": {"f:a": {}}}
