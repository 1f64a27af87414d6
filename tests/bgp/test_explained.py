"""A route that BIRD has learned, in what explain and audit say: with the object behind it."""

from ipaddress import ip_address, ip_network

from steppe.agent.node.surroundings import BIRD, Observer
from steppe.compile.incremental import NodeCompiler
from steppe.compile.node import compile_cluster
from steppe.findings.known import Known
from steppe.findings.registry import findings
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster import cluster_of
from steppe.net.address import IPNetwork
from steppe.settings import Settings
from steppe.state.document import surroundings_document, surroundings_from
from steppe.state.route import Hop, Route, RouteKey
from steppe.state.surroundings import OtherRoute, Surroundings
from steppe.walk.routing import Asked, Routing
from tests.worlds import node_at

TOR = Cause(ObjectRef("BGPPeer", "", "tor"), "spec.address")
NODES = [node_at(0), node_at(1)]
OUT = ip_network("10.9.0.0/16")
ROUTER = Route(hops=(Hop(ip_address("192.0.2.254"), "eth0"),))
LEARNED = OtherRoute(RouteKey(OUT, metric=512), ROUTER, BIRD)
STRANGE = OtherRoute(RouteKey(ip_network("10.10.0.0/16")), ROUTER, 4)


class Reader:
    def surroundings(self, *_: object) -> Surroundings:
        return Surroundings(routes=(LEARNED, STRANGE))

    def inside(self, _: int) -> Surroundings:
        return Surroundings()


async def learned() -> dict[IPNetwork, tuple[Cause, ...]]:
    return {OUT: (TOR,), ip_network("10.10.0.0/16"): (TOR,)}


async def no_pod(*_: object) -> None:
    return None


async def seen() -> Surroundings:
    compiler = NodeCompiler(Settings(fabric="bgp"), "node-a")
    for node in NODES:
        compiler.set_node(node)
    return (await Observer(compiler, Reader(), no_pod, learned).look()).around


async def test_birds_routes_and_no_others_have_the_objects_of_their_sessions() -> None:
    routes = {route.key.prefix: route.because for route in (await seen()).routes}
    assert routes == {OUT: (TOR,), STRANGE.key.prefix: ()}


async def test_the_causes_go_along_to_where_a_packet_is_walked() -> None:
    around = surroundings_from(surroundings_document(await seen()))
    asked = Asked(ip_address("10.244.1.7"), ip_address("10.9.1.1"), "lo")
    found = Routing({}, around).answer(asked)
    assert found is not None
    assert (found.key, found.because, found.foreign) == (LEARNED.key, (TOR,), True)


def test_a_route_that_leads_pods_astray_is_told_with_the_session_it_came_by() -> None:
    inner = RouteKey(ip_network("10.244.2.0/25"), metric=512)
    taken = OtherRoute(inner, ROUTER, BIRD, (TOR,))
    states = compile_cluster(Settings(fabric="bgp"), cluster_of(NODES))[0]
    known = Known(here=NODES[0], peers=(NODES[1],), state=states["node-a"])
    told = [each.effect for each in findings(Surroundings(routes=(taken,)), known)]
    assert any("learned by BGPPeer/tor spec.address" in effect for effect in told), told
