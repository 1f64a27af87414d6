"""What pods, Services and policies of a real cluster get from Steppe."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.lan import inside
from tests.kubernetes.harness.processes import run
from tests.kubernetes.workload import INSIDE, LATE, Workload, end_pod, run_pod
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)
BOTH = ("IPv4", "IPv6")
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
SILENCE = 72
"""Seconds: more than the 60 that the kernel keeps a half-closed connection by default."""
OWN_CHANGES = """
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.nftables.driver import Nft
with Nft(SKELETON) as nft, nft.watch() as watch:
    assert nft.ensure()
    print(watch.drain())
"""


def test_every_node_is_ready_with_a_prefix_of_each_family(cluster: Cluster) -> None:
    for name in cluster.nodes:
        prefixes = cluster.api.get(f"/api/v1/nodes/{name}")["spec"]["podCIDRs"]
        assert [":" in one for one in prefixes] == [False, True], name


@pytest.mark.parametrize("family", BOTH)
def test_a_pod_reaches_pods_of_other_nodes(workload: Workload, family: str) -> None:
    for server in workload.servers:
        address = server.addresses[BOTH.index(family)]
        assert workload.asks(address) == server.name


@pytest.mark.parametrize("family", BOTH)
def test_a_service_reaches_each_of_its_pods(workload: Workload, family: str) -> None:
    address = workload.service("web")["clusterIPs"][BOTH.index(family)]
    wanted = {server.name for server in workload.servers}
    seen: set[str] = set()
    until(lambda: seen.add(workload.asks(address)) or seen >= wanted, 60, "each pod answers")
    assert seen == wanted


@pytest.mark.parametrize("family", BOTH)
def test_a_node_port_is_served_by_a_node_without_a_pod_of_it(
    workload: Workload, family: str
) -> None:
    port = workload.service("web")["ports"][0]["nodePort"]
    address = workload.client.node.addresses[BOTH.index(family)]
    host = f"[{address}]" if ":" in address else address
    said = inside("curl", "--silent", "--max-time", "5", f"http://{host}:{port}/hostname")
    assert said in {server.name for server in workload.servers}


def test_a_policy_closes_and_opens_again(workload: Workload) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]},
    }
    addresses = workload.servers[0].addresses
    workload.cluster.api.post(POLICIES, policy)
    try:
        closed = lambda: not any(workload.asks(one) for one in addresses)  # noqa: E731
        until(closed, 30, "the policy closes both families")
    finally:
        workload.cluster.api.delete(f"{POLICIES}/closed")
    opened = lambda: all(workload.asks(one) for one in addresses)  # noqa: E731
    until(opened, 30, "both families are open again")


def test_no_connection_is_lost_when_every_agent_is_killed(
    workload: Workload, say: Callable[[str], None]
) -> None:
    with workload.traffic() as traffic:
        for name, node in workload.cluster.nodes.items():
            node.kill_agent()
            workload.cluster.restart_agent(name)
            until(node.agent_ready, 60, f"{name}'s agent is back")
        result = traffic.ended(at_least=1000)
    say(f"while every agent was killed: {result}")
    assert result["failed"] == []


@pytest.mark.parametrize("family", BOTH)
def test_a_half_closed_connection_through_a_service_gets_its_late_answer(
    workload: Workload, family: str
) -> None:
    server, client = workload.servers[0], workload.client
    address = workload.service("late")["clusterIPs"][BOTH.index(family)]
    program = (sys.executable, INSIDE / "half_closed.py")
    serves = server.runs(*program, "serve", str(LATE), str(SILENCE))
    with subprocess.Popen(serves, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline() == "listening\n"
        asks = client.runs(*program, "ask", address, str(LATE))
        try:
            assert run(asks) == "late answer"
        finally:
            serving.kill()


def test_the_audit_of_a_node_finds_nothing(workload: Workload) -> None:
    for node in workload.cluster.nodes.values():
        node.steppe("audit")  # HarnessError with what it says if its exit code is not 0


def test_a_pod_that_ends_leaves_nothing_on_its_node(workload: Workload) -> None:
    cluster, name = workload.cluster, next(iter(workload.cluster.nodes))
    pod = run_pod(cluster, "short", name)
    routes = lambda: "".join(pod.node.run("ip", "route", "show", a) for a in pod.addresses)  # noqa: E731
    assert "dev st" in routes()
    end_pod(cluster, pod)
    until(lambda: not routes(), 60, "its routes are gone")
    pod.node.steppe("audit")


def test_agents_in_pid_namespaces_put_nothing_of_their_own_right(workload: Workload) -> None:
    for name, node in workload.cluster.nodes.items():
        metrics = node.run("curl", "--silent", "http://127.0.0.1:9465/metrics").splitlines()
        repairs = [line for line in metrics if line.startswith("steppe_repairs_total{")]
        assert all(line.endswith(" 0.0") for line in repairs), (name, repairs)
        said = node.run("unshare", "--net", sys.executable, "-P", "-c", OWN_CHANGES)
        assert said == "()\n", name
