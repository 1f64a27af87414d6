"""Folders as people have them: charts, kustomizations, patches, foreign and broken files."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from steppe.cli.main import main
from steppe.client.files import UnreadableError, manifests_in
from steppe.manifests.collect import collected

POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {0}}}\nspec: {{containers: [{{name: c}}]}}\n"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x}]}}
"""
PATCH = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def kubectl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program of that name, first on the path; "" for none at all."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", str(folder))
    if script:
        program = folder / "kubectl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def read(folder: Path) -> tuple[set[str], str]:
    """The objects that a folder has, and all that is told of what it has not."""
    found = collected(manifests_in([str(folder)]))
    told = [*found.gaps, *map(str, found.problems)]
    return {f"{ref.kind}/{ref.name}" for ref in found.objects}, "\n".join(told)


def test_broken_and_foreign_files_are_a_line_each_and_the_others_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.yaml": POD.format("a"),
            "b.yaml": "a: [\n",
            "c.yaml": "services: {web: {image: nginx}}\n",
            "d.json": '{"name": "package"}',
            "e.yaml": "- hosts: all\n",
            "f.yaml": POD.format("f") + "---\nkind: [\n---\n" + POD.format("g"),
            "g.yaml": "kind: Pod\nmetadata: {name: {{ .Values.name }}}\n",
            "h.yaml": "# nothing\n",
        },
    )
    objects, told = read(tmp_path)
    assert objects == {"Pod/a", "Pod/f", "Pod/g"}
    for name in ("b.yaml:2", "c.yaml:1", "d.json:1", "e.yaml:1", "f.yaml:7", "g.yaml:2"):
        assert sum(f"/{name} " in line for line in told.splitlines()) == 1, name
    assert "helm template" in told


def test_a_file_that_may_not_be_read_is_a_line(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": POD.format("a")})
    (tmp_path / "b.yaml").symlink_to("a.yaml/x")
    (tmp_path / "c.yaml").mkdir()
    assert read(tmp_path)[0] == {"Pod/a"}


def test_a_broken_document_that_shows_its_kind_is_an_object_that_cannot_be_counted_on(
    tmp_path: Path,
) -> None:
    head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n"
    broken = f"{head}  name: p\n  namespace: d\nspec: {{podSelector: {{}}\n"
    write(tmp_path, {"a.yaml": POD.format("a"), "b.yaml": broken})
    found = collected(manifests_in([str(tmp_path)]))
    ((ref, refused),) = found.refused.items()
    assert str(ref) == "NetworkPolicy/d/p"
    assert "b.yaml:7 is no YAML" in refused.problems[0].message


def test_a_chart_is_named_and_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.yaml": POD.format("a"),
            "chart/Chart.yaml": "name: chart\n",
            "chart/values.yaml": "replicas: 2\n",
            "chart/templates/b.yaml": POD.format("b"),
            "chart/charts/sub/Chart.yaml": "name: sub\n",
        },
    )
    objects, told = read(tmp_path)
    assert objects == {"Pod/a"}
    assert told.count("is a Helm chart") == 1
    assert f"helm template {tmp_path}/chart" in told
    with pytest.raises(UnreadableError, match="is a Helm chart"):
        list(manifests_in([str(tmp_path / "chart")]))


OVERLAYS = {
    "base/kustomization.yaml": "resources: [web.yaml]\n",
    "base/web.yaml": DEPLOYMENT,
    "prod/kustomization.yaml": "resources: [../base]\npatches: [{path: scale.yaml}]\n",
    "prod/scale.yaml": PATCH,
    "other.yaml": POD.format("other"),
}


def test_without_kubectl_a_kustomization_is_named_and_its_resources_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path / "bin", monkeypatch, "")
    write(tmp_path / "app", OVERLAYS)
    objects, told = read(tmp_path / "app")
    assert objects == {"Deployment/web", "Pod/other"}
    assert "there is no kubectl to build it" in told
    assert f"kubectl kustomize {tmp_path}/app/prod | steppe" in told


def test_with_kubectl_the_outer_kustomization_is_built_in_place_of_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made.yaml"
    made.write_text(POD.format("built"))
    kubectl(tmp_path / "bin", monkeypatch, f'[ "$1" = kustomize ] && exec /bin/cat {made}')
    write(tmp_path / "app", OVERLAYS)
    objects, told = read(tmp_path / "app")
    assert objects == {"Pod/built", "Pod/other"}
    assert not told
    result = CliRunner().invoke(main, ["lint", "-f", str(tmp_path / "app")])
    assert f"read as built: kubectl kustomize {tmp_path}/app/prod\n" in result.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "cannot build it"),
        (
            {"test/kustomization.yaml": "resources: [../base]\n"},
            "kustomizations that exclude each other (prod, test)",
        ),
        (
            {"base/kustomization.yaml": "resources: [web.yaml, 'https://example.org/x.yaml']\n"},
            "is a kustomization of https://example.org/x.yaml, which is elsewhere",
        ),
        (
            {"base/kustomization.yaml": f"resources: [web.yaml, {'x' * 300}]\n"},
            "xxx, which is elsewhere",
        ),
    ],
)
def test_a_kustomization_that_is_not_built_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, str], said: str
) -> None:
    kubectl(tmp_path / "bin", monkeypatch, "echo broken >&2; exit 1")
    write(tmp_path / "app", OVERLAYS | more)
    objects, told = read(tmp_path / "app")
    assert objects == {"Deployment/web", "Pod/other"}
    assert said.replace("build it", "build") in told


def test_kustomizations_that_share_nothing_are_all_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path / "bin", monkeypatch, 'echo "kind: Pod"; echo "metadata: {name: ${2##*/}}"')
    write(
        tmp_path / "app",
        {f"{n}/kustomization.yaml": "resources: [a.yaml]\n" for n in ("one", "two")}
        | {f"{n}/a.yaml": POD.format(f"raw-{n}") for n in ("one", "two")},
    )
    assert read(tmp_path / "app")[0] == {"Pod/one", "Pod/two"}


def test_a_patch_beside_its_object_is_not_read_as_one(tmp_path: Path) -> None:
    for order in ((DEPLOYMENT, PATCH), (PATCH, DEPLOYMENT)):
        write(tmp_path, {"all.yaml": "---\n".join(order)})
        objects, told = read(tmp_path)
        assert objects == {"Deployment/web"}
        assert "Deployment/default/web is a patch" in told


def test_json_lists_and_several_documents_are_read(tmp_path: Path) -> None:
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": n}} for n in "abcd"]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods[:2]})
    write(tmp_path, {"a.json": f"{text}\n{json.dumps(pods[2])}\n{json.dumps(pods[3])}\n"})
    assert read(tmp_path)[0] == {"Pod/a", "Pod/b", "Pod/c", "Pod/d"}


def test_folders_are_searched_with_kubectls_option_too(tmp_path: Path) -> None:
    write(tmp_path, {"deep/er/a.yaml": POD.format("a")})
    for options in (["-f", str(tmp_path)], ["-R", "-f", str(tmp_path)]):
        result = CliRunner().invoke(main, ["reach", *options, "-o", "json"])
        assert result.exit_code == 0, result.output
        assert "default/a" in result.stdout
