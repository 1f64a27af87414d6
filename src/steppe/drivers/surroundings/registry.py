"""All readers, by the part of Surroundings that they read: a new kind is a module and a line."""

from collections.abc import Callable
from typing import Any

from steppe.drivers.surroundings import (
    altered,
    links,
    neighbours,
    packet_rules,
    routes,
    rules,
    xfrm,
)
from steppe.drivers.surroundings.look import Look
from steppe.errors import SteppeError
from steppe.state.surroundings import Surroundings, Unread

READERS: dict[str, Callable[[Look], tuple[Any, ...]]] = {
    "rules": rules.read,
    "routes": routes.read,
    "links": links.read,
    "settings": links.read_settings,
    "neighbours": neighbours.read,
    "packet_rules": packet_rules.read,
    "xfrm": xfrm.read,
    "altered": altered.read,
}
_WORDS = {
    "rules": "ip rules",
    "packet_rules": "others' packet rules",
    "xfrm": "IPsec policies",
    "altered": "the rules of Steppe's own table",
    "settings": "settings of links",
}


def surroundings(look: Look) -> Surroundings:
    """Everything in the caller's namespace; a part that cannot be read is named as such."""
    parts: dict[str, tuple[Any, ...]] = {}
    unread: list[Unread] = []
    for part, read in READERS.items():
        try:
            parts[part] = read(look)
        except (SteppeError, OSError) as error:
            unread.append(Unread(_WORDS.get(part, part), str(error)))
    return Surroundings(**parts, unread=tuple(unread))
