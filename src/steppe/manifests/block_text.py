"""Literal block scalars (`key: |`), taken out of a text before its lines are read.

    command: |                 command: MARK0          MARK0: two lines, each with its break
      set -e            ─▶
      run

"The content indentation level is set to its value [of the first non-empty line]" (YAML 1.2.2,
8.1.1.1). Folded scalars, indentation indicators and what ends with the text are left to others.
"""

import re

MARK = "\x01"
"""What stands for a block; no text that is read here has it."""
_HEADER = re.compile(
    r"""
    (\ *)((?:-\ +)*)                                             # indentation, dashes
    (?:(?:[\w./][\w./-]*|"[^"\\]*"|'[^']*'):\ +)?                # a key
    \|([+-]?)(?:\ +\#.*|\ *)
    """,
    re.VERBOSE,
)


def without_blocks(text: str) -> tuple[str, dict[str, str]] | None:
    """The text with a mark for each block, and the blocks; None if it has one that is not of this
    part of YAML.
    """
    if "|" not in text:
        return text, {}
    lines, at = text.split("\n"), 0
    kept: list[str] = []
    blocks: dict[str, str] = {}
    while at < len(lines):
        line = lines[at]
        header = _HEADER.fullmatch(line) if "|" in line else None
        at += 1
        if header is None:
            kept.append(line)
            continue
        end = _end(lines, at, _column(header) + 1)
        if end is None:
            return None
        depth, after = end
        mark = f"{MARK}{len(blocks)}"
        blocks[mark] = _chomped([each[depth:] for each in lines[at:after]], header[3])
        kept.append(line[: header.start(3) - 1] + mark)
        at = after
    return "\n".join(kept), blocks


def _column(header: re.Match[str]) -> int:
    """The column of the mapping or the list that has the block."""
    indent, dashes = header[1], header[2]
    has_key = header.start(3) - 1 > header.end(2)
    if has_key or not dashes:
        return len(indent) + len(dashes) if has_key else -1
    return len(indent) + dashes.rindex("-")


def _end(lines: list[str], start: int, least: int) -> tuple[int, int] | None:
    """The indentation of a block's content, and the first line behind it; None if others decide."""
    first = start
    while first < len(lines) and not lines[first].strip(" "):
        first += 1
    if first == len(lines):
        return None
    depth = _indentation(lines[first])
    if depth < least or any(len(line) > depth for line in lines[start:first]):
        return None
    end = first
    while end < len(lines) and (_indentation(lines[end]) >= depth or not lines[end].strip(" ")):
        end += 1
    if end < len(lines):
        return depth, end
    # The last of the lines is what is behind the last line break: nothing, if the text ends there.
    return None if lines[-1] else (depth, end - 1)


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _chomped(content: list[str], indicator: str) -> str:
    """The lines with their breaks: one at the end, none (`-`), or as many as there are (`+`)."""
    last = len(content)
    while last and not content[last - 1]:
        last -= 1
    text = "\n".join(content[:last])
    return text if indicator == "-" else text + "\n" * (len(content) - last + 1 if indicator else 1)
