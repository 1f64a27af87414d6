"""How much one Service may ask of a node; the ports beyond that are not served, on any node.

A function of the Service and its slices alone, so that whoever looks at a cluster and every agent
say the same (service/granted.py, service/backends.py).
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from steppe.kube.cause import Cause, Problem
from steppe.kube.services import EndpointSlice, Service, ServicePort

MAX_ENTRIES = 20_000
"""About its frontends times its endpoints: entries of a node's tables. Node ports count as if each
node had one address a family."""


def fitting(
    service: Service, slices: Iterable[EndpointSlice]
) -> tuple[Service, tuple[Problem, ...]]:
    """The Service with its first ports, as many as there is room for; the others are `unserved`."""
    known = tuple(slices)
    most = sum(len(each.endpoints) for each in known)
    if _entries(service, dict.fromkeys((4, 6), most)) * len(service.ports) <= MAX_ENTRIES:
        return service, ()
    room = MAX_ENTRIES
    for index, port in enumerate(service.ports):
        room -= _entries(service, _endpoints(port, known), node_port=bool(port.node_port))
        if room < 0:
            served, left = service.ports[:index], service.ports[index:]
            problem = Problem(Cause(service.ref, f"spec.ports[{index}]"), _message(left))
            return msgspec.structs.replace(service, ports=served, unserved=left), (problem,)
    return service, ()


def _message(left: tuple[ServicePort, ...]) -> str:
    first = left[0]
    which = f"port {first.port}/{first.protocol}"
    more = f" and {len(left) - 1} ports after it are" if len(left) > 1 else " is"
    return (
        f"its ports times its addresses and endpoints are more than {MAX_ENTRIES:,}, so "
        f"{which}{more} not served; make several Services of it, with fewer ports or endpoints each"
    )


def _endpoints(port: ServicePort, slices: Iterable[EndpointSlice]) -> dict[int, int]:
    """How many a port has in each family."""
    found: Counter[int] = Counter()
    for each in slices:
        if each.port(port):
            found.update(endpoint.address.version for endpoint in each.endpoints)
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
