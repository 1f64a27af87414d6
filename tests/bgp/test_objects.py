"""What of BGPPeer and BGPSettings is used, and what is said of the rest."""

from typing import Any

import pytest

from steppe.bgp.objects import OWN_ASN, peer_from, settings_from
from tests.bgp.worlds import bgp_peer, bgp_settings

GOOD: dict[str, Any] = {"address": "192.0.2.254", "asn": 65001}


@pytest.mark.parametrize(
    ("spec", "field", "usable"),
    [
        ({}, None, True),
        ({"address": "2001:db8::fe", "hops": 3}, None, True),
        ({"address": "", "interface": "eth0"}, None, True),
        ({"interface": "eth0"}, "spec.address", False),
        ({"address": ""}, "spec.address", False),
        ({"address": "fe80::1"}, "spec.address", False),
        ({"address": "0.0.0.0"}, "spec.address", False),
        ({"address": "nonsense"}, "spec.address", False),
        ({"address": "", "interface": 'eth0"; {'}, "spec.interface", False),
        ({"address": "", "interface": "*"}, "spec.interface", False),
        ({"asn": 0}, "spec.asn", False),
        ({"asn": 4294967295}, "spec.asn", False),
        ({"passwordKey": "../shadow"}, "spec.passwordKey", False),
        ({"nodes": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
         "spec.nodes.matchExpressions[0]", False),
        ({"hops": 0}, "spec.hops", True),
        ({"communities": ["1:2", "70000:1"]}, "spec.communities[1]", True),
        ({"communities": ["1:2\n"]}, "spec.communities[0]", True),
    ],
)  # fmt: skip
def test_a_peer_that_cannot_be_understood_has_no_session_and_a_problem(
    spec: dict[str, Any], field: str | None, usable: bool
) -> None:
    peer, problems = peer_from(bgp_peer("tor", **{**GOOD, **spec}))
    assert peer.usable is usable
    assert [problem.cause.field for problem in problems] == ([field] if field else [])


@pytest.mark.parametrize(
    "rule",
    [
        {"prefix": "x"},
        {"prefix": "10.0.0.0/8", "minLength": 4},
        {"prefix": "10.0.0.0/8", "maxLength": 33},
        {"prefix": "10.0.0.0/8", "minLength": 20, "maxLength": 16},
        {"prefix": "10.0.0.0/8", "action": "Maybe"},
    ],
)
def test_a_list_with_a_rule_that_cannot_be_read_lets_nothing_through(rule: dict[str, Any]) -> None:
    good = {"prefix": "192.168.0.0/16"}
    peer, problems = peer_from(bgp_peer("tor", **GOOD, **{"import": [good, rule]}))
    assert peer.imports == ()
    assert "nothing passes" in problems[0].message
    assert peer.exports is None


@pytest.mark.parametrize(
    ("spec", "usable"),
    [({}, True), ({"asn": 0}, False), ({"passwordKey": "a b"}, False), ({"asn": 65000}, True)],
)
def test_settings_that_could_be_less_safe_than_meant_are_not_used(
    spec: dict[str, Any], usable: bool
) -> None:
    settings, _ = settings_from(bgp_settings(**spec))
    assert settings.usable is usable
    assert settings.asn == spec.get("asn", OWN_ASN)
