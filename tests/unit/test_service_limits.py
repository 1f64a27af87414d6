"""A Service that would take too much of a node is served as far as there is room, and says so."""

from ipaddress import ip_address, ip_network

from steppe.compile.incremental import NodeCompiler
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.service.backends import MAX_ENTRIES
from steppe.settings import Settings
from tests.work import steps

ENDPOINTS = 100
PREFIXES = pod_cidrs("node-a", [ip_network("10.244.1.0/24")])
FIRST = ip_address("10.128.0.0")


def compiled(ports: int, endpoints: int = ENDPOINTS) -> NodeCompiler:
    compiler = NodeCompiler(Settings(), "node-a")
    compiler.set_node(Node("node-a", prefixes=PREFIXES, addresses=(ip_address("192.0.2.1"),)))
    own = tuple(ServicePort(f"p{n}", "TCP", n + 1) for n in range(ports))
    numbers = tuple((f"p{n}", "TCP", 8080) for n in range(ports))
    backends = tuple(Endpoint(FIRST + n) for n in range(endpoints))
    compiler.set_slice(EndpointSlice("shop", "web-1", "web", numbers, backends))  # type: ignore[arg-type]
    compiler.set_service(Service("shop", "web", cluster_ips=(ip_address("10.96.0.1"),), ports=own))
    return compiler


def test_of_too_many_ports_times_endpoints_the_first_are_served() -> None:
    fitting = MAX_ENTRIES // (ENDPOINTS + 1)
    assert not compiled(fitting).problems
    found = compiled(10 * fitting)
    (problem,) = found.problems
    assert f"10.96.0.1 TCP {fitting + 1} and {9 * fitting - 1} after it" in problem.message
    assert "make several Services of it" in problem.message
    assert len(found.state) <= MAX_ENTRIES + 10


def test_what_is_not_served_costs_next_to_nothing() -> None:
    fitting = MAX_ENTRIES // (ENDPOINTS + 1)
    assert steps(lambda: compiled(3 * fitting)) < 2 * steps(lambda: compiled(fitting))
