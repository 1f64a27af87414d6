"""What Nodes, ServiceCIDRs and Services claim of others' addresses, as one agent takes it."""

from ipaddress import ip_address, ip_network

import msgspec
import pytest

from steppe.agent.cni.addresses import Addresses, NoAddressError
from steppe.agent.feeds.departed import HOLD_SECONDS
from steppe.agent.node.here import Here
from steppe.agent.node.underlay import UnderlayView
from steppe.client.informer import Deleted, Replaced, Upserted
from steppe.compile.incremental import NodeCompiler
from steppe.dataplane.nft.sets import CLUSTER, LOCAL_PODS, SERVICE
from steppe.kube.objects import Node, Workload
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort, ServiceRange
from steppe.service.table import Frontend
from steppe.settings import Settings
from steppe.state.route import RouteKey
from tests.agent.test_nodes import ALL, after, feed, seen, values
from tests.worlds import node_at

LATE = "2026-12-01T00:00:00Z"
HERE, PEER = node_at(0), node_at(1)
RANGE = ServiceRange("kubernetes", (ip_network("10.96.0.0/16"),), "2025-01-01T00:00:00Z")
WEB = Service(
    "default",
    "web",
    "2026-01-01T00:00:00Z",
    cluster_ips=(ip_address("10.96.0.10"),),
    ports=(ServicePort("http", "TCP", 80),),
)
SETTINGS = Settings(fabric="direct")


def late(*prefixes: str, addresses: tuple[str, ...] = ("192.0.2.99",), name: str = "late") -> Node:
    return Node(
        name, LATE, pod_cidrs(name, map(ip_network, prefixes)), tuple(map(ip_address, addresses))
    )


def compiler_of(settings: Settings = SETTINGS) -> NodeCompiler:
    compiler = NodeCompiler(settings, HERE.name)
    compiler.set_service_range(RANGE)
    for node in (HERE, PEER):
        compiler.set_node(node)
    return compiler


def blamed(compiler: NodeCompiler) -> list[str]:
    return [str(problem.cause) for problem in compiler.problems]


TAKEN = {
    "a pod's address": ("10.244.1.9/32", "overlaps pod prefix 10.244.1.0/24 of Node/node-a"),
    "a peer's pod's address": ("10.244.2.9/32", "overlaps pod prefix 10.244.2.0/24 of Node/node-b"),
    "half of a node's prefix": ("10.244.2.0/25", "overlaps pod prefix 10.244.2.0/24"),
    "all nodes' prefixes": ("10.244.0.0/16", "overlaps pod prefix 10.244.1.0/24 of Node/node-a"),
    "a node's address": ("192.0.2.12/32", "overlaps address 192.0.2.12 of Node/node-b"),
    "all nodes' addresses": ("192.0.2.0/24", "overlaps address 192.0.2.11 of Node/node-a"),
    "the Services' range": ("10.96.4.0/24", "overlaps range 10.96.0.0/16 of ServiceCIDR"),
    "everything": ("0.0.0.0/0", "shorter than /8"),
    "loopback": ("127.3.0.0/24", "kept for loopback"),
    "multicast": ("239.0.0.0/24", "kept for multicast"),
    "link-local": ("169.254.1.0/24", "kept for link-local"),
    "what holds link-local": ("169.0.0.0/8", "kept for link-local"),
    "everything of IPv6": ("::/0", "shorter than /32"),
    "a pod's IPv6 address": ("fd00:10:244:2::5/128", "overlaps pod prefix fd00:10:244:2::/64"),
    "IPv6 multicast": ("ff02::/32", "kept for multicast"),
    "IPv4-mapped addresses": ("::ffff:10.244.2.0/120", "kept for"),
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_younger_node_gets_no_prefix_that_is_somebodys(what: str) -> None:
    prefix, why = TAKEN[what]
    compiler = compiler_of()
    before = values(compiler)
    compiler.set_node(late(prefix))
    changed = {str(key) for key in compiler.state.keys() ^ before.keys()}
    assert changed == {f"{CLUSTER.key(ip_network('192.0.2.99'))}"}
    (problem,) = compiler.problems
    assert str(problem.cause) == "Node/late spec.podCIDRs[0]"
    assert why in problem.message


def test_a_free_prefix_is_routed() -> None:
    compiler = compiler_of()
    compiler.set_node(late("10.250.0.0/24"))
    assert RouteKey(ip_network("10.250.0.0/24")) in compiler.state
    assert compiler.problems == ()


def test_where_pod_ranges_are_set_no_prefix_outside_of_them_is_routed() -> None:
    ranges = (ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/48"))
    compiler = compiler_of(msgspec.structs.replace(SETTINGS, pod_ranges=ranges))
    compiler.set_node(late("10.250.0.0/24"))
    assert RouteKey(ip_network("10.250.0.0/24")) not in compiler.state
    (problem,) = compiler.problems
    assert "lies in none of the cluster's pod ranges (10.244.0.0/16)" in problem.message
    compiler.set_node(late("10.244.9.0/24"))
    assert compiler.problems == ()


def test_two_nodes_with_one_address_leave_it_to_the_older() -> None:
    compiler = compiler_of()
    before = values(compiler)
    compiler.set_node(late(addresses=("192.0.2.12",)))
    assert values(compiler) == before
    (problem,) = compiler.problems
    assert "192.0.2.12 is not used: it overlaps address 192.0.2.12 of Node/node-b" in str(problem)


def test_what_the_older_gives_up_the_younger_gets_at_once() -> None:
    compiler = compiler_of()
    compiler.set_node(late("10.244.0.0/16"))
    for gone in (HERE.name, PEER.name):
        known = compiler.nodes[gone]
        number = 40 + int(gone == PEER.name)
        own = pod_cidrs(gone, [ip_network(f"10.99.{number}.0/24")])
        compiler.set_node(msgspec.structs.replace(known, prefixes=own))
    assert RouteKey(ip_network("10.244.0.0/16")) in compiler.state
    assert compiler.problems == ()


def test_a_younger_service_range_does_not_take_the_pods_of_a_node() -> None:
    compiler = compiler_of()
    before = values(compiler)
    compiler.set_service_range(ServiceRange("more", (ip_network("10.244.0.0/20"),), LATE))
    assert values(compiler) == before
    assert blamed(compiler) == ["ServiceCIDR/more spec.cidrs[0]"]


# --- our own node -------------------------------------------------------------------------------

OLDER = Node(
    "first",
    "2025-06-01T00:00:00Z",
    pod_cidrs("first", [ip_network("10.244.1.128/25")]),
    (ip_address("192.0.2.50"),),
)


def here_of(compiler: NodeCompiler) -> Here:
    return Here(compiler, UnderlayView(HERE.name, None, tuple))


def test_no_new_pod_gets_an_address_that_is_in_an_older_nodes_prefix() -> None:
    compiler = compiler_of()
    here = here_of(compiler)
    pool = Addresses(HERE.name, lambda: here.prefixes, lambda: here.refused)
    assert pool.reserve("st0", tuple)
    compiler.set_node(OLDER)
    with pytest.raises(NoAddressError, match=r"10\.244\.1\.128/25 of Node/first, which is older"):
        pool.reserve("st1", tuple)
    assert "Node/first" in pool.shortage(())
    assert "Node/first" in here.why_not_ready()
    assert blamed(compiler) == ["Node/node-a spec.podCIDRs[0]"]
    compiler.remove_node("first")
    assert pool.reserve("st1", tuple)
    assert compiler.problems == ()


def test_pods_that_run_keep_their_network_when_their_prefix_is_anothers() -> None:
    compiler = compiler_of()
    address = ip_address("10.244.1.5")
    compiler.set_workload(Workload("st0", "default", "web", HERE.name, (address,)))
    own = frozenset(key for key in compiler.state if "10.244.1.5" in str(key) or "st0" in str(key))
    compiler.set_node(OLDER)
    assert own <= compiler.state.keys()
    assert LOCAL_PODS.key(ip_network("10.244.1.5/32")) in compiler.state, "it leaves masqueraded"
    assert LOCAL_PODS.key(HERE.networks[0]) not in compiler.state


def test_a_node_whose_address_is_anothers_keeps_its_own_tables() -> None:
    compiler = compiler_of()
    before = values(compiler)
    twin = msgspec.structs.replace(OLDER, prefixes=(), addresses=HERE.addresses[:1])
    compiler.set_node(twin)
    assert values(compiler) == before
    assert blamed(compiler) == ["Node/node-a status.addresses"]
    assert here_of(compiler).refused == ""


# --- departed peers -----------------------------------------------------------------------------


def test_a_departed_peer_does_not_keep_a_new_node_from_a_prefix_around_its_own() -> None:
    it, compiler = feed("vxlan")
    it.take(Replaced(ALL))
    it.take(Deleted(ALL[1]))
    wide = msgspec.convert(
        {
            "metadata": {"name": "node-x", "creationTimestamp": LATE},
            "spec": {"podCIDRs": ["10.244.2.0/23"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.77"}]},
        },
        type(ALL[0]),
    )
    it.take(Upserted(wide))
    assert set(compiler.nodes) == {"node-a", "node-x"}
    assert RouteKey(ip_network("10.244.2.0/23")) in compiler.state
    assert compiler.problems == ()
    assert after(it, HOLD_SECONDS) == frozenset()


def test_a_node_that_waits_for_a_departing_peers_prefix_has_it_at_once() -> None:
    it, compiler = feed("vxlan")
    late_one = seen("node-x", 2, created=LATE)
    it.take(Replaced((*ALL, late_one)))
    assert compiler.problems
    it.take(Deleted(ALL[1]))
    assert set(compiler.nodes) == {"node-a", "node-x"}
    assert compiler.problems == ()


# --- Services -----------------------------------------------------------------------------------

THEIRS = {
    "our node's address": ("192.0.2.11", "is an address of Node/node-a"),
    "a peer's address": ("192.0.2.12", "is an address of Node/node-b"),
    "a pod's address": ("10.244.2.9", "lies in the pod prefix 10.244.2.0/24 of Node/node-b"),
    "an unused cluster IP": ("10.96.7.7", "lies in the range 10.96.0.0/16 of ServiceCIDR"),
    "another's cluster IP": ("172.30.0.1", "is the cluster IP of Service/default/other"),
    "the API server's": ("198.51.100.6", "is the API server's"),
}
OTHER = Service("default", "other", LATE, cluster_ips=(ip_address("172.30.0.1"),), ports=WEB.ports)
API = Service("default", "kubernetes", cluster_ips=(ip_address("10.96.0.1"),), ports=WEB.ports)
API_SERVERS = EndpointSlice(
    "default",
    "kubernetes",
    "kubernetes",
    (("http", "TCP", 6443),),
    (Endpoint(ip_address("198.51.100.6")),),
)


@pytest.mark.parametrize("field", ["external_ips", "load_balancer_ips"])
@pytest.mark.parametrize("what", THEIRS)
def test_no_service_takes_an_address_that_is_somebodys_whoever_comes_first(
    what: str, field: str
) -> None:
    text, why = THEIRS[what]
    address = ip_address(text)
    greedy = msgspec.structs.replace(WEB, **{field: (address,)})
    front = SERVICE.key(Frontend(address, "TCP", 80))
    compiler = NodeCompiler(SETTINGS, HERE.name)
    compiler.set_node(HERE)
    compiler.set_service(greedy)
    for service in (OTHER, API):
        compiler.set_service(service)
    compiler.set_slice(API_SERVERS)
    compiler.set_service_range(RANGE)
    compiler.set_node(PEER)
    entry = compiler.state.get(front)
    assert all(cause.ref != WEB.ref for cause in (entry.because if entry else ()))
    (problem,) = (p for p in compiler.problems if "CVE" not in p.message)
    assert problem.cause.ref == WEB.ref
    assert why in problem.message
    later = compiler_of()
    for service in (OTHER, API, greedy):
        later.set_service(service)
    later.set_slice(API_SERVERS)
    assert later.state == compiler.state
    assert later.problems == compiler.problems


@pytest.mark.parametrize(
    ("mode", "served", "told"),
    [
        ("allow", True, ""),
        ("warn", True, "CVE-2020-8554"),
        ("deny", False, "not served here"),
    ],
)
def test_external_ips_at_all_are_as_the_operator_says(mode, served, told) -> None:
    address = ip_address("203.0.113.80")
    compiler = compiler_of(msgspec.structs.replace(SETTINGS, external_ips=mode))
    compiler.set_service(msgspec.structs.replace(WEB, external_ips=(address,)))
    front = Frontend(address, "TCP", 80)
    assert (SERVICE.key(front) in compiler.state) == served
    assert (front in compiler.served([front])) == served
    if not told:
        assert compiler.problems == ()
        return
    (problem,) = compiler.problems
    assert told in problem.message
    assert str(problem.cause).startswith("Service/default/web spec.externalIPs")
