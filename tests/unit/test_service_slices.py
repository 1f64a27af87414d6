"""A large Service is compiled in slices: none is long, and nothing is handed out half done."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest

from steppe.agent.node.reconciler import Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.compile.node import compile_node
from steppe.compile.slices import counted
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.service.limits import MAX_ENTRIES
from steppe.settings import Settings
from steppe.state.nft import ElementKey
from steppe.state.node import Key, values
from tests.work import steps

PREFIXES = pod_cidrs("node-a", [ip_network("10.244.1.0/24")])
NODE = Node("node-a", prefixes=PREFIXES, addresses=(ip_address("192.0.2.1"),))
PODS = ip_address("10.128.0.0")
ADDRESSES = {"large": "10.96.0.1", "small": "10.96.0.2", "young": "10.96.0.3", "wide": "10.96.0.4"}
OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def service(name: str, ports: int, address: str = "", created: str = OLD) -> Service:
    own = tuple(ServicePort(f"p{n}", "TCP", n + 1) for n in range(ports))
    own_address = ip_address(address or ADDRESSES[name])
    return Service("shop", name, created, cluster_ips=(own_address,), ports=own)


def ends(name: str, ports: int, count: int, first: int = 0) -> EndpointSlice:
    numbers = tuple((f"p{n}", "TCP", 8080) for n in range(ports))
    found = tuple(Endpoint(PODS + first + n) for n in range(count))
    return EndpointSlice("shop", f"{name}-1", name, numbers, found)  # type: ignore[arg-type]


LARGE, SMALL = service("large", 10), service("small", 1)
ITS_ENDS, OTHER_ENDS = ends("large", 10, 300), ends("large", 10, 300, 1_000)


@pytest.fixture
def compiler() -> NodeCompiler:
    made = NodeCompiler(Settings(), "node-a")
    made.set_node(NODE)
    made.set_service(LARGE)
    made.set_service(SMALL)
    made.offers.work_in_slices(lambda: None, counted(1))
    return made


def finish(compiler: NodeCompiler) -> frozenset[Key]:
    touched: frozenset[Key] = frozenset()
    while compiler.offers.waiting:
        touched |= compiler.offers.more()
    return touched


def endpoints(keys: frozenset[Key]) -> int:
    return sum(isinstance(key, ElementKey) and key.set == "endpoint4" for key in keys)


def test_keys_are_handed_out_together_when_the_work_is_done(compiler: NodeCompiler) -> None:
    assert not compiler.set_slice(ITS_ENDS)
    turns = 0
    while not (touched := compiler.offers.more()):
        assert compiler.pending
        turns += 1
    assert turns > 3
    assert endpoints(touched) == 3_000
    assert not compiler.pending
    assert not compiler.offers.waiting


def test_a_small_service_does_not_wait_for_a_large_one(compiler: NodeCompiler) -> None:
    compiler.set_slice(ITS_ENDS)
    assert compiler.offers.waiting
    touched = compiler.set_slice(ends("small", 1, 3))
    assert endpoints(touched) == 3
    assert touched.isdisjoint(compiler.pending)


def test_a_small_change_of_a_small_service_is_one_step_however_many_there_are() -> None:
    made = NodeCompiler(Settings(), "node-a")
    made.set_node(NODE)
    made.offers.work_in_slices(lambda: pytest.fail("nothing of this waits"), counted(1))
    made.set_service(SMALL)
    assert endpoints(made.set_slice(ends("small", 1, 100))) == 100


def test_a_service_that_changes_all_the_time_gets_into_the_kernel_all_the_same(
    compiler: NodeCompiler,
) -> None:
    compiler.set_slice(ITS_ENDS)
    handed_out, turns = 0, 0
    while handed_out < 3:
        turns += 1
        assert turns < 200, "it begins anew again and again"
        compiler.set_slice(ends("large", 10, 300, turns))
        handed_out += bool(compiler.offers.more())


def test_what_is_told_while_the_work_goes_on_is_what_it_comes_to(compiler: NodeCompiler) -> None:
    compiler.set_slice(ITS_ENDS)
    compiler.offers.more()
    compiler.set_slice(OTHER_ENDS)
    finish(compiler)
    alone = NodeCompiler(Settings(), "node-a")
    alone.set_node(NODE)
    for each in (LARGE, SMALL):
        alone.set_service(each)
    alone.set_slice(OTHER_ENDS)
    assert compiler.state == alone.state


@pytest.mark.parametrize(
    "told",
    [
        lambda it: it.remove_slice("shop", "large-1"),
        lambda it: it.remove_service("shop", "large"),
        lambda it: it.set_slice(ends("large", 10, 2)),
        lambda it: it.set_slice(ends("large", 10, 299, 1)),
        lambda it: it.set_service(service("large", 3)),
        lambda it: it.set_node(Node("node-a", prefixes=PREFIXES, addresses=(PODS - 1,))),
    ],
    ids=["no endpoints", "gone", "few endpoints", "others", "fewer ports", "another node"],
)
@pytest.mark.parametrize("turns", [0, 2, 1_000])
def test_a_large_service_changes_as_any_other(
    compiler: NodeCompiler, told: Callable[[NodeCompiler], object], turns: int
) -> None:
    compiler.set_slice(ITS_ENDS)
    for _ in range(turns):
        compiler.offers.more()
    told(compiler)
    finish(compiler)
    here = compiler.here
    assert here is not None
    given = [(each, compiler.slices_of("shop", each.name)) for each in compiler.services]
    state, problems = compile_node(Settings(), here, [], [], given)
    assert compiler.state == state
    assert compiler.problems == problems


def test_a_rival_waits_with_the_large_service_whose_frontend_it_takes(
    compiler: NodeCompiler,
) -> None:
    """Else its verdict would lead to the other's backends."""
    young = service("young", 10, created=NEW)
    compiler.set_service(young)
    compiler.set_slice(ends("young", 10, 300))
    finish(compiler)
    old = service("old", 1, str(young.cluster_ips[0]))
    compiler.set_slice(ends("old", 1, 1, 5_000))
    finish(compiler)
    assert not compiler.set_service(old)
    compiler.offers.more()
    assert not compiler.set_slice(ends("old", 1, 2, 5_000)), "nor anything else of it"
    touched = finish(compiler)
    front = ElementKey("service4", (young.cluster_ips[0], "tcp", 1))
    assert front in touched
    assert str(compiler.state[front].because[0].ref) == "Service/shop/old"


@pytest.mark.parametrize(("ports", "count"), [(20, 999), (1, MAX_ENTRIES - 10), (1_000, 18)])
def test_no_slice_is_long_whatever_the_shape_of_the_service(ports: int, count: int) -> None:
    made = NodeCompiler(Settings(), "node-a")
    made.set_node(NODE)
    made.set_service(service("wide", ports))
    made.offers.work_in_slices(lambda: None)
    made.set_slice(ends("wide", ports, count))
    slices: list[int] = []
    while made.offers.waiting:
        slices.append(steps(made.offers.more))
    assert len(slices) > 10
    assert max(slices) < 400_000 if ports == 1 else max(slices) < 100_000
    assert len(made.state) > 15_000


def test_neither_a_full_pass_nor_an_audit_takes_half_of_a_change_for_what_shall_be(
    compiler: NodeCompiler,
) -> None:
    compiler.set_slice(ITS_ENDS)
    finish(compiler)
    it = Reconciler(compiler)
    it.replace_actual(values(compiler.state))
    compiler.set_slice(OTHER_ENDS)
    touched: frozenset[Key] = frozenset()
    while not touched:
        it.replace_actual(dict(it.actual))
        assert not it.drift(it.actual)
        assert not it.plan().changes
        touched = compiler.offers.more()
    it.touch(touched)
    assert len(it.plan().changes) == 3_000


def test_what_is_listed_is_not_complete_before_it_is_worked_off(compiler: NodeCompiler) -> None:
    compiler.offers.learn([LARGE, SMALL], [ITS_ENDS])
    assert not compiler.offers.loaded, "what is missing would look like deletions"
    finish(compiler)
    assert compiler.offers.loaded
