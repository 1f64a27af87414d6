"""What pods, Services and policies of a real cluster get from Steppe."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.lan import inside
from tests.kubernetes.harness.processes import run
from tests.kubernetes.workload import INSIDE, LATE, PORT, Workload
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)
BOTH = ("IPv4", "IPv6")
SILENCE = 72
"""Seconds: more than the 60 that the kernel keeps a half-closed connection by default."""
OWN_TRANSACTION = """
import time
from steppe.drivers.nftables.driver import Nft
from steppe.state.skeleton import SKELETON
with Nft(SKELETON) as nft, nft.watch() as watch:
    nft.ensure()
    time.sleep(0.5)  # a notification that came late would be missed: the fault is not
    print(watch.drain())
"""


def test_every_node_is_ready_with_a_prefix_of_each_family(cluster: Cluster) -> None:
    for name in cluster.nodes:
        prefixes = cluster.get("node", name)["spec"]["podCIDRs"]
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


def test_a_policy_closes_and_opens_again(workload: Workload, tmp_path: Path) -> None:
    policy = tmp_path / "closed.yaml"
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]},
    }
    policy.write_text(yaml.safe_dump(document))
    addresses = workload.servers[0].addresses
    workload.cluster.kubectl("apply", "--filename", policy)
    try:
        closed = lambda: not any(workload.asks(one) for one in addresses)  # noqa: E731
        until(closed, 30, "the policy closes both families")
    finally:
        workload.cluster.kubectl("delete", "--filename", policy)
    opened = lambda: all(workload.asks(one) for one in addresses)  # noqa: E731
    until(opened, 30, "both families are open again")


def test_no_connection_is_lost_when_every_agent_is_killed(workload: Workload) -> None:
    targets = [f"[{one}]:{PORT}" for one in workload.service("web")["clusterIPs"]]
    targets += [f"[{one}]:{PORT}" for server in workload.servers for one in server.addresses]
    client = workload.client
    program = (sys.executable, INSIDE / "traffic.py", "30", "100", *targets)
    argv = client.node.in_pod(client.addresses[0], *program)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        for name, node in workload.cluster.nodes.items():
            node.kill_agent()
            workload.cluster.restart_agent(name)
            ready = ("curl", "--silent", "--fail", "http://127.0.0.1:9465/readyz")
            until(lambda: node.run(*ready, check=False), 60, f"{name}'s agent is back")  # noqa: B023
        assert running.poll() is None, "traffic ended before the last agent was back"
        said, _ = running.communicate()
    result = json.loads(said)
    sys.__stderr__.write(f"  under agent kills: {said}\n")
    assert result["failed"] == []
    assert result["made"] > 1000


@pytest.mark.parametrize("family", BOTH)
def test_a_half_closed_connection_through_a_service_gets_its_late_answer(
    workload: Workload, family: str
) -> None:
    server, client = workload.servers[0], workload.client
    address = workload.service("late")["clusterIPs"][BOTH.index(family)]
    program = (sys.executable, INSIDE / "half_closed.py")
    serves = server.node.in_pod(server.addresses[0], *program, "serve", str(LATE), str(SILENCE))
    with subprocess.Popen(serves, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline() == "listening\n"
        asks = client.node.in_pod(client.addresses[0], *program, "ask", address, str(LATE))
        try:
            assert run(asks) == "late answer"
        finally:
            serving.kill()


def test_the_audit_of_a_node_finds_nothing(workload: Workload) -> None:
    for node in workload.cluster.nodes.values():
        run(node._inside((Path(sys.executable).with_name("steppe"), "audit")))  # exit code 0


def test_an_agent_in_a_pid_namespace_knows_its_own_transactions(cluster: Cluster) -> None:
    node = cluster.nodes["n1"]
    said = node.run("unshare", "--net", sys.executable, "-P", "-c", OWN_TRANSACTION)
    assert said.strip() in {"set()", "[]", "()", "frozenset()"}
