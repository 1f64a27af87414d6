from pathlib import Path

import pytest

from tests.golden.cases import folders, rendered


@pytest.mark.parametrize("folder", folders(), ids=lambda path: path.name)
def test_tables_and_walks_are_the_golden_ones(folder: Path) -> None:
    for name, text in rendered(folder).items():
        assert text == (folder / name).read_text(), f"{folder.name}/{name}: see `make golden`"
