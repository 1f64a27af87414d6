"""Policies' events into the compiler: nothing before all lists, closed where in doubt."""

import asyncio
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

import steppe.agent.cni.gate
from steppe.agent.cni.gate import Gate, UnguardedError
from steppe.agent.feeds.policies import PolicyFeed
from steppe.agent.node.passes import Passes
from steppe.agent.node.reconciler import Reconciler
from steppe.client.informer import Deleted, Refused, Replaced, Unreadable, Upserted
from steppe.compile.incremental import NodeCompiler
from steppe.compile.slices import counted
from steppe.drivers.errors import Failure, KernelError
from steppe.kube import policy_wire, wire
from steppe.kube.objects import NO_POD, Node, Workload
from steppe.kube.prefixes import pod_cidrs
from steppe.settings import Settings
from steppe.state.nft import ElementKey

OWN = ip_address("10.244.1.5")
PEER = ip_address("10.244.1.6")
ANYWHERE = {"ipBlock": {"cidr": "0.0.0.0/0"}}
WEB = Workload("st1", "default", "web", "node-a", (OWN,))


def pod(name: str = "web", address: str = "10.244.1.5") -> wire.Pod:
    document = {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"nodeName": "node-a"},
        "status": {"podIPs": [{"ip": address}]},
    }
    return msgspec.convert(document, wire.Pod)


def policy(namespace: str = "default", **spec: Any) -> policy_wire.NetworkPolicy:
    document = {
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"podSelector": {}, **spec},
    }
    return msgspec.convert(document, policy_wire.NetworkPolicy)


@pytest.fixture
def compiler() -> NodeCompiler:
    made = NodeCompiler(Settings(), "node-a")
    made.set_node(Node("node-a", prefixes=pod_cidrs("node-a", [ip_network("10.244.1.0/24")])))
    made.set_workload(WEB)
    return made


@pytest.fixture
def feed(compiler: NodeCompiler) -> PolicyFeed:
    return PolicyFeed(compiler)


def listed(feed: PolicyFeed, *policies: policy_wire.NetworkPolicy) -> None:
    feed.take_pod(Replaced((pod(), pod("db", "10.244.1.6"))))
    feed.take_namespace(Replaced(()))
    feed.take_policy(Replaced(policies))
    feed.take_cluster_policy(Refused(404))


def isolated(compiler: NodeCompiler) -> set[str]:
    return {
        str(key.set)
        for key in compiler.state
        if isinstance(key, ElementKey) and "guarded" in key.set and key.key == (OWN,)
    }


BOTH = {"ingress_guarded4", "egress_guarded4"}


def test_nothing_is_said_before_all_lists_are_there(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    assert feed.take_pod(Replaced((pod(),))) == frozenset()
    assert feed.take_policy(Replaced((policy(),))) == frozenset()
    assert not feed.complete
    assert feed.take_namespace(Replaced(())) == frozenset()
    assert not feed.complete
    assert feed.take_cluster_policy(Replaced(()))
    assert feed.complete
    assert isolated(compiler) == {"ingress_guarded4"}


def test_a_pod_the_api_has_not_sent_is_closed_where_a_policy_may_select_it(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    listed(feed, policy())
    feed.take_pod(Deleted(pod()))
    assert isolated(compiler) == BOTH
    feed.take_policy(Replaced(()))
    assert isolated(compiler) == set()
    feed.take_policy(Upserted(policy("other")))
    assert isolated(compiler) == set()


def test_a_policy_comes_and_goes(compiler: NodeCompiler, feed: PolicyFeed) -> None:
    listed(feed)
    peers = [{"podSelector": {"matchLabels": {"app": "db"}}}]
    feed.take_policy(Upserted(policy(ingress=[{"from": peers}])))
    assert isolated(compiler) == {"ingress_guarded4"}
    assert ElementKey("ingress_peer4", (PEER,)) in compiler.state
    feed.take_pod(Deleted(pod("db", "10.244.1.6")))
    assert ElementKey("ingress_peer4", (PEER,)) not in compiler.state
    feed.take_policy(Replaced(()))
    assert isolated(compiler) == set()


def test_an_unreadable_policy_isolates_its_namespace(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    listed(feed)
    feed.take_policy(Unreadable("default", "p", "not an object"))
    assert isolated(compiler) == BOTH
    assert [str(problem.cause.ref) for problem in feed.problems] == ["NetworkPolicy/default/p"]
    feed.take_policy(Unreadable("default", "p", "not an object", deleted=True))
    assert isolated(compiler) == set()
    assert feed.problems == ()


def test_a_list_that_is_refused_is_not_an_empty_one(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    feed.take_pod(Replaced((pod(),)))
    feed.take_namespace(Replaced(()))
    feed.take_cluster_policy(Replaced(()))
    feed.take_policy(Refused(403))
    assert not feed.complete
    (problem,) = feed.problems
    assert 'resources ["networkpolicies"] in apiGroups ["networking.k8s.io"]' in problem.message
    feed.take_policy(Replaced((policy(),)))
    assert feed.complete
    assert feed.problems == ()
    feed.take_policy(Refused(403))
    assert isolated(compiler) == {"ingress_guarded4"}
    assert [str(problem.cause) for problem in feed.problems] == ["NetworkPolicy"]


def cluster_policy(**spec: Any) -> policy_wire.ClusterNetworkPolicy:
    document = {
        "metadata": {"name": "c"},
        "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, **spec},
    }
    return msgspec.convert(document, policy_wire.ClusterNetworkPolicy)


def test_a_server_without_cluster_policies_has_none(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    listed(feed)
    assert feed.complete
    assert feed.problems == ()
    assert not compiler.policies.has_policies("elsewhere")
    feed.take_cluster_policy(Replaced((cluster_policy(),)))
    assert compiler.policies.has_policies("elsewhere")
    feed.take_cluster_policy(Deleted(cluster_policy()))
    feed.take_cluster_policy(Refused(404))
    assert not compiler.policies.has_policies("elsewhere")
    assert feed.problems == ()


def test_a_kind_that_goes_away_takes_no_policy_along(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    listed(feed)
    feed.take_cluster_policy(Replaced((cluster_policy(),)))
    feed.take_cluster_policy(Refused(404))
    assert compiler.policies.has_policies("elsewhere")
    (problem,) = feed.problems
    assert "knows no clusternetworkpolicies" in problem.message
    feed.take_cluster_policy(Replaced(()))
    assert not compiler.policies.has_policies("elsewhere")
    assert feed.problems == ()


def test_nothing_is_known_while_the_server_forbids_to_list(feed: PolicyFeed) -> None:
    feed.take_pod(Replaced((pod(),)))
    feed.take_namespace(Replaced(()))
    feed.take_policy(Replaced(()))
    feed.take_cluster_policy(Refused(403))
    assert not feed.complete
    (problem,) = feed.problems
    assert 'resources ["clusternetworkpolicies"] in apiGroups ["policy.' in problem.message
    # The server has been told to let us, and turns out to have no such kind.
    feed.take_cluster_policy(Refused(404))
    assert feed.complete
    assert feed.problems == ()


def test_what_is_wrong_with_a_cluster_policy_is_reported(feed: PolicyFeed) -> None:
    listed(feed)
    feed.take_cluster_policy(Upserted(cluster_policy(tier="Royal")))
    feed.take_cluster_policy(Unreadable("", "d", "not an object"))
    assert {str(problem.cause) for problem in feed.problems} == {
        "ClusterNetworkPolicy/c spec.tier",
        "ClusterNetworkPolicy/d",
    }


def test_what_runs_without_a_pod_is_nobodys_to_isolate(compiler: NodeCompiler) -> None:
    other = Workload("st2", NO_POD, "c1", "node-a", (PEER,))
    touched = compiler.set_workload(other)
    assert not any(isinstance(k, ElementKey) and "guarded" in k.set for k in touched)


class World:
    """A gate, and a kernel that takes everything, once all lists are there."""

    def __init__(self, compiler: NodeCompiler, feed: PolicyFeed) -> None:
        self._compiler = compiler
        self._feed = feed
        self.reconciler = Reconciler(compiler)
        self.passes = Passes()
        self.gate = Gate(compiler, self.reconciler, lambda: feed.complete, self.passes)

    async def sync(self, meanwhile: policy_wire.NetworkPolicy | None = None) -> None:
        """A pass, and a policy that comes before the kernel has answered."""
        if not self._feed.complete:
            return
        self.reconciler.touch(self._compiler.state)
        self.begin()
        if meanwhile is not None:
            self._feed.take_policy(Upserted(meanwhile))
        await self.end()

    def begin(self) -> None:
        self._changes = self.reconciler.plan().changes

    async def end(self, *, refuse: bool = False) -> None:
        failures = (
            [Failure(change, KernelError("no")) for change in self._changes] if refuse else ()
        )
        self.reconciler.settle(self._changes, failures)
        await self.passes.ended()


async def test_a_guarded_pod_passes_the_gate(compiler: NodeCompiler, feed: PolicyFeed) -> None:
    world = World(compiler, feed)
    listed(feed, policy())
    await world.sync()
    await world.gate.wait(WEB)


async def test_a_pod_starts_although_its_policies_change_all_the_time(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    """The kernel then holds what they said a moment ago, as it does for every running pod."""
    world = World(compiler, feed)
    listed(feed, policy())
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(world.gate.wait(WEB))
        for port in range(1, 5):
            await asyncio.sleep(0)
            await world.sync(policy(ingress=[{"from": [ANYWHERE], "ports": [{"port": port}]}]))
        await asyncio.sleep(0)
        started = starting.done()
        starting.cancel()
    assert started


async def test_a_pod_does_not_start_by_a_pass_that_began_before_it_was_known(
    compiler: NodeCompiler, feed: PolicyFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steppe.agent.cni.gate, "WAIT_SECONDS", 0.05)
    world = World(compiler, feed)
    listed(feed, policy())
    compiler.remove_workload(WEB.link)
    world.begin()
    world.reconciler.touch(compiler.set_workload(WEB))
    async with asyncio.TaskGroup() as group:
        group.create_task(world.end())
        with pytest.raises(UnguardedError, match="polic"):
            await world.gate.wait(WEB)


async def test_a_pod_does_not_start_while_what_the_kernel_refused_is_about_to_be_tried_again(
    compiler: NodeCompiler, feed: PolicyFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steppe.agent.cni.gate, "WAIT_SECONDS", 0.05)
    world = World(compiler, feed)
    listed(feed, policy())

    async def passes() -> None:
        world.reconciler.touch(compiler.state)
        world.begin()
        await world.end(refuse=True)
        world.begin()
        world.reconciler.retry()
        await world.end()

    async with asyncio.TaskGroup() as group:
        group.create_task(passes())
        with pytest.raises(UnguardedError, match="polic"):
            await world.gate.wait(WEB)


@pytest.mark.parametrize("what", ["lists", "pod", "kernel"])
async def test_a_pod_whose_policies_are_not_in_the_kernel_does_not_start(
    compiler: NodeCompiler, feed: PolicyFeed, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steppe.agent.cni.gate, "WAIT_SECONDS", 0.05)
    world = World(compiler, feed)
    if what != "lists":
        listed(feed, policy())
    if what == "pod":
        feed.take_pod(Deleted(pod()))
    if what != "kernel":
        await world.sync()
    with pytest.raises(UnguardedError, match="polic"):
        await world.gate.wait(WEB)


async def test_a_pod_that_no_policy_can_select_waits_for_nothing(
    compiler: NodeCompiler, feed: PolicyFeed
) -> None:
    world = World(compiler, feed)
    listed(feed, policy("other"))
    feed.take_pod(Deleted(pod()))
    await world.sync()
    await world.gate.wait(WEB)


@pytest.mark.parametrize("namespace", ["default", "other"])
async def test_where_the_api_stays_away_the_kernel_remembers_which_namespaces_have_policies(
    compiler: NodeCompiler, feed: PolicyFeed, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steppe.agent.cni.gate, "WAIT_SECONDS", 0.05)
    before = World(compiler, feed)
    listed(feed, policy(namespace))
    await before.sync()
    started = NodeCompiler(Settings(), "node-a")
    after = World(started, PolicyFeed(started))
    after.reconciler.replace_actual(before.reconciler.actual)
    if namespace == "other":
        await after.gate.wait(WEB)
        return
    with pytest.raises(UnguardedError, match="polic"):
        await after.gate.wait(WEB)


async def test_long_work_gives_others_their_turn_and_is_touched_at_its_end(
    feed: PolicyFeed,
) -> None:
    feed.behind.set_pace(counted(1))
    listed(feed, policy(ingress=[{"from": [{"podSelector": {}}]}]))
    assert not feed.complete, "what is not worked out would look like deletions"
    turns, touched = 0, list[ElementKey]()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        job = tasks.create_task(feed.behind.work(touched.extend))  # type: ignore[arg-type]
        while not feed.complete:
            assert not touched
            turns += 1
            await asyncio.sleep(0)
        job.cancel()
    assert turns > 3
    assert {key.set for key in touched} >= {"ingress_guarded4", "ingress_allowed4"}
