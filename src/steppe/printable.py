"""Text of others, made harmless where people read it: on a terminal and in logs.

Whoever names a link, writes an annotation or a rule's comment chooses text that ends on the
terminal of whoever runs `steppe audit`. Control sequences there can clear the screen, hide or move
lines, or set the clipboard; marks of writing direction change what a line seems to say.
"""

import re

_ODD = re.compile(
    # Of the control characters line ends, tabs and what colours text may stay, and a line that the
    # next one replaces (a progress line's end).
    r"(?P<colour>\x1b\[(?:[0-4]|22|[39][0-7]|39)m)"
    r"|\r(?!\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
    r"|[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """The text on one line: what cannot be printed, line ends too, is escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def harmless(text: str) -> str:
    """Whole output: lines, tabs and colours stay; what else could steer a terminal is escaped."""
    return _ODD.sub(lambda found: found["colour"] or _escaped(found[0]), text)


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode()
