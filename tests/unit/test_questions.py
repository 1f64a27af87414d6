"""The commands of docs/questions.md print what the page says.

STEPPE_REWRITE=1 pytest tests/unit/test_questions.py    writes what they print into the page
"""

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from steppe.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "questions.md"
BLOCK = re.compile(r"^```console\n\$ steppe (.*)\n((?:.*\n)*?)```$", re.MULTILINE)


def printed(command: str) -> str:
    """What the command prints, on standard output alone."""
    result = CliRunner().invoke(main, shlex.split(command), catch_exceptions=False)
    assert result.exit_code in (0, 1), result.output
    return result.stdout


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")


def test_the_page_is_true() -> None:
    text = PAGE.read_text()
    if os.environ.get("STEPPE_REWRITE"):
        text = BLOCK.sub(lambda m: f"```console\n$ steppe {m[1]}\n{printed(m[1])}```", text)
        PAGE.write_text(text)
    blocks = BLOCK.findall(text)
    assert {command.split()[0] for command, _ in blocks} == {"reach", "diff", "compare"}
    for command, told in blocks:
        assert told == printed(command), command


def test_every_question_of_the_table_has_its_example() -> None:
    text = PAGE.read_text()
    commands = " ".join(command for command, _ in BLOCK.findall(text))
    for option in ("--explain", "--exposure", "-o md"):
        assert option in commands
