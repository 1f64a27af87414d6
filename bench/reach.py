"""All pairs and what a change does to them, in one process: from checked objects, no I/O.

A large cluster in which every workload has its own policy both ways, as careful teams write them:
namespaces of 10 workloads, each taking traffic from another one and from the monitoring namespace.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import msgspec

from bench.model import Benchmark, Result, Say, Target
from steppe.kube.cluster import Cluster
from steppe.manifests.cluster import cluster_from
from steppe.net.ports import parse_ports
from steppe.reach.difference import Difference
from steppe.reach.reach import reach_of

WORKLOADS = 10
LARGE = Target("all pairs, 10,000 pods, 1,000 policies, 100 namespaces", 10.0, "s", at_most=True)
MEMORY = Target("all pairs, 10,000 pods: memory of the process", 1000.0, "MB", at_most=True)
SMALL = Target("all pairs, 1,000 pods, 100 policies", 0.5, "s", at_most=True)
CHANGE = Target("diff of one policy, 10,000 pods", 3.0, "s", at_most=True)


def cluster(namespaces: int, pods_each: int) -> Cluster:
    """So many namespaces of 10 workloads of so many pods, with a policy a workload."""
    documents = [*_nodes(namespaces), _namespace("monitoring")]
    for number in range(namespaces):
        space = f"team-{number}"
        documents.append(_namespace(space))
        for workload in range(WORKLOADS):
            documents.append(_policy(space, workload))
            documents += (_pod(number, workload, replica) for replica in range(pods_each))
    found, problems = cluster_from(documents)
    if problems:
        raise ValueError(problems[0])
    return found


def _nodes(count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        yield {
            "kind": "Node",
            "metadata": {"name": f"node-{number}"},
            "spec": {"podCIDRs": [str(net) for net in _prefixes(number)]},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": str(ip_address("192.0.2.0") + number)},
                    {"type": "InternalIP", "address": str(ip_address("2001:db8::") + number)},
                ]
            },
        }


def _prefixes(number: int) -> tuple[object, object]:
    return ip_network((int(ip_address("10.128.0.0")) + (number << 8), 24)), ip_network(
        (int(ip_address("fd00::")) + (number << 64), 64)
    )


def _namespace(name: str) -> dict[str, object]:
    labels = {"kubernetes.io/metadata.name": name}
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _pod(number: int, workload: int, replica: int) -> dict[str, object]:
    host = workload * 20 + replica + 2
    name = f"app-{workload}-{replica}"
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": f"team-{number}",
            "labels": {"app": f"app-{workload}", "pod-name": name},
        },
        "spec": {"nodeName": f"node-{number}"},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": str(net[host])} for net in _prefixes(number)],
        },
    }


def _policy(space: str, workload: int) -> dict[str, object]:
    caller = {"podSelector": {"matchLabels": {"app": f"app-{(workload + 1) % WORKLOADS}"}}}
    called = {"podSelector": {"matchLabels": {"app": f"app-{(workload - 1) % WORKLOADS}"}}}
    monitoring = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": f"app-{workload}", "namespace": space},
        "spec": {
            "podSelector": {"matchLabels": {"app": f"app-{workload}"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [caller], "ports": [{"port": 8080}]},
                {"from": [{"namespaceSelector": monitoring}], "ports": [{"port": 9090}]},
            ],
            "egress": [
                {"to": [called], "ports": [{"port": 8080}]},
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]},
            ],
        },
    }


def all_pairs(known: Cluster) -> tuple[float, int]:
    """Seconds for one port over all pairs, and how many rows of classes that is."""
    began = time.perf_counter()
    reach = reach_of(known, parse_ports("8080"))
    rows = sum(1 for receiver in range(len(reach.groups)) for _ in reach.rows(receiver))
    return time.perf_counter() - began, rows


def one_change(known: Cluster) -> tuple[float, int]:
    """Seconds for one policy that no longer lets its callers in, and how many changes that is."""
    name = ("team-7", "app-3")
    policy = known.network_policies[name]
    changed = msgspec.structs.replace(policy, ingress=policy.ingress[1:])
    policies = {**known.network_policies, name: changed}
    began = time.perf_counter()
    difference = Difference(known, msgspec.structs.replace(known, network_policies=policies))
    changes = len([*difference.flows(), *difference.offers()])
    return time.perf_counter() - began, changes


class Measured(msgspec.Struct):
    """What a process of its own found, and the most memory that it held."""

    pairs_seconds: float
    rows: int
    megabytes: float
    diff_seconds: float
    changes: int


def large() -> Measured:
    """The large cluster: all pairs, and then one change."""
    known = cluster(100, 10)
    seconds, rows = all_pairs(known)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return Measured(seconds, rows, peak, *one_change(known))


def measure(say: Say) -> Iterator[Result]:
    say("  1,000 pods")
    seconds, rows = all_pairs(cluster(10, 10))
    yield Result(SMALL, seconds, {"rows": rows})
    say("  10,000 pods, in a process of their own")
    answer = subprocess.run(
        (sys.executable, "-m", "bench.reach"), stdout=subprocess.PIPE, check=True
    )
    found = msgspec.json.decode(answer.stdout, type=Measured)
    yield Result(LARGE, found.pairs_seconds, {"rows": found.rows})
    yield Result(MEMORY, found.megabytes)
    yield Result(CHANGE, found.diff_seconds, {"changes": found.changes})


BENCHMARK = Benchmark((SMALL, LARGE, MEMORY, CHANGE), measure)

if __name__ == "__main__":
    print(msgspec.json.encode(large()).decode())
