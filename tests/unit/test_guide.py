"""The guide's blocks do what the guide says."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide.md"


def test_the_guide_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"^```pycon\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    # One after the other in one session, as a reader would type them.
    told = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "guide", str(GUIDE), 0)
    said: list[str] = []
    readable = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.DocTestRunner(optionflags=readable).run(told, out=said.append)
    assert result.attempted > 20
    assert not result.failed, "".join(said)
