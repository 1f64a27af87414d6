"""YAML as Kubernetes reads it: what texts stand for, where documents end, what is refused."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from steppe.manifests.yaml_text import YamlError, documents_of, parts_of

SCALARS: tuple[tuple[str, Any], ...] = (
    ("=", "="),
    ("y", True),
    ("on", True),
    ("No", False),
    ("nO", "nO"),
    ("~", None),
    ("", None),
    ("22:22", "22:22"),
    ("2026-01-02", "2026-01-02"),
    ("010", 8),
    ("0o10", 8),
    ("08", 8),
    ("0x1F", 31),
    ("0b11", 3),
    ("1_000", 1000),
    ("1e3", 1000),
    ("1.0", 1),
    ("1.10", 1.1),
    (".5", 0.5),
    ("._5", "._5"),
    ("1..2", "1..2"),
    ("_1", "_1"),
    ("1e400", "1e400"),
    ("+12", 12),
    ("'12'", "12"),
    ('"on"', "on"),
    ("!!str 12", "12"),
    ("!!int '7'", 7),
    ("!!binary aGk=", "hi"),
    ("!own x", "x"),
)
STREAM = (
    b"# first\n---\na: 1\n--- # second\n\nb: 2\n...\n---\n\n---\nc: |\n  ---\n  text\n--- {d: 4}\n"
)


def read(text: str) -> Any:
    (part,) = parts_of(text.encode())
    (document,) = documents_of(part.text)
    return document.content


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_a_text_stands_for_what_kubernetes_takes_it_for(text: str, value: Any) -> None:
    found = read(f"a: {text}\n")["a"]
    assert (found, type(found)) == (value, type(value))


def test_a_plain_sign_in_a_list_is_a_text() -> None:
    assert read("op:\n- =\n- '!='\n- <<\n") == {"op": ["=", "!=", "<<"]}


def test_keys_are_texts() -> None:
    text = "on: 1\n12: 2\n1.50: 3\nfalse: 4\n'no': 5\n"
    assert read(text) == {"true": 1, "12": 2, "1.5": 3, "false": 4, "no": 5}


def test_merged_mappings_give_way_to_what_stands_behind_them() -> None:
    text = "a: &a {x: 1, v: 2}\nb: &b {x: 5, z: 9}\nc: {<<: *a, x: 7}\nd: {<<: [*a, *b]}\n"
    found = read(text)
    assert found["c"] == {"x": 7, "v": 2}
    assert found["d"] == {"x": 1, "v": 2, "z": 9}


def test_a_key_that_is_given_twice_is_told_and_the_last_counts() -> None:
    (document,) = documents_of(b"a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert document.content == {"a": 3, "b": {"c": 2}}
    assert document.twice == ("c (line 2)", "a (line 3)")


def test_a_stream_is_cut_where_kubectl_cuts_it() -> None:
    parts = list(parts_of(STREAM))
    found = [
        (part.line + each.line - 1, each.content)
        for part in parts
        for each in documents_of(part.text)
    ]
    assert found == [(3, {"a": 1}), (6, {"b": 2}), (11, {"c": "---\ntext\n"}), (14, {"d": 4})]


def test_a_stream_without_documents_has_none() -> None:
    assert not list(parts_of(b"\n# nothing\n---\n  # more\n---\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: .inf\n", "is no number that an object can hold"),
        ("a: [\n", "did not find expected"),
        ("? [a]\n: 1\n", "a key is neither"),
        ("~: 1\n", "a key is neither"),
        ("a: !!int x\n", "cannot decode 'x' as a !!int"),
        ("a: !!python/name:os.system x\n", "nothing is known of the tag"),
        ("a: {<<: 1}\n", "map merge requires"),
        ("a: &a [*a]\n", "an alias stands inside its anchor"),
        ("a: *b\n", "undefined alias"),
        ("a:\n\t- b\n", "cannot start any token"),
        ("a: b: c\n", "mapping values are not allowed"),
    ],
)
def test_what_is_no_document_says_why(text: str, said: str) -> None:
    with pytest.raises(YamlError) as raised:
        list(documents_of(text.encode()))
    assert said in str(raised.value)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is what this is compared with")
def test_kubectl_reads_the_same(tmp_path: Path) -> None:
    lines = [f"  k{n}: {text}" for n, (text, _) in enumerate(SCALARS)]
    text = "\n".join(
        ("apiVersion: example.org/v1", "kind: Thing", "metadata: {name: a}", "spec:", *lines, "")
    )
    path = tmp_path / "a.yaml"
    path.write_text(text)
    done = subprocess.run(
        ["kubectl", "annotate", "--local", "-f", str(path), "-o", "json", "x=y"],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["spec"] == read(text)["spec"]
