"""The limits find what breaks them, and nothing else."""

from pathlib import Path

import pytest
from tools.limits import EXCUSED, breaches


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("src/steppe/cni", "bench", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def function(lines: int, docstring: str = "") -> str:
    body = [f'    """{docstring}"""'] if docstring else []
    return "\n".join(["def long():", *body, *["    pass"] * (lines - 1)]) + "\n"


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("src/steppe/a.py", "x = 1\n" * 399, ""),
        ("src/steppe/a.py", "x = 1\n" * 400, "a.py: 400 lines"),
        ("bench/a.py", function(39), ""),
        ("bench/a.py", function(40), "a.py:long: 40 lines"),
        ("bench/a.py", function(39, "words\n" * 5), ""),
        ("src/steppe/cni/a.py", "import os.path\nfrom steppe.cni.b import c\n", ""),
        ("src/steppe/cni/a.py", "def f():\n    import msgspec\n", "imports msgspec"),
        ("src/steppe/cni/a.py", "from steppe.errors import SteppeError\n", "imports steppe.errors"),
        ("src/steppe/cni/a.py", "from . import b\n", "imports ."),
        ("src/steppe/agent.py", "import msgspec\n", ""),
    ],
)
def test_a_breach_is_one_line(tree: Path, monkeypatch, path: str, text: str, said: str):
    monkeypatch.setattr("tools.limits.EXCUSED", {})
    (tree / path).write_text(text)
    found = list(breaches(tree))
    assert len(found) == bool(said)
    assert all(said in line for line in found)


def test_an_excuse_holds_until_it_is_not_needed(tree: Path, monkeypatch):
    monkeypatch.setattr("tools.limits.EXCUSED", {"bench/a.py:long": "a table"})
    (tree / "bench/a.py").write_text(function(40))
    assert list(breaches(tree)) == []
    (tree / "bench/a.py").write_text(function(3))
    assert list(breaches(tree)) == ["bench/a.py:long: excused in limits.py, but not over any limit"]


def test_every_excuse_has_a_reason():
    assert all(EXCUSED.values())
