import pytest

from tests.golden.explanations import FOLDER, asks, explained, rendered


def test_explanations_are_the_golden_ones() -> None:
    for name, text in rendered().items():
        assert text == (FOLDER / name).read_text(), f"explain/{name}: see `make golden`"


@pytest.mark.parametrize("width", [40, 60, 200])
def test_no_line_is_wider_than_the_terminal_but_for_a_long_word(width: int) -> None:
    for words in asks().values():
        for line in explained(words, promised=False, width=width).splitlines():
            assert len(line) <= width or len(line.split()) <= 3, line
