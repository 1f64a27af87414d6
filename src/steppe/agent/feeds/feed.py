"""What a feed is: mirrors of one or more kinds, and how their objects go to the compiler.

To make the agent follow one more kind of object: a module with a feed, and a line in `Feeds`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from steppe.client.informer import WatchEvent
from steppe.client.mirror import Kind, Mirror, Name
from steppe.kube.cause import Problem
from steppe.state.node import Key

NONE: frozenset[Key] = frozenset()
W = TypeVar("W")
T = TypeVar("T")


class Follow(msgspec.Struct, frozen=True):
    """A kind of object to follow, and who takes its events; it answers the keys one touched."""

    kind: Kind[Any, Any]
    take: Callable[[WatchEvent[Any]], frozenset[Key]]


class Feed(Protocol):
    """Keeps what the compiler knows of some kinds that of the API."""

    @property
    def complete(self) -> bool:
        """Whether enough is known for the kernel to be changed by it."""

    @property
    def problems(self) -> Iterable[Problem]: ...

    @property
    def follows(self) -> Iterable[Follow]: ...


class Together:
    """Mirrors whose objects are of use only together: none reach the compiler before all lists.

    One list without the others looks like deletions: of endpoints, of policies' peers.
    """

    def __init__(self, load: Callable[[], frozenset[Key]], *mirrors: Mirror[Any, Any]) -> None:
        """`load` hands all that is known to the compiler, once, with the last of the lists."""
        self._load = load
        self._mirrors = mirrors

    @property
    def complete(self) -> bool:
        return all(mirror.listed for mirror in self._mirrors)

    def take(
        self,
        mirror: Mirror[Any, T],
        event: WatchEvent[Any],
        apply: Callable[[dict[Name, T | None]], frozenset[Key]],
    ) -> frozenset[Key]:
        """Answers the keys the event touched."""
        was_complete = self.complete
        changed = mirror.take(event)
        if not self.complete:
            return NONE
        return apply(changed) if was_complete else self._load()


def applied(
    changed: Mapping[Name, T | None],
    set_: Callable[[T], frozenset[Key]],
    remove: Callable[[Name], frozenset[Key]],
) -> frozenset[Key]:
    """Hand each changed object to the compiler; answers the keys they touched."""
    return NONE.union(
        *(set_(now) if now is not None else remove(name) for name, now in changed.items())
    )
