"""Gives ServiceCIDR events to the compiler: packets to unused cluster IPs are refused.

Clusters before Kubernetes 1.33 may not have the kind: then the set stays empty, and packets to
unused addresses follow the routes. If the agent may not list it (403), that is a Problem, but
nothing else waits for it: the prefixes in the kernel stay.
"""

from collections.abc import Iterable

from steppe.agent.feeds.feed import Follow, applied
from steppe.client.informer import WatchEvent
from steppe.client.mirror import Kind, Mirror, Name
from steppe.client.resources import SERVICECIDRS
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.registry import data_plane
from steppe.kube import service_wire as wire
from steppe.kube.cause import Problem
from steppe.kube.services import ServiceRange, range_from
from steppe.state.node import Key

RANGE = Kind(
    resource=SERVICECIDRS,
    wire=wire.ServiceCIDR,
    parse=range_from,
    may_be_absent=True,
    until_listed="until then the ranges of cluster IPs that this node's kernel has stay as they "
    "are, and packets to other unused cluster IPs are not refused",
)


class RangeFeed:
    """Keeps the compiler's ranges of cluster IPs equal to those of the API."""

    def __init__(self, compiler: NodeCompiler) -> None:
        self._compiler = compiler
        self._ranges = Mirror(RANGE)
        self._remembered: ServiceRange | None = None

    @property
    def complete(self) -> bool:
        """Whether the list has arrived, or the server refuses it."""
        return self._ranges.listed or bool(self._ranges.refused)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._ranges.problems)

    @property
    def follows(self) -> tuple[Follow, ...]:
        return (Follow(RANGE, self.take),)

    def remember(self, kernel: Iterable[Key]) -> None:
        """Keep the ranges that an earlier agent left in the kernel until the list has arrived."""
        prefixes = tuple(data_plane(self._compiler.settings).service_ranges(kernel))
        if prefixes and not self._ranges.listed:
            self._remembered = ServiceRange("", prefixes)
            self._compiler.set_service_range(self._remembered)

    def take(self, event: WatchEvent[wire.ServiceCIDR]) -> frozenset[Key]:
        """Returns the keys that the event touched."""
        touched = self._set(self._ranges.take(event))
        if self._ranges.listed and self._remembered is not None:
            touched |= self._compiler.remove_service_range(self._remembered.name)
            self._remembered = None
        return touched

    def _set(self, changed: dict[Name, ServiceRange | None]) -> frozenset[Key]:
        compiler = self._compiler
        remove = compiler.remove_service_range
        return applied(changed, compiler.set_service_range, lambda name: remove(name[1]))
