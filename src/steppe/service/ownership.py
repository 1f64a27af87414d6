"""Which Service owns a frontend that several Services have: the oldest."""

from collections.abc import Iterable
from typing import Self

from steppe.kube.cause import ObjectRef
from steppe.kube.services import Service
from steppe.service.backends import Vantage, named_frontends
from steppe.service.table import Frontend

ServiceName = tuple[str, str]
"""Namespace and name."""


class FrontendOwners:
    """The frontends of all Services on one node, and the owner of each.

    Invariant: `_rivals` is the inverse of `_named` and has no frontend without a Service. So the
    owner of a frontend depends on the current Services only, not on the order of events.
    """

    def __init__(self) -> None:
        self._named: dict[ServiceName, tuple[Frontend, ...]] = {}
        self._rivals: dict[Frontend, tuple[Service, ...]] = {}

    @classmethod
    def of(cls, vantage: Vantage, services: Iterable[Service]) -> Self:
        owners = cls()
        for service in services:
            owners.note((service.namespace, service.name), service, vantage)
        return owners

    def note(
        self, name: ServiceName, service: Service | None, vantage: Vantage | None
    ) -> frozenset[ServiceName]:
        """Store the Service's current frontends (None: it has none).

        Returns the other Services that share a frontend with it, before or after.
        """
        before = self._named.pop(name, ())
        concerned: set[ServiceName] = set()
        for front in before:
            rivals = tuple(each for each in self._rivals.pop(front) if _name(each) != name)
            if rivals:
                self._rivals[front] = rivals
                concerned.update(map(_name, rivals))
        if service is not None and vantage is not None:
            self._named[name] = tuple(named.front for named in named_frontends(vantage, service))
            for front in self._named[name]:
                rivals = self._rivals.get(front, ())
                concerned.update(map(_name, rivals))
                self._rivals[front] = (*rivals, service)
        return frozenset(concerned)

    def owner(self, front: Frontend) -> ObjectRef:
        """The Service that owns a frontend; KeyError if no Service has it."""
        rivals = self._rivals[front]
        if len(rivals) == 1:  # as of nearly all
            return rivals[0].ref
        return min((service.created, service.ref) for service in rivals)[1]

    def find(self, front: Frontend) -> ServiceName | None:
        """The Service that owns a frontend; None if no Service has it."""
        if front not in self._rivals:
            return None
        ref = self.owner(front)
        return ref.namespace, ref.name


def _name(service: Service) -> ServiceName:
    return service.namespace, service.name
