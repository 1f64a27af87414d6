"""A matrix as SVG 1.1: names down and across, and a cell with a sign and a tooltip for each pair.

Signs differ in form, not in colour alone. The picture has no script, no style from elsewhere and no
reference to another file; all text is escaped, and characters that XML does not allow are left out.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Literal

import msgspec

Sign = Literal["all", "some", "none", "unknown"]
_CELL, _FONT, _GAP = 22, 12, 8
_WIDTH = 7
"""Of a character, in pixels: names are given room by it."""
_LONGEST = 60
_LEGEND: Mapping[Sign, str] = {
    "all": "everything that was asked",
    "some": "some of it",
    "none": "nothing",
    "unknown": "not known",
}
_DRAWN: Mapping[Sign, str] = {
    "all": '<circle r="7" fill="#1a7f37"/>',
    "some": '<circle r="7" fill="none" stroke="#1a7f37"/><path d="M0 -7A7 7 0 0 0 0 7Z" '
    'fill="#1a7f37"/>',
    "none": '<path d="M-5 -5L5 5M-5 5L5 -5" stroke="#cf222e" stroke-width="1.5"/>',
    "unknown": '<text text-anchor="middle" y="5" fill="#57606a">?</text>',
}


class Cell(msgspec.Struct, frozen=True):
    """One pair: its sign, and the text of its tooltip."""

    sign: Sign
    text: str


def matrix(cells: Mapping[tuple[str, str], Cell], title: str) -> Iterator[str]:
    """The picture, line by line: rows and columns in the order in which the latter first appear."""
    rows, columns = (list(dict.fromkeys(key[side] for key in cells)) for side in (0, 1))
    rows.sort(key=lambda name: columns.index(name) if name in columns else len(columns))
    left = _GAP * 2 + _WIDTH * max((len(_short(name)) for name in rows), default=0)
    top = 40 + _WIDTH * max((len(_short(name)) for name in columns), default=0)
    below = top + _CELL * len(rows)
    width = max(left + _CELL * len(columns) + top, 420)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{below + 110}" '
        f'font-family="sans-serif" font-size="{_FONT}" role="img">'
    )
    yield f"<title>{_text(title)}</title>"
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    yield f'<text x="{left - _GAP}" y="{top - _GAP}" text-anchor="end">from ↓ to →</text>'
    for number, name in enumerate(columns):
        x = left + _CELL * number + _CELL // 2
        yield (
            f'<text transform="translate({x} {top - _GAP}) rotate(-60)">{_text(_short(name))}'
            f"<title>{_text(name)}</title></text>"
        )
    for number, name in enumerate(rows):
        y = top + _CELL * number
        yield (
            f'<text x="{left - _GAP}" y="{y + 15}" text-anchor="end">{_text(_short(name))}'
            f"<title>{_text(name)}</title></text>"
        )
        yield f'<path d="M{left} {y}H{left + _CELL * len(columns)}" stroke="#d0d7de"/>'
    across = {name: number for number, name in enumerate(columns)}
    down = {name: number for number, name in enumerate(rows)}
    for (here, there), cell in cells.items():
        x = left + _CELL * across[there] + _CELL // 2
        y = top + _CELL * down[here] + _CELL // 2
        said = _text(f"{here} → {there}: {cell.text}")
        yield f'<g transform="translate({x} {y})"><title>{said}</title>{_DRAWN[cell.sign]}</g>'
    yield from _legend(below + 24)
    yield "</svg>"


def _legend(y: int) -> Iterator[str]:
    for number, (sign, text) in enumerate(_LEGEND.items()):
        yield (
            f'<g transform="translate(16 {y + 20 * number})">{_DRAWN[sign]}'
            f'<text x="14" y="4">{text}</text></g>'
        )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _text(text: str) -> str:
    """Text that cannot be taken for markup, without what XML 1.0 forbids (section 2.2, Char)."""
    return escape("".join(c for c in text if c in "\n\t" or (c >= " " and c not in _FORBIDDEN)))


_FORBIDDEN = frozenset("\ufffe\uffff") | frozenset(map(chr, range(0xD800, 0xE000)))
