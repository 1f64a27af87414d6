"""What a driver tells of its tables when somebody else has changed them."""

import msgspec

from steppe.state.node import Key, Value


class Seen(msgspec.Struct, frozen=True):
    """A key in our scope now holds this value, or nothing.

    `foreign`: another program's route has taken this key's place. It concerns us only if the
    key is one of ours; to replace it, name its value as the old one.
    """

    key: Key
    value: Value | None
    foreign: bool = False


class Lost(msgspec.Struct, frozen=True):
    """Entries may have changed without an event: those over `link`, or any at all if empty."""

    reason: str
    link: str = ""


Event = Seen | Lost
