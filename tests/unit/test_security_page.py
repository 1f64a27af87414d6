"""docs/security.md: each promise has a rule that is there, and a test that is there."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from tests.attack import oddities, shots

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|")
][2:]
SHOTS: tuple[ModuleType, ...] = (shots, oddities)


def quoted(cell: str) -> list[str]:
    return re.findall("`(.*?)`", cell)


def is_code(word: str) -> bool:
    places = (ROOT / "src" / "steppe" / word, ROOT / "lab" / "src" / "steppe_lab" / word)
    return any(place.exists() for place in places)


def is_test(word: str, cell: str) -> bool:
    """A file or folder, by its path or beside another one of the cell; or attacks of a kind."""
    folders = {Path(other).parent for other in quoted(cell) if other.startswith("tests/")}
    folders |= {Path(other) for other in quoted(cell) if (ROOT / other).is_dir()}
    places = [ROOT / word, *(ROOT / folder / word for folder in folders)]
    return any(place.exists() for place in places) or any(hasattr(m, word) for m in SHOTS)


def test_the_page_has_promises_and_what_is_none() -> None:
    assert len(ROWS) > 15
    assert "## What is not promised" in PAGE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_a_promise_names_from_whom_by_which_rule_and_the_test(row: list[str]) -> None:
    promise, whom, rule, test = row
    assert all((promise, whom, rule, test))
    assert [
        word for word in quoted(test) if "rp_filter" not in word and not is_test(word, test)
    ] == []
    assert any("test" in word for word in quoted(test))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_the_rules_that_a_promise_names_are_there(row: list[str]) -> None:
    rule = row[2]
    rules = "\n".join(str(each) for chain in SKELETON.chains for each in chain.rules)
    chains, sets = {chain.name for chain in SKELETON.chains}, set(SKELETON.sets_by_name)
    named = re.findall(r"chains? ((?:`[^`]+`(?:, )?)+)", rule)
    assert {word for words in named for word in quoted(words)} <= chains
    for word in quoted(rule):
        if word.startswith("@"):
            assert word[1:] in sets or f"{word[1:]}4" in sets, word
        elif word.endswith((".py", "/patch")):
            assert is_code(word), word
        elif " " in word and not word.endswith("8"):
            assert word in rules, word
