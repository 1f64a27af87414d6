"""ServiceCIDR events into the compiler: where no Service has an address, nothing shall answer.

Clusters before Kubernetes 1.33 may not have the kind, or not let the agent see it. There the set
stays empty and packets to unused addresses go where the routes lead.
"""

from steppe.client.informer import Deleted, Refused, Replaced, Unreadable, Upserted, WatchEvent
from steppe.compile.incremental import NodeCompiler
from steppe.kube import service_wire as wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.services import range_from
from steppe.state.node import Key

NONE: frozenset[Key] = frozenset()


class RangeFeed:
    """Keeps the compiler's service ranges those of the API."""

    def __init__(self, compiler: NodeCompiler) -> None:
        self._compiler = compiler
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self.complete = False
        """Whether the list has been seen, or that there is none to be had."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for group in self._problems.values() for problem in group)

    def take(self, event: WatchEvent[wire.ServiceCIDR]) -> frozenset[Key]:
        """Answers the keys the event touched."""
        match event:
            case Refused():
                self.complete = True
            case Replaced(items):
                self.complete = True
                names = {item.metadata.name for item in items}
                gone = self._problems.keys() - names
                touched = [self._set(item) for item in items]
                return NONE.union(*touched, *(self._remove(name) for name in gone))
            case Upserted(item):
                return self._set(item)
            case Deleted(item):
                return self._remove(item.metadata.name)
            case Unreadable(name=name, error=error):
                cause = Cause(ObjectRef("ServiceCIDR", "", name))
                self._problems[name] = (Problem(cause, f"not readable: {error}"),)
        return NONE

    def _set(self, seen: wire.ServiceCIDR) -> frozenset[Key]:
        known, problems = range_from(seen)
        # Every name that is known has a place here, also those with nothing to tell.
        self._problems[known.name] = problems
        return self._compiler.set_service_range(known)

    def _remove(self, name: str) -> frozenset[Key]:
        self._problems.pop(name, None)
        return self._compiler.remove_service_range(name)
