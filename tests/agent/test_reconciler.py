"""The agent's pure half: what it does with what it sees, and what it leaves alone."""

from ipaddress import ip_address, ip_network

from steppe.agent.node.reconciler import Plan, Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import Failure, KernelError
from steppe.plan.diff import applied
from steppe.settings import Settings
from steppe.state.device import Veth
from steppe.state.link import Link, LinkKey
from steppe.state.node import values
from steppe.state.route import Hop, Route, RouteKey, in_order, route_by
from steppe.state.workload import workload_of
from tests.worlds import node_at, pod_on


def reconciler() -> Reconciler:
    compiler = NodeCompiler(Settings(fabric="direct"), "node-a")
    for index in range(3):
        compiler.set_node(node_at(index))
    return Reconciler(compiler)


def test_an_empty_kernel_gets_everything_and_a_second_plan_is_empty() -> None:
    it = reconciler()
    it.replace_actual({})
    changes = it.plan().changes
    it.settle(changes, ())
    assert it.actual == values(it._compiler.state)
    it.replace_actual(it.actual)
    assert it.plan() == Plan()


def test_what_the_kernel_refuses_stays_failed_until_it_is_tried_again() -> None:
    it = reconciler()
    it.replace_actual({})
    changes = it.plan().changes
    refused = changes[3]
    it.settle(changes, [Failure(refused, KernelError("add", 22))])
    assert set(it.failed) == {refused.key}
    assert it.plan() == Plan()
    it.retry()
    assert [change.key for change in it.plan().changes] == [refused.key]


def test_an_entry_that_someone_removed_is_put_back_with_its_cause() -> None:
    it = reconciler()
    it.replace_actual({})
    it.settle(it.plan().changes, ())
    key = RouteKey(ip_network("10.244.2.0/24"))
    assert it.observe(key, None)
    (change,) = it.plan().changes
    assert change.key == key
    assert [str(cause) for cause in it.because(change)] == ["Node/node-b spec.podCIDRs[0]"]


def test_only_what_was_right_before_another_program_changed_it_is_a_repair() -> None:
    it = reconciler()
    it.replace_actual({})
    it.settle(it.plan().changes, ())
    broken, stray = (RouteKey(ip_network(f"10.244.{n}.0/24")) for n in (2, 99))
    it.observe(broken, None)
    it.observe(stray, route_by("eth0"))
    assert set(it.plan().repairs) == {broken, stray}
    # Removed and put back before we looked: nothing is left to repair.
    it.settle(it.plan().changes, ())
    was = it._compiler.state[broken].value
    it.observe(broken, was)
    it.observe(broken, None)
    it.observe(broken, was)
    assert it.plan() == Plan()


def test_the_agents_own_work_is_no_repair() -> None:
    it = reconciler()
    it.replace_actual({})
    it.settle(it.plan().changes, ())
    # An attachment writes before its pod is known here, and deletes before it is forgotten.
    pod = pod_on(node_at(0), 1, "uid")
    it._compiler.set_workload(workload_of(pod))
    key = LinkKey(workload_of(pod).link)
    made = it._compiler.state[key].value
    it._compiler.remove_workload(key.name)
    it.observe(key, made)
    it._compiler.set_workload(workload_of(pod))
    assert key not in it.plan().repairs
    it.observe(key, None)
    it._compiler.remove_workload(key.name)
    assert key not in it.plan().repairs


def test_an_entry_that_no_object_claims_is_deleted() -> None:
    it = reconciler()
    stray = RouteKey(ip_network("10.244.99.0/24"))
    it.replace_actual(values(it._compiler.state) | {stray: route_by("", ip_address("192.0.2.99"))})
    (change,) = it.plan().changes
    assert (change.key, change.new) == (stray, None)


def test_a_lost_link_puts_every_route_with_a_hop_on_it_in_doubt() -> None:
    it = reconciler()
    hops = in_order(Hop(ip_address(f"10.0.0.{n}"), link) for n, link in enumerate(("a", "b")))
    stray = RouteKey(ip_network("10.244.99.0/24"))
    it.replace_actual(values(it._compiler.state) | {stray: Route(hops=hops)})
    it.plan()
    it.lose("b")
    assert stray not in it.actual


def test_the_echo_of_our_own_change_is_no_news() -> None:
    it = reconciler()
    it.replace_actual({})
    changes = it.plan().changes
    it.settle(changes, ())
    assert not any(it.observe(change.key, change.new) for change in changes)


def test_a_pod_link_under_way_is_the_cni_servers_until_it_is_complete() -> None:
    it = reconciler()
    it.replace_actual(values(it._compiler.state))
    workload = workload_of(pod_on(node_at(0), 0))
    assert workload is not None
    it.observe(LinkKey(workload.link), Link(Veth(), 1500, "02:00:00:00:00:01"))
    host_route = RouteKey(ip_network(f"{workload.addresses[0]}/32"))
    it.observe(host_route, route_by(workload.link))
    assert it.plan() == Plan()
    touched = it._compiler.set_workload(workload)
    it.adopt(touched)
    it.touch(touched)
    assert it.plan() == Plan()
    assert it.actual == applied(it.actual, ())


def test_a_pod_link_that_is_gone_is_for_the_cni_server_and_nothing_on_it_is_tried() -> None:
    it = reconciler()
    workload = workload_of(pod_on(node_at(0), 0))
    assert workload is not None
    it._compiler.set_workload(workload)
    it.replace_actual(values(it._compiler.state))
    it.observe(LinkKey(workload.link), None)
    it.lose(workload.link)
    assert it.plan() == Plan((), (workload,))
