"""Routes of an earlier version, which had no metric in IPv4, make way without a gap."""

import pytest

from steppe.compile.node import compile_node
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink import route as nl_route
from steppe.drivers.netlink.link import get_link, read_link
from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.plan.diff import Change
from steppe.plan.order import ordered
from steppe.settings import Settings
from steppe.state.node import values
from steppe.state.route import RouteKey
from tests.drivers.conftest import Namespace
from tests.worlds import node_at

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("fabric", ["direct", "vxlan"])
def test_an_agent_takes_over_routes_without_a_metric_and_a_way_is_there_at_every_moment(
    node: Namespace, fabric: str
) -> None:
    nodes = [node_at(number) for number in range(4)]
    desired, problems = compile_node(Settings(fabric=fabric), nodes[0], nodes, ())
    assert problems == ()
    wanted = {k: v for k, v in values(desired).items() if k.table in ("links", "routes", "rules")}
    node.run("ip", "address", "add", "2001:db8::b/64", "dev", "eth0", "nodad")
    with KernelDriver(node.fd) as driver:
        assert driver.apply(ordered(diff_of(wanted, {}))) == ()
        make_old(node, wanted)
        found = driver.read()
        old = {key for key in found if isinstance(key, RouteKey) and not key.metric}
        assert len(old) == sum(1 for key in wanted if is_ipv4_route(key))
        for change in ordered(diff_of(wanted, found)):
            assert driver.apply([change]) == ()
            for peer in nodes[1:]:
                (way,) = node.ip("route", "get", str(peer.networks[0][9]))
                assert way["dev"] == ("eth0" if fabric == "direct" else "steppe-vxlan"), change
        assert driver.read() == wanted
    assert "83" in {entry["protocol"] for entry in node.ip("route", "show", "metric", "1024")}


def test_a_deletion_of_a_route_without_a_metric_leaves_its_successor(node: Namespace) -> None:
    """IPv4 takes a metric of 0 for any; of two routes with the same hop the older must go."""
    peer = node_at(1)
    desired, _ = compile_node(Settings(fabric="direct"), node_at(0), [node_at(0), peer], ())
    wanted = {key: value for key, value in values(desired).items() if is_ipv4_route(key)}
    with KernelDriver(node.fd) as driver:
        driver.apply(ordered(diff_of(wanted, {})))
        make_old(node, wanted, keep=True)
        found = driver.read()
        assert len(found) == 2 * len(wanted)
        assert driver.apply(ordered(diff_of(wanted, found))) == ()
        assert driver.read() == wanted


def diff_of(wanted: dict, actual: dict) -> list:
    keys = dict.fromkeys((*wanted, *actual))
    found = (Change(key, actual.get(key), wanted.get(key)) for key in keys)
    return [change for change in found if change.old != change.new]


def is_ipv4_route(key: object) -> bool:
    return isinstance(key, RouteKey) and key.prefix.version == 4


def make_old(node: Namespace, wanted: dict, *, keep: bool = False) -> None:
    """Our IPv4 routes as a version without metrics left them, in place of or beside today's."""
    with NetlinkSocket(node.fd) as socket:

        def index(name: str) -> int:
            return read_link(socket.get(get_link(name))).index

        for key, value in wanted.items():
            if is_ipv4_route(key):
                old = RouteKey(key.prefix, key.routing_table, metric=0)
                socket.request(nl_route.add_route(old, value, index))
                if not keep:
                    socket.request(nl_route.delete_route(key, value, index))
