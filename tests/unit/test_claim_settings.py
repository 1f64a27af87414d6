"""What objects may claim, as every command that reads a cluster takes it: told, or published by the
agents, or by the agents' defaults.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from steppe.cli.main import main
from steppe.cli.settings import judged
from steppe.cli.source import Source
from steppe.lint.lint import lint
from steppe.manifests.cluster import loaded_from
from steppe.manifests.documents import Manifest
from steppe.net.address import parse_prefix
from steppe.settings import SETTINGS_ANNOTATION, Settings, settings_annotation

OWN_RANGE = "10.244.0.0/16"
NODES = """
kind: Node
metadata: {name: a, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.11}]}
---
kind: Node
metadata: {name: b, creationTimestamp: "2026-02-01T00:00:00Z"}
spec: {podCIDRs: [10.245.2.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.12}]}
"""
PODS = """
---
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: a, containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.5}]}
---
kind: Pod
metadata: {name: far, namespace: shop}
spec: {nodeName: b, containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 10.245.2.5}]}
"""
SERVICE = """
---
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.96.0.10, ports: [{port: 80}], externalIPs: [203.0.113.9]}
"""


def run(tmp_path: Path, text: str, *words: str) -> Result:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    given = [str(path) if word == "FILE" else word for word in words]
    return CliRunner().invoke(main, given, catch_exceptions=False)


def checks(tmp_path: Path, *words: str) -> dict[str, str]:
    told = run(tmp_path, NODES + PODS + SERVICE, "lint", "-f", "FILE", "-o", "json", *words)
    return {each["check"]: each["message"] for each in json.loads(told.stdout)["findings"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "have agents run with --external-ips deny"),
        (("--external-ips", "warn"), "have agents run with --external-ips deny"),
        (("--external-ips", "deny"), "are not served here"),
        (("--external-ips", "allow"), ""),
    ],
)
def test_lint_takes_external_ips_as_it_is_told(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    found = checks(tmp_path, *words)
    assert said in found.pop("external-ips", "")
    assert found == {}


def test_lint_names_a_prefix_outside_the_ranges_that_it_is_told(tmp_path: Path) -> None:
    assert "not-its-own" not in checks(tmp_path)
    found = checks(tmp_path, "--pod-ranges", OWN_RANGE)
    assert found["not-its-own"].startswith("10.245.2.0/24 lies in none of the cluster's pod ranges")


def test_lint_does_not_blame_nodes_that_it_has_made_up(tmp_path: Path) -> None:
    told = run(tmp_path, PODS, "lint", "-f", "FILE", "-o", "json", "--pod-ranges", "172.16.0.0/12")
    assert [each["object"]["kind"] for each in json.loads(told.stdout)["findings"]] == []


@pytest.mark.parametrize(("word", "served"), [("warn", True), ("allow", True), ("deny", False)])
def test_explain_serves_external_ips_as_it_is_told(tmp_path: Path, word: str, served: bool) -> None:
    words = ("explain", "-f", "FILE", "shop/far", "203.0.113.9:80", "--external-ips", word)
    told = run(tmp_path, NODES + PODS + SERVICE, *words)
    assert ("reaches svc/shop/web" in told.output) == served


def test_explain_notes_that_an_ends_prefix_is_outside_the_ranges(tmp_path: Path) -> None:
    words = ("explain", "-f", "FILE", "shop/far", "shop/web", "--port", "80")
    assert "pod ranges" not in run(tmp_path, NODES + PODS, *words).output
    told = run(tmp_path, NODES + PODS, *words, "--pod-ranges", OWN_RANGE)
    assert "pod ranges" in told.output


def test_reach_takes_nobodys_prefix_for_outside(tmp_path: Path) -> None:
    """Its own prefix that no pod has is nowhere; one that is refused is the Internet's."""
    words = ("reach", "-f", "FILE", "--to", "10.245.2.9", "-o", "json")
    assert run(tmp_path, NODES + PODS, *words).exit_code == 2
    assert run(tmp_path, NODES + PODS, *words, "--pod-ranges", OWN_RANGE).exit_code == 0


def test_diff_takes_both_states_by_the_same_settings(tmp_path: Path) -> None:
    change = tmp_path / "service.yaml"
    change.write_text(SERVICE)
    tables = {}
    for word in ("warn", "deny"):
        words = ("diff", "--base", "FILE", "-f", str(change), "-o", "json", "--external-ips", word)
        told = run(tmp_path, NODES + PODS, *words)
        tables[word] = json.dumps(json.loads(told.stdout)["tables"])
    assert "203.0.113.9" in tables["warn"]
    assert "203.0.113.9" not in tables["deny"]


@pytest.mark.parametrize("command", ["lint", "reach", "explain", "diff", "verify"])
def test_every_command_that_judges_a_cluster_can_be_told(command: str) -> None:
    said = CliRunner().invoke(main, [command, "--help"]).output
    assert "--pod-ranges" in said
    assert "--external-ips" in said


def test_what_is_no_prefix_is_bad_usage(tmp_path: Path) -> None:
    told = run(tmp_path, NODES, "lint", "-f", "FILE", "--pod-ranges", "10.244.0.0")
    assert told.exit_code == 2
    assert "has no /length" in told.output


def published(settings: Settings) -> list[dict[str, Any]]:
    documents = [*yaml.safe_load_all(NODES + PODS + SERVICE)]
    for document in documents:
        if document["kind"] == "Node":
            said = {SETTINGS_ANNOTATION: settings_annotation(settings)}
            document["metadata"]["annotations"] = said
    return documents


def test_a_live_clusters_agents_are_believed_unless_something_else_is_told() -> None:
    agents = Settings(pod_ranges=(parse_prefix(OWN_RANGE),), external_ips="deny")
    loaded = loaded_from(map(Manifest, published(agents)))
    live = Source(kubeconfig="some")
    found = {each.check for each in lint(judged(loaded, live))}
    assert found == {"not-its-own", "external-ips"}
    told = Source(kubeconfig="some", pod_ranges=(), external_ips="allow")
    assert lint(judged(loaded, told)) == ()
    assert judged(loaded, Source(filenames=("x",))).settings == Settings()
