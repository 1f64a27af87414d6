"""Manifests from files: documents with their places, and a sentence for whatever is none."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from steppe.client.files import UnreadableError, manifests_in


def read(path: Path) -> list[tuple[object, str]]:
    return [(m.content, m.where.replace(str(path), "")) for m in manifests_in([str(path)])]


def test_folders_are_searched_in_order_and_documents_know_their_lines(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.yml").write_text("c: 3\n")
    (tmp_path / "a.yaml").write_text("# first\n---\na: 1\n---\n\nb: 2\n")
    (tmp_path / "c.json").write_text('{"d": 4}')
    (tmp_path / "note.txt").write_text("not: {this")
    assert read(tmp_path) == [
        ({"a": 1}, "/a.yaml:3"),
        ({"b": 2}, "/a.yaml:6"),
        ({"c": 3}, "/b/x.yml:1"),
        ({"d": 4}, "/c.json:1"),
    ]


def test_a_file_that_is_named_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text("{a: 1}")  # begins as JSON does
    assert read(path) == [({"a": 1}, ":1")]


def test_dates_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("at: 2026-01-02T03:04:05Z\nday: 2026-01-02\n")
    assert read(path) == [({"at": "2026-01-02T03:04:05Z", "day": "2026-01-02"}, ":1")]


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a: 1\n")))
    assert [m.where for m in manifests_in(["-"])] == ["standard input:1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: [\n", "a.yaml:3 is no YAML: "),
        (b"a: {{ .Values.x }}\n", "`helm template` makes manifests"),
        (b"a: !!python/object:os.system {}\n", "a.yaml:1 is no YAML: "),
        (b"a: \xff\xfe\n", "a.yaml is no YAML: "),
        (b"a: &a [*a\n", "a.yaml:1 is no manifest: an alias stands inside"),
        (b"[" * 20_000, "a.yaml:1 is no manifest: it is nested more than 100 levels"),
        (b'{"a": 1', "is no YAML: "),
    ],
)
def test_what_is_no_yaml_is_a_sentence_with_its_place(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(UnreadableError) as raised:
        list(manifests_in([str(path)]))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_document_that_holds_itself_is_a_sentence_and_other_aliases_are_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {b: 1}\nc: [*a, *a]\n")
    assert read(path) == [({"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}, ":1")]
    path.write_text("kind: List\nitems: &i [{kind: List, items: *i}]\n")
    with pytest.raises(UnreadableError, match=r"a\.yaml:2 is no manifest: an alias stands inside"):
        read(path)


def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(UnreadableError, match=str(path)):
            list(manifests_in([str(path)]))


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n"])
def test_a_pipe_from_which_nothing_came_is_an_error(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    with pytest.raises(UnreadableError, match="standard input is empty: no manifest came"):
        list(manifests_in(["-"]))


def test_a_file_may_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    path.touch()
    assert read(path) == []
