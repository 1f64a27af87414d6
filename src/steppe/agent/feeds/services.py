"""Service and EndpointSlice events into the compiler.

Nothing is compiled, and so nothing in the kernel changes, before both lists are there: half the
truth would first take away what an earlier agent had put in place.
"""

from collections.abc import Iterable

from steppe.client.informer import Deleted, Replaced, Unreadable, Upserted, WatchEvent
from steppe.compile.incremental import NodeCompiler
from steppe.kube import service_wire as wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.services import EndpointSlice, Service, service_from, slice_from
from steppe.state.node import Key

Name = tuple[str, str]
NONE: frozenset[Key] = frozenset()


class ServiceFeed:
    """Keeps the compiler's Services and slices those of the API, each with what is wrong."""

    def __init__(self, compiler: NodeCompiler) -> None:
        self._compiler = compiler
        self._services: dict[Name, Service] = {}
        self._slices: dict[Name, EndpointSlice] = {}
        self._seen: set[str] = set()
        self._problems: dict[ObjectRef, tuple[Problem, ...]] = {}

    @property
    def complete(self) -> bool:
        """Whether both lists have been seen."""
        return len(self._seen) == 2

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for group in self._problems.values() for problem in group)

    def take_service(self, event: WatchEvent[wire.Service]) -> frozenset[Key]:
        """Answers the keys the event touched."""
        match event:
            case Replaced(items):
                gone = self._known("Service", self._services) - {_name(item) for item in items}
                touched = [self._set_service(item) for item in items]
                touched += [self._drop_service(name) for name in gone]
                return self._first("services", NONE.union(*touched))
            case Upserted(item):
                return self._set_service(item)
            case Deleted(item):
                return self._drop_service(_name(item))
            case Unreadable(deleted=True):
                return self._drop_service((event.namespace, event.name))
            case Unreadable():
                self._unreadable("Service", event)
        return NONE

    def take_slice(self, event: WatchEvent[wire.EndpointSlice]) -> frozenset[Key]:
        """Answers the keys the event touched."""
        match event:
            case Replaced(items):
                gone = self._known("EndpointSlice", self._slices) - {_name(item) for item in items}
                touched = [self._set_slice(item) for item in items]
                touched += [self._drop_slice(name) for name in gone]
                return self._first("slices", NONE.union(*touched))
            case Upserted(item):
                return self._set_slice(item)
            case Deleted(item):
                return self._drop_slice(_name(item))
            case Unreadable(deleted=True):
                return self._drop_slice((event.namespace, event.name))
            case Unreadable():
                self._unreadable("EndpointSlice", event)
        return NONE

    def _first(self, what: str, touched: frozenset[Key]) -> frozenset[Key]:
        """With the second of the two lists, everything known goes to the compiler at once."""
        was_complete = self.complete
        self._seen.add(what)
        if was_complete or not self.complete:
            return touched
        parts = [self._compiler.set_slice(slice_) for slice_ in self._slices.values()]
        parts += [self._compiler.set_service(service) for service in self._services.values()]
        return touched.union(*parts)

    def _set_service(self, seen: wire.Service) -> frozenset[Key]:
        service, problems = service_from(seen)
        self._note(service.ref, problems)
        self._services[service.namespace, service.name] = service
        return self._compiler.set_service(service) if self.complete else NONE

    def _drop_service(self, name: Name) -> frozenset[Key]:
        self._services.pop(name, None)
        self._note(ObjectRef("Service", *name), ())
        return self._compiler.remove_service(*name) if self.complete else NONE

    def _set_slice(self, seen: wire.EndpointSlice) -> frozenset[Key]:
        slice_, problems = slice_from(seen)
        self._note(slice_.ref, problems)
        self._slices[slice_.namespace, slice_.name] = slice_
        return self._compiler.set_slice(slice_) if self.complete else NONE

    def _drop_slice(self, name: Name) -> frozenset[Key]:
        self._slices.pop(name, None)
        self._note(ObjectRef("EndpointSlice", *name), ())
        return self._compiler.remove_slice(*name) if self.complete else NONE

    def _known(self, kind: str, readable: Iterable[Name]) -> set[Name]:
        """All of a kind that has been heard of: an object may be known by its Problem only."""
        told = {(ref.namespace, ref.name) for ref in self._problems if ref.kind == kind}
        return told.union(readable)

    def _unreadable(self, kind: str, event: Unreadable) -> None:
        """What was known of the object serves on until it can be read again, or is listed anew."""
        ref = ObjectRef(kind, event.namespace, event.name)
        self._note(ref, (Problem(Cause(ref), f"not readable as a {kind}: {event.error}"),))

    def _note(self, ref: ObjectRef, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        if found:
            self._problems[ref] = found
        else:
            self._problems.pop(ref, None)


def _name(item: wire.Service | wire.EndpointSlice) -> Name:
    return (item.metadata.namespace, item.metadata.name)
