"""Who has a frontend that several Services name: the oldest, as for everything here."""

from collections.abc import Iterable
from typing import Self

from steppe.kube.cause import ObjectRef
from steppe.kube.services import Service
from steppe.service.backends import Vantage, ways
from steppe.service.table import Frontend

ServiceName = tuple[str, str]
"""Namespace and name."""


class Ownership:
    """Who names which frontend on one node.

    Invariant: `_rivals` is `_named` the other way round, and holds no frontend that nobody names;
    so the owner of a frontend depends on present Services alone, not on the order of events.
    """

    def __init__(self) -> None:
        self._named: dict[ServiceName, tuple[Frontend, ...]] = {}
        self._rivals: dict[Frontend, dict[ServiceName, Service]] = {}

    @classmethod
    def of(cls, vantage: Vantage, services: Iterable[Service]) -> Self:
        ownership = cls()
        for service in services:
            ownership.note((service.namespace, service.name), service, vantage)
        return ownership

    def note(
        self, name: ServiceName, service: Service | None, vantage: Vantage | None
    ) -> frozenset[ServiceName]:
        """What the Service names now; answers the other Services that this may concern."""
        before = self._named.pop(name, ())
        concerned: set[ServiceName] = set()
        for front in before:
            rivals = self._rivals[front]
            del rivals[name]
            if rivals:
                concerned.update(rivals)
            else:
                del self._rivals[front]
        if service is not None and vantage is not None:
            self._named[name] = tuple(way.front for way in ways(vantage, service))
            for front in self._named[name]:
                rivals = self._rivals.setdefault(front, {})
                concerned.update(rivals)
                rivals[name] = service
        return frozenset(concerned)

    def owner(self, front: Frontend) -> ObjectRef:
        """The Service that has a frontend; at least one has named it."""
        rivals = self._rivals[front].values()
        return min((service.created, service.ref) for service in rivals)[1]

    def find(self, front: Frontend) -> ServiceName | None:
        """The Service that has a frontend; None where nobody names it."""
        if front not in self._rivals:
            return None
        ref = self.owner(front)
        return ref.namespace, ref.name
