"""The definition of ClusterNetworkPolicy that Steppe ships."""

from typing import Any

import pytest
import yaml

from steppe_lab.apiserver.kinds import Context, admit_create, custom_kinds
from tests.conformance.netpol import CRD, KINDS

KIND = KINDS["policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy"]
RULE = {"action": "Accept", "to": [{"namespaces": {}}]}
INGRESS = {"action": "Deny", "from": [{"namespaces": {}}]}
NAMED = {"action": "Accept", "protocols": [{"destinationNamedPort": "web"}]}


def ports(start: int, end: int) -> dict[str, Any]:
    return {"range": {"start": start, "end": end}}


def errors(**spec: Any) -> list[str]:
    manifest = {
        "apiVersion": KIND.api_version,
        "kind": KIND.kind,
        "metadata": {"name": "c"},
        "spec": {"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}, **spec},
    }
    return [error.field for error in admit_create(KIND, manifest, Context()).errors]


def test_an_api_server_takes_the_definition() -> None:
    definition = KINDS["apiextensions.k8s.io/v1", "CustomResourceDefinition"]
    admitted = admit_create(definition, yaml.safe_load(CRD.read_text()), Context())
    assert admitted.errors == []
    assert admitted.warnings == []


def test_both_versions_of_the_bundle_are_served_and_the_newer_one_is_stored() -> None:
    versions = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    told = {each["name"]: (each["served"], each["storage"]) for each in versions}
    assert told == {"v1beta1": (True, True), "v1alpha2": (True, False)}
    assert [each.version for each in custom_kinds(yaml.safe_load(CRD.read_text()))] == [*told]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"subject": {"pods": {"podSelector": {}}}, "priority": 0, "tier": "Baseline"},
        {"egress": [RULE], "ingress": [{"action": "Pass", "from": [{"namespaces": {}}]}]},
        {"egress": [{**RULE, "to": [{"nodes": {}}, {"networks": ["10.0.0.0/8", "::/0"]}]}]},
        {"egress": [{**RULE, "to": [{"domainNames": ["*.example.org"]}]}]},
        {"egress": [{**RULE, "protocols": [{"tcp": {"destinationPort": {"number": 80}}}]}]},
        {"egress": [{**RULE, "protocols": [{"destinationNamedPort": "web"}]}]},
        {"egress": [{**RULE, "protocols": [{"tcp": {"destinationPort": ports(8, 9)}}]}]},
        {"egress": [{**RULE, "to": [{"networks": ["10.0.0.1/32", "2001:DB8:0::/32"]}]}]},
        {"egress": [{**RULE, "to": [{"nodes": {}}]}, NAMED | {"to": [{"namespaces": {}}]}]},
    ],
)
def test_what_the_api_allows_is_stored(spec: dict[str, Any]) -> None:
    assert errors(**spec) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"tier": "Royal"},
        {"priority": 1001},
        {"priority": -1},
        {"subject": {}},
        {"subject": {"namespaces": {}, "pods": {"podSelector": {}}}},
        {"subject": {"pods": {"namespaceSelector": {}}}},
        {"egress": [RULE] * 26},
        {"egress": [{**RULE, "action": "Log"}]},
        {"egress": [{**RULE, "name": "n" * 101}]},
        {"egress": [{"action": "Accept"}]},
        {"egress": [{**RULE, "to": []}]},
        {"egress": [{**RULE, "to": [{}]}]},
        {"egress": [{**RULE, "to": [{"teleports": {}}]}]},
        {"egress": [{**RULE, "to": [{"namespaces": {}, "nodes": {}}]}]},
        {"egress": [{**RULE, "to": [{"networks": []}]}]},
        {"egress": [{**RULE, "to": [{"domainNames": ["-"]}]}]},
        {"ingress": [{"action": "Deny", "from": [{"networks": ["10.0.0.0/8"]}]}]},
        {"egress": [{**RULE, "protocols": []}]},
        {"egress": [{**RULE, "protocols": [{}]}]},
        {"egress": [{**RULE, "protocols": [{"tcp": {}}]}]},
        {"egress": [{**RULE, "protocols": [{"tcp": {"destinationPort": {"number": 0}}}]}]},
        # By the rules in CEL, x-kubernetes-validations.
        {"ingress": [{**INGRESS, "protocols": [{"tcp": {"destinationPort": ports(9, 8)}}]}]},
        {"egress": [{**RULE, "protocols": [{"sctp": {"destinationPort": ports(8, 8)}}]}]},
        {"egress": [{**RULE, "to": [{"networks": ["10.0.0.0/8", "10.0.0.1"]}]}]},
        {"egress": [{**RULE, "to": [{"networks": ["fe80::%eth0/64"]}]}]},
        {"egress": [{**RULE, "to": [{"networks": ["::ffff:10.0.0.0/104"]}]}]},
        {"egress": [{**RULE, "to": [{"networks": ["10.0.0.1/8"]}]}]},
        {"egress": [{**RULE, "to": [{"networks": ["2001:db8::1/32"]}]}]},
        {"egress": [{**NAMED, "to": [{"namespaces": {}}, {"nodes": {}}]}]},
        {"egress": [{**NAMED, "to": [{"networks": ["::/0"]}]}]},
    ],
)
def test_what_the_api_forbids_is_refused(spec: dict[str, Any]) -> None:
    assert errors(**spec) != []
