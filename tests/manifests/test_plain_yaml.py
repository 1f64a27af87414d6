"""The fast reader and the whole one: where the fast one answers, both say the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.manifests.plain_yaml import NOT_PLAIN, PlainYaml
from steppe.manifests.yaml_text import YamlError, composed, parts_of, plain

ROOT = Path(__file__).parents[2]


def flow(text: str) -> Any:
    (found,) = composed(text.encode())
    if found.twice:
        raise ValueError(text)
    return found.content


READER = PlainYaml(plain, flow)


def whole(text: bytes) -> Any:
    """What the whole reader makes of it; NOT_PLAIN for faults and for keys given twice."""
    try:
        (found,) = composed(text)
    except (YamlError, ValueError):
        return NOT_PLAIN
    return NOT_PLAIN if found.twice else found.content


def agree(text: bytes) -> bool:
    """Whether the fast reader answered, and then as the whole one does."""
    found = READER.document(text)
    if found is NOT_PLAIN:
        return False
    other = whole(text)
    assert found == other, text.decode()
    assert repr(found) == repr(other), "true is not 1"
    return True


SCALARS = st.one_of(
    st.text("abc:#-. '\"{}[]&*!|>%@`,?=~01xe_", max_size=8),
    st.sampled_from(["yes", "null", "~", "1e3", "010", "22:22", "=", "<<", "- a", "a: b", "a #b"]),
    st.integers(-9, 9),
    st.booleans(),
    st.none(),
)
KEYS = st.one_of(st.text("ab/.-_1", min_size=1, max_size=5), st.sampled_from(["on", "y", "1", "~"]))
VALUES = st.recursive(
    SCALARS, lambda some: st.lists(some, max_size=3) | st.dictionaries(KEYS, some, max_size=3)
)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from([None, False, True]), st.booleans())
def test_what_is_written_by_a_program_is_read_alike(value: Any, style: Any, indented: bool) -> None:
    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            return super().increase_indent(flow, indentless and not indented)

    agree(yaml.dump(value, Dumper=Dumper, default_flow_style=style).encode())


PIECES = st.sampled_from(
    [
        *("a:", "b:", "a: 1", "b: x y", "- ", "-", "- a", "- a: 1", "- - b", "# c", "", "x", "'q'"),
        *('"q": 1', "a: 'it''s'", "a: |", "a: >-", "a: &n 1", "a: *n", "a: {b: 1}", "a: [b, c]"),
        *(
            "a: [b",
            "a: {}",
            "- {}",
            "a: b: c",
            "a: b:",
            "a:b",
            "a: b # c",
            "a: b#c",
            "a: #c",
            "a : 1",
        ),
        *("<<: 1", "? a", ": a", "a: - b", "---", "...", "a: !x 1", "a: -", "a: -1", "a: -x", "%x"),
        *("a: |-", "- |", "- a: |+", "- - |", "a: | # c", "a: |1", "x", " y", "   ", '"q": |', "|"),
        *("é: ü", "a: ' ö'", "a: \xa0", "- 日本 # 語", "a: \u2028"),
        *("a: 'x", "a: [b] # ]", "a: {b: 1, b: 2}", "a: 1 ", "- a:", "a: @x", "a: x: ", "on: 1"),
    ]
)
LINES = st.lists(st.tuples(st.integers(0, 5), PIECES), max_size=7)
BLOCKS = st.tuples(
    st.sampled_from(["a: |", "a: |-", "a: |+", "- |", "- b: |-", "b:\n- |", "a:\n  - c: |+"]),
    st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["", "x", "# c", "b: 1", "- y"])), max_size=6
    ),
    st.sampled_from(["", "z: 1", "- z", "# c", "  # c"]),
)


@settings(max_examples=400, deadline=None)
@given(LINES, st.sampled_from(["\n", ""]))
def test_lines_in_any_order_are_read_alike_or_left_to_the_other(
    lines: list[tuple[int, str]], end: str
) -> None:
    agree(("\n".join(" " * indent + text for indent, text in lines) + end).encode())


@settings(max_examples=400, deadline=None)
@given(BLOCKS, st.sampled_from(["\n", ""]))
def test_blocks_are_read_alike_or_left_to_the_other(
    written: tuple[str, list[tuple[int, str]], str], end: str
) -> None:
    head, lines, after = written
    text = "\n".join([head, *(" " * indent + text for indent, text in lines), after])
    agree((text + end).encode())


def test_manifests_are_of_the_plain_part() -> None:
    texts = [path.read_bytes() for path in sorted((ROOT / "examples").rglob("*.yaml"))]
    texts += [path.read_bytes() for path in sorted((ROOT / "tests/data/reports").glob("*.yaml"))]
    parts = [part.text for text in texts for part in parts_of(text)]
    answered = sum(map(agree, parts))
    assert len(parts) > 50
    assert answered > 0.8 * len(parts)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a:\n- b\n- c:\n  - d\ne:\n", {"a": ["b", {"c": ["d"]}], "e": None}),
        ("-\n  a: 1\n- - b\n  - c\n", [{"a": 1}, ["b", "c"]]),
        ("a: http://x:80/#y # z\n", {"a": "http://x:80/#y"}),
        ('"a b/c": {x: [1, "2"]}\n', {"a b/c": {"x": [1, "2"]}}),
        ("a: |\n  x\n\n   y\n\nb: 1\n", {"a": "x\n\n y\n", "b": 1}),
        (
            "a:\n- |-\n x: 1\n # y\n- b: |+\n    z\n\n  c: 2\n",
            {"a": ["x: 1\n# y", {"b": "z\n\n", "c": 2}]},
        ),
        ("a: grün # weiß\n", {"a": "grün"}),
        ("# c\n\na:\n  # d\n  b: 'x: y'\n", {"a": {"b": "x: y"}}),
    ],
)
def test_the_plain_part_is_read(text: str, value: Any) -> None:
    assert READER.document(text.encode()) == value == whole(text.encode())


def test_flow_collections_are_not_shared() -> None:
    found = READER.document(b"a: [{b: 1}]\nc: [{b: 1}]\n")
    found["a"][0]["b"] = 2
    assert found["c"] == [{"b": 1}]
