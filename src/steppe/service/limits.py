"""How much one Service may ask of a node; the ports beyond that are not served, on any node.

A function of the Service and its slices alone, so that whoever looks at a cluster and every agent
say the same (service/granted.py, service/backends.py).
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from steppe.kube.cause import Cause, Problem
from steppe.kube.services import EndpointSlice, Service, ServicePort

MAX_ENTRIES = 20_000
"""About its frontends times its endpoints: entries of a node's tables. Node ports count as if each
node had one address a family."""
_NODE_PORTS = 2
_WIDEST = 6
"""Entries of an endpoint at one address, with session affinity and externalTrafficPolicy Local."""


_Counted = tuple[Mapping[tuple[str, str], int], Counter[int]]
"""The ports of a slice (`EndpointSlice.numbers`), and how many endpoints it has in each family."""


def fitting(
    service: Service, slices: Iterable[EndpointSlice]
) -> tuple[Service, tuple[Problem, ...]]:
    """The Service with its first ports, as many as there is room for; the others are `unserved`."""
    known = tuple(slices)
    if not may_exceed(MAX_ENTRIES, service, known):
        return service, ()
    numbered = [(each.numbers(), _families(each)) for each in known]
    room = MAX_ENTRIES
    for index, port in enumerate(service.ports):
        room -= _entries(service, _endpoints(port, numbered), node_port=bool(port.node_port))
        if room < 0:
            served, left = service.ports[:index], service.ports[index:]
            problem = Problem(Cause(service.ref, f"spec.ports[{index}]"), _message(left))
            return msgspec.structs.replace(service, ports=served, unserved=left), (problem,)
    return service, ()


def may_exceed(limit: int, service: Service, slices: Iterable[EndpointSlice]) -> bool:
    """Whether a Service may need more entries than this, if each port leads to all endpoints."""
    most, ports = sum(len(each.endpoints) for each in slices), len(service.ports)
    # As nearly all of them are small, it is first told of numbers that are at hand.
    addresses = len(service.cluster_ips) + len(service.external_ips) + _NODE_PORTS
    addresses += len(service.load_balancer_ips) * (1 + len(service.source_ranges))
    if ports * addresses * (1 + _WIDEST * most) <= limit:
        return False
    return _entries(service, dict.fromkeys((4, 6), most)) * ports > limit


def _message(left: tuple[ServicePort, ...]) -> str:
    first = left[0]
    which = f"port {first.port}/{first.protocol}"
    more = f" and {len(left) - 1} ports after it are" if len(left) > 1 else " is"
    return (
        f"its ports times its addresses and endpoints are more than {MAX_ENTRIES:,}, so "
        f"{which}{more} not served; make several Services of it, with fewer ports or endpoints each"
    )


def _endpoints(port: ServicePort, slices: Iterable[_Counted]) -> Counter[int]:
    """How many a port has in each family."""
    found: Counter[int] = Counter()
    for numbers, endpoints in slices:
        if numbers.get((port.name, port.protocol)):
            found.update(endpoints)
    return found


def _families(slice_: EndpointSlice) -> Counter[int]:
    found: Counter[int] = Counter()
    found.update(endpoint.address.version for endpoint in slice_.endpoints)
    return found


def _entries(service: Service, endpoints: dict[int, int], *, node_port: bool = True) -> int:
    """What one port needs in a data plane, with so many endpoints in each family."""
    each = (3 if service.affinity_seconds else 1) * (2 if service.external_local else 1)
    fronts = Counter(address.version for address in service.addresses)
    if node_port:
        fronts.update(set(fronts))
    admitted = len(service.source_ranges) * len(service.load_balancer_ips)
    return admitted + sum(
        count * (1 + each * endpoints.get(version, 0)) for version, count in fronts.items()
    )
