"""Files with manifests are read whole before anything is started."""

import pytest

from steppe_lab.manifests import read_manifests
from steppe_lab.record import LabError


def test_documents_lists_and_empty_documents(tmp_path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n---\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Pod, metadata: {name: two}}\n"
    )
    assert [item["metadata"]["name"] for item in read_manifests((file,))] == ["one", "two"]


def test_a_folder_is_its_manifests_in_the_order_of_their_names(tmp_path) -> None:
    for name in ("b.yaml", "a.yml"):
        (tmp_path / name).write_text(
            f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name[0]}}}\n"
        )
    (tmp_path / "README.md").write_text("no manifest")
    assert [item["metadata"]["name"] for item in read_manifests((tmp_path,))] == ["a", "b"]


def test_what_a_folder_has_and_is_not_read_is_not_passed_over(tmp_path, monkeypatch) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
    app, chart = tmp_path / "app", tmp_path / "chart"
    for folder, files in (
        (app, {"kustomization.yaml": "resources: [pod.yaml]\n", "pod.yaml": pod}),
        (chart, {"web/Chart.yaml": "name: x\n", "pod.yaml": pod}),
    ):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    for folder, why in ((app, "app is a kustomization"), (chart, "chart/web is a Helm chart")):
        with pytest.raises(LabError, match=why):
            read_manifests((folder,))
    script = '#!/bin/sh\nwhile read -r line; do echo "$line"; done <"$2/pod.yaml"\n'
    (programs / "kubectl").write_text(script)
    (programs / "kubectl").chmod(0o755)
    assert [item["metadata"]["name"] for item in read_manifests((app,))] == ["web"]


@pytest.mark.parametrize(
    "text",
    [
        "just text",
        "- a\n- b\n",
        "kind: Pod\nmetadata: {name: x}\n",
        "apiVersion: v1\nmetadata: {name: x}\n",
        "apiVersion: v1\nkind: Pod\n",
        "apiVersion: v1\nkind: Pod\nmetadata: [x]\n",
        "a: [",
    ],
)
def test_what_is_no_object_is_named_with_its_file(tmp_path, text) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(LabError, match=r"bad\.yaml"):
        read_manifests((file,))
