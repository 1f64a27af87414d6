"""Who has a place that several Services name: the oldest of them, as for everything here."""

from collections.abc import Iterable
from typing import Self

from steppe.kube.cause import ObjectRef
from steppe.kube.services import Service
from steppe.service.backends import Place, Vantage, ways

ServiceName = tuple[str, str]
"""Namespace and name."""


class Places:
    """The places that Services name on one node."""

    def __init__(self) -> None:
        self._named: dict[ServiceName, tuple[Place, ...]] = {}
        self._rivals: dict[Place, dict[ServiceName, Service]] = {}

    @classmethod
    def of(cls, vantage: Vantage, services: Iterable[Service]) -> Self:
        places = cls()
        for service in services:
            places.note((service.namespace, service.name), service, vantage)
        return places

    def note(
        self, name: ServiceName, service: Service | None, vantage: Vantage | None
    ) -> frozenset[ServiceName]:
        """Which places the Service names now; answers the other Services that this may concern."""
        before = self._named.pop(name, ())
        concerned: set[ServiceName] = set()
        for place in before:
            rivals = self._rivals[place]
            del rivals[name]
            if rivals:
                concerned.update(rivals)
            else:
                del self._rivals[place]
        if service is not None and vantage is not None:
            self._named[name] = tuple(way.place for way in ways(vantage, service))
            for place in self._named[name]:
                rivals = self._rivals.setdefault(place, {})
                concerned.update(rivals)
                rivals[name] = service
        return frozenset(concerned)

    def owner(self, place: Place) -> ObjectRef:
        """The Service that has a place; at least one has named it."""
        rivals = self._rivals[place].values()
        return min((service.created, service.ref) for service in rivals)[1]
