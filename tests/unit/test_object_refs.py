"""A kind is known by its API group too: other projects have Services and Ingresses as well."""

from typing import Any

import pytest

from steppe.kube.cause import Cause, ObjectRef
from steppe.manifests.cluster import loaded_from
from steppe.manifests.collect import collected
from steppe.manifests.documents import Manifest, ref_of
from steppe.net.address import parse_interface
from steppe.reach.changes import deleted
from steppe.reach.names import workloads_of
from steppe.state.document import KeyState, key_state_document, key_state_from
from steppe.state.link import Address, AddressKey

KNATIVE = "serving.knative.dev"
CORE_REF = ObjectRef("Service", "x", "web")
KNATIVE_REF = ObjectRef("Service", "x", "web", KNATIVE)
EXTENSIONS = ObjectRef("Ingress", "x", "web", "extensions")


def document(version: str, kind: str, name: str = "web", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "x"} | fields.pop("metadata", {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def owned_by(version: str, kind: str) -> dict[str, Any]:
    owner = {"apiVersion": version, "kind": kind, "name": "web", "controller": True}
    return {"metadata": {"ownerReferences": [owner]}}


CORE = document("v1", "Service", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]})
OTHER = document(f"{KNATIVE}/v1", "Service", spec={"template": {}})
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a"}]}}
OF_KNATIVE = document(
    "apps/v1",
    "Deployment",
    "web-1",
    spec={"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
    **owned_by(f"{KNATIVE}/v1", "Service"),
)
POD = document("v1", "Pod", "web-1-a", **owned_by(f"{KNATIVE}/v1", "Service"))


def test_two_kinds_of_one_name_are_two_objects() -> None:
    assert CORE_REF != KNATIVE_REF
    assert len({CORE_REF, KNATIVE_REF, ObjectRef("Service", "x", "web", "")}) == 2


@pytest.mark.parametrize(
    ("content", "ref"),
    [
        (CORE, CORE_REF),
        (OTHER, KNATIVE_REF),
        (document("extensions/v1beta1", "Ingress"), EXTENSIONS),
        (document("networking.k8s.io/v1", "Ingress"), ObjectRef("Ingress", "x", "web")),
        ({"kind": "Service", "metadata": {"name": "web", "namespace": "x"}}, CORE_REF),
        (document(f"{KNATIVE}/v1", "Node"), ObjectRef("Node", "x", "web", KNATIVE)),
    ],
)
def test_a_document_says_its_group_in_its_api_version(
    content: dict[str, Any], ref: ObjectRef
) -> None:
    assert ref_of(content) == ref


@pytest.mark.parametrize(
    ("ref", "group", "text"),
    [
        (CORE_REF, "", "Service/x/web"),
        (KNATIVE_REF, KNATIVE, "Service.serving.knative.dev/x/web"),
        (ObjectRef("Ingress", "x", "web"), "networking.k8s.io", "Ingress/x/web"),
        (EXTENSIONS, "extensions", "Ingress.extensions/x/web"),
        (ObjectRef("NetworkPolicy", "x", "web", ""), "", "NetworkPolicy./x/web"),
        (ObjectRef("Gadget", "x", "web", "example.org"), "example.org", "Gadget/x/web"),
        (ObjectRef("Node", "", "a"), "", "Node/a"),
    ],
)
def test_the_group_is_told_where_the_kind_alone_would_mean_another(
    ref: ObjectRef, group: str, text: str
) -> None:
    assert ref.group == group
    assert str(ref) == text


def test_kind_namespace_and_name_come_first_in_order() -> None:
    later = ObjectRef("Service", "x", "x")
    assert sorted([later, KNATIVE_REF, CORE_REF]) == [CORE_REF, KNATIVE_REF, later]


def test_a_service_of_another_project_takes_nothing_from_a_service_of_its_name() -> None:
    for order in ([CORE, OTHER], [OTHER, CORE]):
        found = collected(Manifest(content) for content in order)
        assert found.objects == {CORE_REF: CORE}
        assert not found.problems


def test_a_deployment_that_another_projects_service_owns_has_pods() -> None:
    found = loaded_from(Manifest(content) for content in (CORE, OTHER, OF_KNATIVE))
    (name,) = found.cluster.pods
    assert name == ("x", "web-1-0")


def test_deleting_a_service_leaves_what_another_projects_service_of_its_name_owns() -> None:
    base = collected(Manifest(content) for content in (CORE, OF_KNATIVE)).objects
    assert set(deleted(base, [CORE_REF]).objects) == {ref_of(OF_KNATIVE)}


def test_a_pod_is_not_called_after_an_object_that_is_not_its_owner() -> None:
    top = document("v1", "Service", **owned_by("apps/v1", "Deployment"))
    top["metadata"]["ownerReferences"][0]["name"] = "top"
    found = collected(Manifest(content) for content in (top, POD)).objects
    assert workloads_of(found) == {("x", "web-1-a"): "web"}


@pytest.mark.parametrize("ref", [CORE_REF, KNATIVE_REF, ObjectRef("NetworkPolicy", "x", "p")])
def test_tables_as_json_keep_the_group(ref: ObjectRef) -> None:
    key = AddressKey("eth0", parse_interface("10.0.0.1/24"))
    held = KeyState(key, None, Address(), (Cause(ref, "spec"),))
    assert key_state_from(key_state_document(held)) == held


def test_tables_as_json_of_before_there_were_groups_can_be_read() -> None:
    key = AddressKey("eth0", parse_interface("10.0.0.1/24"))
    written = key_state_document(KeyState(key, None, Address()))
    written["because"] = [["NetworkPolicy", "x", "p", "spec"], ["Node", "", "a", ""]]
    assert key_state_from(written).because == (
        Cause(ObjectRef("NetworkPolicy", "x", "p"), "spec"),
        Cause(ObjectRef("Node", "", "a")),
    )
