"""The health check ports of Services, and the number of local endpoints to report there.

"healthCheckNodePort specifies the healthcheck nodePort for the service. This only applies when
type is set to LoadBalancer and externalTrafficPolicy is set to Local. … External systems (e.g.
load-balancers) can use this port to determine if a given node holds endpoints for this service or
not." (ServiceSpec.healthCheckNodePort)

The agent listens and answers over HTTP (agent/health/health_ports.py).
"""

from collections.abc import Iterable

import msgspec

from steppe.kube.cause import Cause, Problem
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress
from steppe.service.backends import Vantage

Listen = tuple[IPAddress, int]
FIELD = "spec.healthCheckNodePort"


class HealthPorts(msgspec.Struct, frozen=True):
    """The Service for each address and port on which this node answers health checks."""

    services: dict[Listen, Service]
    problems: tuple[Problem, ...] = ()


def health_ports(vantage: Vantage, services: Iterable[Service]) -> HealthPorts:
    """One listener for each address with node ports whose family the Service has.

    The API allocates a port to one Service only; if two have it, the older one owns it.
    """
    asking = (each for each in services if each.external_local and each.health_port)
    found: dict[Listen, Service] = {}
    problems: list[Problem] = []
    for service in sorted(asking, key=lambda each: (each.created, each.namespace, each.name)):
        families = {address.version for address in service.cluster_ips}
        for address in vantage.node_ports:
            listen = (address, service.health_port)
            if address.version not in families:
                continue
            rival = found.setdefault(listen, service)
            if rival is not service:
                problems.append(
                    Problem(
                        Cause(service.ref, FIELD),
                        f"port {service.health_port} already answers for {rival.ref}, which is "
                        "older; give one of the two another port",
                    )
                )
                break
    return HealthPorts(found, tuple(problems))


def local_endpoints(here: str, slices: Iterable[EndpointSlice], version: int) -> int:
    """The number of a Service's ready endpoints on a node in one family; terminating ones are not
    ready.

    A pod that serves several ports of the Service counts once.
    """
    return len(
        {
            endpoint.address
            for slice_ in slices
            for endpoint in slice_.endpoints
            if endpoint.node == here and endpoint.ready and endpoint.address.version == version
        }
    )
