"""A Service that would take too much of a node is served as far as there is room, and says so."""

from ipaddress import ip_address, ip_network

from steppe.compile.incremental import NodeCompiler
from steppe.explain.explain import Explainer
from steppe.explain.tables import compiled as in_tables
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import Namespace
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.reach.reach import reach_of
from steppe.reach.services import Offers
from steppe.service.granted import granted
from steppe.service.limits import MAX_ENTRIES
from steppe.settings import Settings
from tests.work import steps

ENDPOINTS = 100
PREFIXES = pod_cidrs("node-a", [ip_network("10.244.1.0/24")])
NODE = Node("node-a", prefixes=PREFIXES, addresses=(ip_address("192.0.2.1"),))
FIRST = ip_address("10.128.0.0")


def compiled(ports: int, endpoints: int = ENDPOINTS) -> NodeCompiler:
    compiler = NodeCompiler(Settings(), "node-a")
    compiler.set_node(NODE)
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
    assert (
        f"port {fitting + 1}/TCP and {9 * fitting - 1} ports after it are not served"
        in problem.message
    )
    assert "make several Services of it" in problem.message
    assert len(found.state) <= MAX_ENTRIES + 10


def test_what_is_not_served_costs_next_to_nothing() -> None:
    fitting = MAX_ENTRIES // (ENDPOINTS + 1)
    assert steps(lambda: compiled(3 * fitting)) < 2 * steps(lambda: compiled(fitting))


def test_whoever_is_asked_says_of_a_port_beyond_the_limit_that_it_is_refused() -> None:
    """Reach, explain and lint ask the same function as the tables."""
    fitting = MAX_ENTRIES // (ENDPOINTS + 1)
    ports = tuple(ServicePort(f"p{n}", "TCP", n + 1) for n in range(fitting + 2))
    numbers = tuple((each.name, "TCP", 8080) for each in ports)
    backends = tuple(Endpoint(FIRST + n, "node-b") for n in range(ENDPOINTS))
    client = Pod("shop", "client", node="node-a", addresses=(ip_address("10.244.1.5"),))
    world = cluster_of(
        [NODE],
        [client],
        [Namespace("shop")],
        services=[Service("shop", "web", cluster_ips=(ip_address("10.96.0.1"),), ports=ports)],
        slices=[EndpointSlice("shop", "web-1", "web", numbers, backends)],  # type: ignore[arg-type]
    )
    offers = Offers(reach_of(world))
    said = {offer.port.port: offers.outcome(client, offer).said for offer in offers.all}
    assert [number for number, word in said.items() if word == "refused"] == [
        fitting + 1,
        fitting + 2,
    ]
    for explainer in (Explainer(world), Explainer(world, in_tables(Settings()))):
        found = explainer.explain(
            explainer.flow("shop/client", "svc/shop/web", str(fitting + 1))[0]
        )
        assert "cannot reach" in found.verdict
        assert f"2 of its ports are not served, TCP {fitting + 1} among them" in found.verdict
    _, (problem,) = granted(world, Settings())
    assert "not served" in problem.message
    assert granted(granted(world, Settings())[0], Settings())[1] == ()
