"""Gives Service and EndpointSlice events to the compiler.

Before both lists are complete nothing is compiled, and so nothing in the kernel changes: Services
without their slices would look as if all backends were deleted.
"""

from steppe.agent.feeds.behind import Behind
from steppe.agent.feeds.feed import Follow, Together, applied
from steppe.agent.hurry import Hurry
from steppe.client.informer import WatchEvent
from steppe.client.mirror import Kind, Mirror, Name
from steppe.client.resources import ENDPOINTSLICES, SERVICES
from steppe.compile.incremental import NodeCompiler
from steppe.kube import service_wire as wire
from steppe.kube.cause import Problem
from steppe.kube.services import (
    HEADLESS_LABEL,
    EndpointSlice,
    Service,
    service_from,
    slice_from,
)
from steppe.state.node import Key

SERVICE = Kind(resource=SERVICES, wire=wire.Service, parse=service_from)
SLICE = Kind(
    resource=ENDPOINTSLICES,
    wire=wire.EndpointSlice,
    parse=slice_from,
    label_selector=f"!{HEADLESS_LABEL}",
)


class ServiceFeed:
    """Keeps the compiler's Services and slices equal to those of the API."""

    def __init__(self, compiler: NodeCompiler, hurry: Hurry | None = None) -> None:
        self._compiler = compiler
        self._services = Mirror(SERVICE)
        self._slices = Mirror(SLICE)
        self._both = Together(self._load, self._services, self._slices)
        self.behind = Behind(compiler.offers, hurry)
        """Its long work."""

    @property
    def complete(self) -> bool:
        """Whether both lists have arrived, and what they come to is worked out."""
        return self._both.complete and self._compiler.offers.loaded

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (*self._services.problems, *self._slices.problems)

    @property
    def follows(self) -> tuple[Follow, ...]:
        return (Follow(SERVICE, self.take_service), Follow(SLICE, self.take_slice))

    def take_service(self, event: WatchEvent[wire.Service]) -> frozenset[Key]:
        """Returns the keys that the event touched."""
        return self._both.take(self._services, event, self._set_services)

    def take_slice(self, event: WatchEvent[wire.EndpointSlice]) -> frozenset[Key]:
        """Returns the keys that the event touched."""
        return self._both.take(self._slices, event, self._set_slices)

    def _load(self) -> frozenset[Key]:
        return self._compiler.offers.learn(
            tuple(self._services.known.values()), tuple(self._slices.known.values())
        )

    def _set_services(self, changed: dict[Name, Service | None]) -> frozenset[Key]:
        compiler = self._compiler
        return applied(changed, compiler.set_service, lambda name: compiler.remove_service(*name))

    def _set_slices(self, changed: dict[Name, EndpointSlice | None]) -> frozenset[Key]:
        compiler = self._compiler
        return applied(changed, compiler.set_slice, lambda name: compiler.remove_slice(*name))
