"""The objects of one kind as the API last gave them, and the Problems with them.

One rule for all kinds: **an incomplete or missing view deletes nothing that the last complete view
had.** Only three events are complete, so that objects missing from them are deleted: a list, the
deletion of an object, and 404 for a kind that may be absent and was never listed. After all other
events the known objects stay in force, and a Problem says so:

    event                        what is known afterwards               Problem
    a list                       the objects in it                      of each object
    an object                    the object                             of the object
    an object deleted            no such object                         none
    an object cannot be read     as before, or the kind's stand-in      of the object
    … and is then deleted        no such object                         none
    a list with such objects     the others; these as before            of those objects
    403, 404                     as before                              of the kind, with its cure
    404 at first, may be absent  nothing, and the view is complete      none

Policies have a stand-in: a policy that cannot be read must deny rather than stay as it was. If a
list is not to be used for another reason (a list of nodes without our own node), the consumer
decides that: `known` is always what the API gave.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from steppe.client.informer import Deleted, Refused, Replaced, Unreadable, Upserted, WatchEvent
from steppe.client.resources import Resource
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.wire import ObjectMeta, own

Name = tuple[str, str]
"""Namespace and name; the namespace is empty for what belongs to none."""
NAMELESS: Name = ("", "")
FORBIDDEN, NOT_FOUND = 403, 404


class Seen(Protocol):
    """An object as decoded from the API."""

    @property
    def metadata(self) -> ObjectMeta: ...


W = TypeVar("W", bound=Seen)
T = TypeVar("T")


class Checked(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """What stays of a decoded object: its checked form, and a Problem for each part left out."""

    name: Name
    value: T
    problems: tuple[Problem, ...]


class Kind(msgspec.Struct, Generic[W, T], frozen=True, kw_only=True):
    """How the objects of one kind are decoded, and the texts of their Problems."""

    resource: Resource
    wire: Any
    """The type that `W` is decoded to."""
    parse: Callable[[W], tuple[T, Iterable[Problem]]]
    """Makes the checked object, and a Problem for each part that had to be left out."""
    stand_in: Callable[[Name], T] | None = None
    """Makes the stand-in for an object that cannot be read; None: its last known value stays."""
    instead: str = ""
    """The effect of a stand-in, as text for its Problem."""
    may_be_absent: bool = False
    """Whether 404 means that there are no such objects."""
    label_selector: str = ""
    until_listed: str = (
        "until then nothing in this node's kernel changes, and no pod starts that a policy may "
        "select"
    )
    """The effect of never having seen the list, as text for its Problem."""

    def check(self, seen: W) -> Checked[T]:
        """The object checked. A Mirror does this itself with what it is given as decoded."""
        value, problems = self.parse(seen)
        meta = seen.metadata
        return Checked((own(meta.namespace), own(meta.name)), value, tuple(problems))

    @property
    def cause(self) -> Cause:
        """The kind as a whole, as cause of Problems that do not belong to one object."""
        return Cause(ObjectRef(self.resource.kind, "", "", self.resource.group))


class Mirror(Generic[W, T]):
    """The objects of one kind; the module's docstring says what each event does to them.

    Invariant: `known` has the objects of the last list with every later change; `problems` has one
    Problem at least for each object or list for which `known` may differ from the API.
    """

    def __init__(self, kind: Kind[W, T]) -> None:
        self.kind = kind
        self.listed = False
        """Whether there has been a complete view; before that, objects may exist that are not
        known.
        """
        self.refused = 0
        """The HTTP status with which the API server refuses the list; 0 if it does not."""
        self._known: dict[Name, T] = {}
        self._partial: dict[Name, tuple[Problem, ...]] = {}
        self._unreadable: dict[Name, Problem] = {}

    @property
    def known(self) -> Mapping[Name, T]:
        return self._known

    @property
    def doubts(self) -> Iterator[Problem]:
        """Why `known` may differ from the API: a refused list, and objects that cannot be read."""
        if self.refused:
            yield self._refusal()
        yield from self._unreadable.values()

    @property
    def problems(self) -> Iterator[Problem]:
        """All Problems: `doubts`, and parts of objects that had to be left out."""
        yield from self.doubts
        for group in self._partial.values():
            yield from group

    def __contains__(self, name: Name) -> bool:
        """Whether an object of this name exists, readable or not."""
        return name in self._known or name in self._unreadable

    def take(self, event: WatchEvent[W] | WatchEvent[Checked[T]]) -> dict[Name, T | None]:
        """Take in an event; returns the new object of each changed name, None if it is deleted."""
        match event:
            case Replaced(items, unreadable):
                return self._replace(items, unreadable)
            case Upserted(item):
                return self._learn(self._checked(item))
            case Deleted(item):
                return self._forget((self._checked(item).name,))
            case Unreadable(deleted=True):
                return self._forget(((event.namespace, event.name),))
            case Unreadable():
                return self._doubt(event)
            case Refused(status):
                self._refuse(status)
        return {}

    def _checked(self, item: W | Checked[T]) -> Checked[T]:
        return item if isinstance(item, Checked) else self.kind.check(item)

    def _replace(
        self, items: Iterable[W | Checked[T]], unreadable: Iterable[Unreadable]
    ) -> dict[Name, T | None]:
        now = {item.name: item for item in map(self._checked, items)}
        doubtful = {(each.namespace, each.name): each for each in unreadable}
        self.listed, self.refused = True, 0
        changed: dict[Name, T | None] = {}
        # Without a readable name it may be any object.
        if NAMELESS not in doubtful:
            held = self._known.keys() | self._unreadable.keys()
            changed |= self._forget(held - now.keys() - doubtful.keys())
        for item in now.values():
            changed |= self._learn(item)
        for each in doubtful.values():
            changed |= self._doubt(each)
        return changed

    def _learn(self, seen: Checked[T]) -> dict[Name, T | None]:
        self._unreadable.pop(seen.name, None)
        self._partial.pop(seen.name, None)
        if seen.problems:
            self._partial[seen.name] = seen.problems
        return self._set(seen.name, seen.value)

    def _set(self, name: Name, known: T) -> dict[Name, T | None]:
        # Consumers may keep the object: return the same one if it is equal, to save memory.
        if self._known.get(name) == known:
            return {}
        self._known[name] = known
        return {name: known}

    def _forget(self, names: Iterable[Name]) -> dict[Name, T | None]:
        gone = tuple(names)
        for name in gone:
            for where in (self._known, self._unreadable, self._partial):
                where.pop(name, None)
        return dict.fromkeys(gone)

    def _doubt(self, event: Unreadable) -> dict[Name, T | None]:
        name, resource = (event.namespace, event.name), self.kind.resource
        stand_in = self.kind.stand_in
        if stand_in is not None:
            then = self.kind.instead
        elif name in self._known:
            then = "what was last known of it stays in force"
        else:
            then = "it is left out"
        why = f"not readable as a {resource.kind}: {event.error}; {then}; correct the object"
        ref = ObjectRef(resource.kind, *name, resource.group)
        self._unreadable[name] = Problem(Cause(ref), why)
        if stand_in is None:
            return {}
        self._partial.pop(name, None)
        return self._set(name, stand_in(name))

    def _refuse(self, status: int) -> None:
        if status == NOT_FOUND and self.kind.may_be_absent and not self._known:
            self.listed, self.refused = True, 0
            return
        self.refused = status

    def _refusal(self) -> Problem:
        what, group = self.kind.resource.plural, self.kind.resource.group
        if self.refused == FORBIDDEN:
            why = (
                f"the API server forbids this agent to list them (403): have its ClusterRole allow "
                f'list and watch of resources ["{what}"] in apiGroups ["{group}"]'
            )
        else:
            versions = (each.api_version for each in self.kind.resource.versions)
            why = f"the API server knows no {what} of {' or '.join(versions)} ({self.refused})"
        then = "those known before stay in force" if self.listed else self.kind.until_listed
        return Problem(self.kind.cause, f"{why}; {then}")
