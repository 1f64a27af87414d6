"""What a feed is: mirrors of one or more kinds, and the code that gives their objects to the
compiler.

To follow one more kind of object: a module with a feed, and a line in `Feeds`.
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
    """A kind of object to follow, and the method for its events, which returns the touched keys."""

    kind: Kind[Any, Any]
    take: Callable[[WatchEvent[Any]], frozenset[Key]]


class Feed(Protocol):
    """Keeps the compiler's objects of some kinds equal to those of the API."""

    @property
    def complete(self) -> bool:
        """Whether its lists are complete, so that the kernel may be changed by them."""

    @property
    def problems(self) -> Iterable[Problem]: ...

    @property
    def follows(self) -> Iterable[Follow]: ...


class Together:
    """Mirrors whose objects are used only together: the compiler gets none before all lists.

    One list without the others would look like deletions: of backends, of policies' peers.
    """

    def __init__(self, load: Callable[[], frozenset[Key]], *mirrors: Mirror[Any, Any]) -> None:
        """`load` gives all objects to the compiler, once, when the last list has arrived."""
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
        """Returns the keys that the event touched."""
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
    """Give each changed object to the compiler; returns the touched keys."""
    return NONE.union(
        *(set_(now) if now is not None else remove(name) for name, now in changed.items())
    )
