"""`steppe reach --explain` and `--exposure` as they are typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from steppe.cli.main import main

SHOP = Path(__file__).with_name("shop.yaml")


def reach(*args: str) -> Result:
    return CliRunner().invoke(main, ["reach", "-f", str(SHOP), *args], catch_exceptions=False)


@pytest.mark.parametrize(
    ("sender", "receiver", "lines"),
    [
        (
            "shop/api",
            "shop/db",
            [
                "TCP 5432: allowed, NetworkPolicy/shop/db spec.ingress[0]",
                "NetworkPolicy/shop/db spec.ingress[0] takes this peer, but only TCP port 'sql'",
            ],
        ),
        (
            "shop/web",
            "shop/db",
            [
                (
                    "everything: denied (ingress), isolated by NetworkPolicy/shop/db, "
                    "NetworkPolicy/shop/default-deny"
                ),
                (
                    "NetworkPolicy/shop/db spec.ingress[0] takes TCP port 'sql', but only from "
                    "pods with app=api in shop"
                ),
                (
                    "NetworkPolicy/shop/db spec.ingress[1] takes TCP 9187, but only from any pod "
                    "in namespaces with team=sre"
                ),
                (
                    "NetworkPolicy/shop/default-deny spec.podSelector has no ingress rule, so it "
                    "lets nothing through"
                ),
            ],
        ),
        # Both ends deny, each for reasons of its own.
        (
            "shop/db",
            "shop/api",
            [
                "everything: denied (egress), isolated by NetworkPolicy/shop/db",
                "NetworkPolicy/shop/db spec.egress[1] takes TCP 443, but only to 203.0.113.0/24",
            ],
        ),
        ("shop/web", "monitoring/prometheus", ["everything: allowed, no policy is in the way"]),
    ],
)
def test_every_row_has_its_cause_and_what_nearly_matched(sender, receiver, lines):
    told = reach("--from", sender, "--to", receiver, "--explain").stdout
    for line in lines:
        assert line in [each.strip() for each in told.splitlines()]


def test_a_rule_that_takes_neither_the_peer_nor_the_port_is_no_near_miss():
    told = reach("--from", "shop/web", "--to", "shop/db", "--port", "5432", "--explain").stdout
    assert "TCP 5432: denied (ingress)" in told
    assert "TCP 9187" not in told


def test_the_document_has_the_same_reasons_for_programs():
    told = json.loads(reach("--to", "shop/db", "--explain", "-o", "json").stdout)
    reasons = [r for each in told["explained"] for r in each["reasons"]["IPv4"]]
    assert {reason["allowed"] for reason in reasons} == {True, False}
    for reason in reasons:
        assert reason["ports"]
        assert reason["because"]
        assert (reason["direction"] is None) == reason["allowed"]
    assert any(near["text"].startswith("takes this peer") for r in reasons for near in r["near"])


def test_each_flow_is_explained_exactly_as_its_row_says():
    told = json.loads(reach("--explain", "-o", "json").stdout)
    explained = {
        (sender, each["to"], family): [
            port for reason in reasons if reason["allowed"] for port in reason["ports"]
        ]
        for each in told["explained"]
        for sender in each["from"]
        for family, reasons in each["reasons"].items()
    }
    order = lambda ports: sorted(ports, key=str)  # noqa: E731
    for flow in told["flows"]:
        for sender in flow["from"]:
            for family, ports in flow["ports"].items():
                assert order(explained[sender, flow["to"], family]) == order(ports)


def test_what_cannot_be_read_is_explained_as_not_known(tmp_path):
    (tmp_path / "broken.yaml").write_text(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: broken, "
        "namespace: shop}, spec: {podSelector: {matchLabels: {app: db}}, ingres: []}}"
    )
    ends = ("--from", "shop/web", "--to", "shop/db")
    told = reach("-f", str(tmp_path / "broken.yaml"), *ends, "--explain").stdout
    assert "everything: not known, " in told
    assert "denied (ingress)" not in told
    assert "NetworkPolicy/shop/broken" in told.partition("→")[2]


def test_exposure_tells_of_new_pods_and_of_who_is_unguarded():
    told = json.loads(reach("--exposure", "-o", "json").stdout)
    new = {name: n for n, group in enumerate(told["groups"]) for name in group.get("new", ())}
    here = new["a new pod without labels in namespace shop"]
    into = [f for f in told["flows"] if f["new"] == here and f["direction"] == "ingress"]
    assert into
    assert all(ports == [] for flow in into for ports in flow["ports"].values())
    (web,) = (n for n, group in enumerate(told["groups"]) if group["name"].startswith("shop/web"))
    (out,) = (f for f in told["flows"] if f["new"] == here and f["others"] == [web])
    assert out["ports"]["IPv4"] == [{"protocol": "TCP", "first": 80, "last": 80}]
    open_ = {(e["pod"].rpartition("-")[0], e["direction"]) for e in told["unguarded"]}
    assert open_ == {
        ("monitoring/prometheus", "ingress"),
        ("monitoring/prometheus", "egress"),
        ("shop/api", "egress"),
        ("shop/web", "egress"),
    }


def test_exposure_is_told_in_words():
    lines = reach("--exposure").stdout.splitlines()
    assert any(line.startswith("a new pod with app=db in namespace shop") for line in lines)
    assert "monitoring/prometheus  ingress and egress  none" in lines


@pytest.mark.parametrize(
    "args",
    [["--exposure", "--to", "shop/db"], ["--exposure", "-o", "csv"], ["--explain", "-o", "csv"]],
)
def test_options_that_do_not_go_together_are_refused(args):
    assert reach(*args).exit_code == 2
