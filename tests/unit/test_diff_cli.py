"""`steppe diff` as it is typed, and what applying or deleting manifests comes to."""

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from steppe.cli.main import main
from steppe.kube.cause import ObjectRef
from steppe.manifests.documents import Objects, ref_of
from steppe.reach.changes import applied, deleted

SHOP = Path(__file__).with_name("shop.yaml")
CHANGED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: sql}]}]
"""
SHUT = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: monitoring}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def diff(tmp_path: Path, text: str, *args: object) -> Result:
    path = tmp_path / "change.yaml"
    path.write_text(text)
    words = ["diff", "--base", SHOP, "-f", path, *args]
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def section(text: str, title: str) -> list[list[str]]:
    """The rows below a title, without their headers."""
    (_, _, rest) = text.partition(f"\n{title}\n")
    lines = rest.split("\n\n")[0].splitlines()[1:]
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def test_it_tells_what_opens_and_what_closes_and_why(tmp_path):
    result = diff(tmp_path, CHANGED)
    assert result.exit_code == 1
    assert result.output.startswith("This change denies and allows traffic.")
    shut = "isolated by NetworkPolicy/shop/db, NetworkPolicy/shop/default-deny"
    assert section(result.output, "NEWLY DENIED") == [
        ["shop/db (2 pods)", "TCP 5432", "shop/api (2 pods)", shut],
        ["shop/db (2 pods)", "TCP 9187", "monitoring/prometheus (1 pod)", shut],
    ]
    opened = section(result.output, "NEWLY ALLOWED")
    rule = "NetworkPolicy/shop/db spec.ingress[0]"
    assert ["shop/db (2 pods)", "TCP 5432", "shop/web (3 pods)", rule] in opened
    assert any(row[-1] == "no longer isolated by NetworkPolicy/shop/db" for row in opened)
    assert section(result.output, "SERVICES") == [
        ["svc/shop/db:5432/TCP", "allowed → denied", "shop/api (2 pods)"],
        ["svc/shop/db:5432/TCP", "denied → allowed", "shop/web (3 pods)"],
        ["svc/shop/web:80/TCP", "denied → allowed", "shop/db (2 pods)"],
    ]
    assert [row[0] for row in section(result.output, "TABLES")] == ["node-a", "node-b"]


@pytest.mark.parametrize(("fail_on", "code"), [("deny", 1), ("any", 1), ("allow", 0)])
def test_the_exit_code_is_for_what_fails_a_pipeline(tmp_path, fail_on, code):
    assert diff(tmp_path, SHUT, "--fail-on", fail_on).exit_code == code


def test_what_is_there_already_changes_nothing(tmp_path):
    result = diff(tmp_path, SHOP.read_text())
    assert result.exit_code == 0
    assert "Nothing changes for any flow." in result.output
    assert "no entry changes on any node" in result.output


def test_deleting_is_told_as_such_and_what_is_not_there_too(tmp_path):
    name = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: db, "
    result = diff(tmp_path, name + "namespace: shop}}", "--delete")
    assert "NEWLY ALLOWED" in result.output
    nobody = diff(tmp_path, name + "namespace: elsewhere}}", "--delete")
    assert nobody.exit_code == 0
    assert "not there, so deleting it changes nothing" in nobody.output


def test_a_namespace_that_goes_takes_its_pods_along(tmp_path):
    text = "{apiVersion: v1, kind: Namespace, metadata: {name: monitoring}}"
    closed = section(diff(tmp_path, text, "--delete").output, "NEWLY DENIED")
    assert {row[-1] for row in closed} == {"it is gone", "the sender is gone"}


def test_another_fabric_changes_tables_and_no_flow(tmp_path):
    result = diff(tmp_path, "", "--fabric", "vxlan")
    assert result.exit_code == 1
    assert "Nothing changes for any flow." in result.output
    assert all("fdb +1" in row[1] for row in section(result.output, "TABLES"))
    assert diff(tmp_path, "", "--fabric", "vxlan", "--fail-on", "deny").exit_code == 0


def test_wide_lists_every_entry(tmp_path):
    told = section(diff(tmp_path, SHUT, "-o", "wide").output, "TABLES")
    assert any(row[1].startswith("add elements @") for row in told)


def test_json_says_the_same_by_number(tmp_path):
    said = json.loads(diff(tmp_path, SHUT, "-o", "json").output)
    assert said["schema"] == "steppe.diff/v1"
    assert (said["opens"], said["closes"]) == (False, True)
    names = [group["name"] for group in said["groups"]]
    for flow in said["flows"]:
        assert names[flow["to"]] == "monitoring/prometheus (1 pod)"
        assert "isolated by NetworkPolicy/monitoring/shut" in flow["denied"]["because"]
    assert set(said["tables"]) <= {"node-a", "node-b"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("diff", "--base", SHOP), "what would change?"),
        (("diff", "--base", SHOP, "-f", "/nowhere.yaml"), "cannot read /nowhere.yaml"),
        (("diff", "--base", "/nowhere.yaml", "-f", SHOP), "cannot read /nowhere.yaml"),
        (("diff", "--base", SHOP, "--lab", "x", "-f", SHOP), "which cluster is meant?"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence_and_exit_code_2(args, said):
    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == 2
    assert said in result.output


def objects(text: str) -> Objects:
    return {ref_of(document): document for document in yaml.safe_load_all(text)}


RUNNING = """
{kind: Deployment, apiVersion: apps/v1, metadata: {name: web, namespace: x},
 spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, v: "1"}}}}}
---
{kind: ReplicaSet, apiVersion: apps/v1, metadata: {name: web-5d, namespace: x,
 ownerReferences: [{kind: Deployment, name: web, controller: true}]}}
---
{kind: Pod, apiVersion: v1, metadata: {name: web-5d-q, namespace: x,
 labels: {app: web, v: "1", pod-template-hash: 5d},
 ownerReferences: [{kind: ReplicaSet, name: web-5d, controller: true}]},
 spec: {nodeName: node-a}, status: {podIP: 10.0.0.7}}
---
{kind: Service, apiVersion: v1, metadata: {name: web, namespace: x},
 spec: {clusterIP: 10.96.0.7, selector: {app: web}}}
"""
POD = ObjectRef("Pod", "x", "web-5d-q")


def test_running_pods_follow_their_workloads_template():
    change = objects(
        "{kind: Deployment, metadata: {name: web, namespace: x}, spec: {selector: {}, "
        "template: {metadata: {labels: {app: web, tier: front}}}}}"
    )
    after = applied(objects(RUNNING), change).objects[POD]
    assert after["metadata"]["labels"] == {
        "app": "web",
        "tier": "front",
        "pod-template-hash": "5d",
    }
    assert after["status"] == {"podIP": "10.0.0.7"}


def test_what_the_server_decided_stays():
    change = objects(
        "{kind: Pod, metadata: {name: web-5d-q, namespace: x, labels: {app: api}}, spec: {}}\n---\n"
        "{kind: Service, metadata: {name: web, namespace: x}, spec: {selector: {app: api}}}"
    )
    after = applied(objects(RUNNING), change).objects
    assert after[POD]["spec"] == {"nodeName": "node-a"}
    assert after[POD]["status"] == {"podIP": "10.0.0.7"}
    service = after[ObjectRef("Service", "x", "web")]
    assert service["spec"] == {"clusterIP": "10.96.0.7", "selector": {"app": "api"}}


def test_what_goes_takes_along_what_it_owns():
    after = deleted(objects(RUNNING), [ObjectRef("Deployment", "x", "web")])
    assert set(after.objects) == {ObjectRef("Service", "x", "web")}
    assert after.missing == ()


def test_a_change_of_external_traffic_policy_is_told(tmp_path: Path) -> None:
    before = Path(__file__).parents[1] / "data" / "reports" / "explain-masqueraded-sender.yaml"
    local = before.read_text().replace(
        "{type: NodePort, selector", "{type: NodePort, externalTrafficPolicy: Local, selector"
    )
    after = tmp_path / "local.yaml"
    after.write_text(local)
    result = CliRunner().invoke(main, ["diff", "--base", str(before), "-f", str(after)])
    assert result.exit_code == 1
    assert "denied → allowed" in result.output
    assert "198.51.100.0/28" in result.output


def committed(folder: Path, text: str) -> None:
    (folder / "manifests").mkdir(exist_ok=True)
    (folder / "manifests" / "all.yaml").write_text(text)
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "as it was")):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
            cwd=folder,
            check=True,
        )


def revised(folder: Path, base: str, *args: object) -> Result:
    words = ["diff", "--base", base, "-f", folder / "manifests", *args]
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def test_a_git_revision_is_what_was_there(tmp_path):
    committed(tmp_path, SHOP.read_text())
    assert revised(tmp_path, "HEAD").exit_code == 0
    (tmp_path / "manifests" / "shut.yaml").write_text(SHUT)
    result = revised(tmp_path, "HEAD", "--fail-on", "deny")
    assert result.exit_code == 1
    assert "isolated by NetworkPolicy/monitoring/shut" in result.output


def test_what_a_later_revision_does_not_have_is_deleted(tmp_path):
    committed(tmp_path, SHOP.read_text() + "\n---" + SHUT)
    (tmp_path / "manifests" / "all.yaml").write_text(SHOP.read_text())
    result = revised(tmp_path, "HEAD", "--fail-on", "allow")
    assert result.exit_code == 1
    assert "no longer isolated by NetworkPolicy/monitoring/shut" in result.output


def test_revisions_are_read_by_a_python_without_filters_of_archives(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")  # Debian 12 has Python 3.11.2
    committed(tmp_path, SHOP.read_text() + "\n---" + SHUT)
    (tmp_path / "manifests" / "all.yaml").write_text(SHOP.read_text())
    assert revised(tmp_path, "HEAD", "--fail-on", "allow").exit_code == 1


def test_two_folders_are_compared_as_wholes(tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(SHOP.read_text() + "\n---" + SHUT)
    new.write_text(SHOP.read_text())
    words = ["diff", "--base", old, "-f", new]
    partial = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert partial.exit_code == 0
    whole = CliRunner().invoke(main, [*map(str, words), "--whole"], catch_exceptions=False)
    assert whole.exit_code == 1
    assert "no longer isolated by NetworkPolicy/monitoring/shut" in whole.output


def test_a_folder_that_is_new_since_the_revision_was_empty(tmp_path):
    committed(tmp_path, SHOP.read_text())
    (tmp_path / "manifests").rename(tmp_path / "later")
    words = ["diff", "--base", "HEAD", "-f", tmp_path / "later", "--tables"]
    result = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 1
    assert "NEWLY ALLOWED" in result.output


def test_links_out_of_a_revision_are_left_out_unless_they_are_manifests(tmp_path):
    committed(tmp_path, SHOP.read_text())
    (tmp_path / "manifests" / "README").symlink_to("/etc/hostname")
    committed(tmp_path, SHOP.read_text())
    assert revised(tmp_path, "HEAD").exit_code == 0
    (tmp_path / "manifests" / "more.yaml").symlink_to("/etc/more.yaml")
    committed(tmp_path, SHOP.read_text())
    result = revised(tmp_path, "HEAD")
    assert result.exit_code == 2
    assert "manifests at HEAD is not read" in result.output
    assert "more.yaml" in result.output


@pytest.mark.parametrize(
    ("base", "args", "said"),
    [
        ("no-such", (), "is neither a file nor a revision"),
        ("--output=/tmp/x", (), "is neither a file nor a revision"),
        ("HEAD", ("-f", "-"), "give the files to compare with -f"),
        ("HEAD", ("-f", "/etc"), "is in no git repository"),
        ("v1.2", (), "is neither a file nor a revision"),
        ("HEAD", ("--delete", "--whole"), "give one"),
    ],
)
def test_what_is_no_revision_is_a_sentence_and_exit_code_2(tmp_path, base, args, said):
    committed(tmp_path, SHOP.read_text())
    result = revised(tmp_path, base, *args)
    assert result.exit_code == 2
    assert said in result.output
