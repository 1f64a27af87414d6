"""Which Service owns a frontend that several Services name: the oldest, as in every conflict."""

from collections.abc import Iterable
from typing import Self

from steppe.kube.cause import ObjectRef
from steppe.kube.services import Service
from steppe.service.backends import Vantage, ways
from steppe.service.table import Frontend

ServiceName = tuple[str, str]
"""Namespace and name."""


class Ownership:
    """Which Services name which frontend on one node, and which of them owns it.

    Invariant: `_rivals` is the inverse of `_named` and has no frontend without a Service; so the
    owner of a frontend depends only on the Services that exist, not on the order of events.
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
        """Record the frontends that the Service names now (None: it is deleted).

        Returns the other Services that name one of its old or new frontends: their ownership may
        have changed.
        """
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
        """The Service that owns a frontend; at least one Service must name it (else KeyError)."""
        rivals = self._rivals[front].values()
        return min((service.created, service.ref) for service in rivals)[1]

    def find(self, front: Frontend) -> ServiceName | None:
        """The Service that owns a frontend; None if no Service names it."""
        if front not in self._rivals:
            return None
        ref = self.owner(front)
        return ref.namespace, ref.name
