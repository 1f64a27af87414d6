"""Documents that say much with little are refused before a decoder reads them."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.document_limits import DEEPEST, TooDeepError, check_json, check_yaml

LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%b]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 10))
    for name in range(ord("b"), ord("l"))
)
MERGES = b"a: &a {k: v}\n" + b"".join(
    b"%c: &%c {<<: [%b]}\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 10))
    for name in range(ord("b"), ord("l"))
)


def nested(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[" * 100_000, "100 levels deep"),
        (b"- " * 100_000 + b"x", "100 levels deep"),
        (b"? " * 100_000 + b"x", "100 levels deep"),
        (b"{a: " * 101 + b"x" + b"}" * 101, "^it is nested more than 100 levels"),
        (b"---\nx\n---\n" + b"[" * 101, "it is nested"),
        # Shallow as text, and deep with its aliases followed.
        (b"a: &a %b\nb: %b*a%b\n" % (b"[" * 60 + b"]" * 60, b"[" * 60, b"]" * 60), "levels deep"),
        (LAUGHS, "its aliases stand for more than 100000 values"),
        (MERGES, "its aliases stand for more than 100000 values"),
        (b"a: &a [*a]", "an alias stands inside its anchor"),
    ],
)
def test_yaml_that_says_much_with_little_is_refused_at_once(text: bytes, says: str) -> None:
    began = time.monotonic()
    with pytest.raises(TooDeepError, match=says):
        check_yaml(text)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "text",
    [
        b"", b"a: [", b"\xff", b"a: *b", b"x: &a {k: v}\ny: {<<: *a}\nz: [*a, *a]",
        b"[" * 100 + b"]" * 100, yaml.safe_dump(nested(40)).encode(),
    ],
)  # fmt: skip
def test_other_yaml_is_let_pass(text: bytes) -> None:
    check_yaml(text)


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (b"[" * 100 + b"]" * 100, False),
        (b"[" * 101 + b"]" * 101, True),
        (b'{"a":' * 101, True),
        (b'["' + b"[" * 1000 + b'"]', False),
        (b'["\\"' + b"[" * 1000 + b'"]', False),
        (b"[]," * 1000, False),
        (b'"\\"' + b"[" * 1000, False),
        (b'"' + b"[" * 1000 + b"\\", False),
    ],
)
def test_json_is_as_deep_as_its_open_brackets(text: bytes, deep: bool) -> None:
    if deep:
        with pytest.raises(TooDeepError, match="100 levels"):
            check_json(text)
    else:
        check_json(text)


@pytest.mark.parametrize(
    "text", [b'\\"' * 500_000, b'"\\' * 500_000, b"[[" * 500_000, b"[]" * 10**6]
)
def test_time_is_in_proportion_to_size(text: bytes) -> None:
    began = time.monotonic()
    with contextlib.suppress(TooDeepError):
        check_json(b"[" * 101 + b"]" * 101 + text)
    assert time.monotonic() - began < 2


_TEXT = st.text('ab[]{}"\\é\n', max_size=5)
_VALUES = st.recursive(
    st.none() | _TEXT | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=20,
)


def levels_of(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(levels_of, value.values() if isinstance(value, dict) else value), default=0)


@settings(max_examples=50, deadline=None)
@given(_VALUES)
def test_levels_are_those_of_the_value_in_json_and_in_yaml(value: Any) -> None:
    levels = levels_of(value)
    texts = (msgspec.json.encode(value), json.dumps(value, indent=1).encode())
    for check, data in [*((check_json, text) for text in texts), (check_yaml, texts[0])]:
        check(data, levels)
        if levels:
            with pytest.raises(TooDeepError):
                check(data, levels - 1)
    check_yaml(yaml.safe_dump(value).encode(), levels)
    assert levels <= DEEPEST


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("lint",), b"- " * 100_000 + b"x"),
        (("lint",), LAUGHS),
        (("explain", "a", "b:80"), b"[" * 100_000),
        (("reach",), LAUGHS),
    ],
)
def test_such_a_file_is_a_sentence_of_each_command_and_nobodys_end(
    tmp_path: Path, command: tuple[str, ...], text: bytes
) -> None:
    """In a process of its own, for deep YAML has ended one by a signal."""
    path = tmp_path / "a.yaml"
    path.write_bytes(text)
    steppe = (sys.executable, "-P", "-c", "from steppe.cli.main import main; main()")
    done = subprocess.run(
        (*steppe, *command, "-f", path), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert str(path) in done.stderr.replace("\n", "")
