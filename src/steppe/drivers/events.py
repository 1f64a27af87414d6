"""The events of a driver: somebody else has changed its tables."""

import msgspec

from steppe.state.node import Key, Value


class Seen(msgspec.Struct, frozen=True):
    """A key in our scope has this value now; None: it has no entry.

    `foreign`: another program's route is under this key. It matters only if we want the key; a
    change that replaces it has the foreign value as its old one.
    """

    key: Key
    value: Value | None
    foreign: bool = False


class Lost(msgspec.Struct, frozen=True):
    """Entries may have changed without events: those on `link`, or any if `link` is ""."""

    reason: str
    link: str = ""


Event = Seen | Lost
