"""Nonsense in objects becomes Problems, and what is right in them stays in use."""

import msgspec
import pytest

from steppe.kube import wire
from steppe.kube.objects import (
    UNDERLAY_ANNOTATION,
    Underlay,
    node_from,
    pod_from,
    underlay_annotation,
)


def node(**parts: object) -> wire.Node:
    document = {"metadata": {"name": "node-a"}, **parts}
    return msgspec.convert(document, wire.Node)


@pytest.mark.parametrize(
    ("cidrs", "kept", "wrong"),
    [
        (["10.244.1.0/24"], ["10.244.1.0/24"], []),
        (["10.244.1.0/24", "fd00:1::/64"], ["10.244.1.0/24", "fd00:1::/64"], []),
        (["fd00:1::/64", "10.244.1.0/24"], ["fd00:1::/64", "10.244.1.0/24"], []),
        (["nonsense", "fd00:1::/64"], ["fd00:1::/64"], ["spec.podCIDRs[0]"]),
        (["10.244.1.0/24", "10.244.2.0/24"], ["10.244.1.0/24"], ["spec.podCIDRs[1]"]),
        (["10.244.1.0/99"], [], ["spec.podCIDRs[0]"]),
        ([], [], []),
    ],
)
def test_pod_cidrs(cidrs: list[str], kept: list[str], wrong: list[str]) -> None:
    found, problems = node_from(node(spec={"podCIDRs": cidrs}))
    assert [str(prefix) for prefix in found.networks] == kept
    assert [problem.cause.field for problem in problems] == wrong


def test_a_prefix_names_its_own_place_in_the_list_although_one_before_it_is_wrong() -> None:
    found, _ = node_from(node(spec={"podCIDRs": ["nonsense", "fd00:1::/64"]}))
    assert [prefix.cause.field for prefix in found.prefixes] == ["spec.podCIDRs[1]"]


def test_only_internal_addresses_count_and_bad_ones_are_named() -> None:
    found, problems = node_from(
        node(
            status={
                "addresses": [
                    {"type": "Hostname", "address": "node-a"},
                    {"type": "InternalIP", "address": "192.0.2.11"},
                    {"type": "InternalIP", "address": "192.0.2"},
                    {"type": "ExternalIP", "address": "203.0.113.1"},
                ]
            }
        )
    )
    assert [str(address) for address in found.addresses] == ["192.0.2.11"]
    assert [problem.cause.field for problem in problems] == ["status.addresses[2]"]


def test_an_underlay_survives_its_annotation() -> None:
    seen, _ = node_from(
        node(
            metadata={
                "name": "node-a",
                "annotations": {
                    UNDERLAY_ANNOTATION: '{"link":"ens3","mtu":9000,"addresses":["192.0.2.11/24"]}'
                },
            }
        )
    )
    text = underlay_annotation(seen.underlay)
    again, problems = node_from(
        node(metadata={"name": "node-a", "annotations": {UNDERLAY_ANNOTATION: text}})
    )
    assert problems == ()
    assert again.underlay == seen.underlay
    assert again.underlay.mtu == 9000


@pytest.mark.parametrize("text", ["", "{", '{"link":"eth0"}', '{"link":"e","mtu":"x"}'])
def test_a_foreign_annotation_is_a_problem_and_the_default_is_used(text: str) -> None:
    found, problems = node_from(
        node(metadata={"name": "node-a", "annotations": {UNDERLAY_ANNOTATION: text}})
    )
    assert found.underlay == Underlay("eth0", 1500)
    assert len(problems) == 1


def test_null_and_missing_fields_mean_the_same() -> None:
    bare = node_from(node())[0]
    nulls = node_from(
        node(
            metadata={"name": "node-a", "labels": None, "annotations": None},
            spec={"podCIDRs": None},
            status={"addresses": None},
        )
    )[0]
    assert bare == nulls


def test_a_pod_with_a_bad_address_keeps_its_good_one() -> None:
    seen = msgspec.convert(
        {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"nodeName": "node-a"},
            "status": {"podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00::zz"}]},
        },
        wire.Pod,
    )
    found, problems = pod_from(seen)
    assert [str(address) for address in found.addresses] == ["10.244.1.5"]
    assert [problem.cause.field for problem in problems] == ["status.podIPs[1]"]
