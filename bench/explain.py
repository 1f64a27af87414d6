"""Explaining one flow after another: on 10,000 pods and as many Services, and from a cold start.

The flows are of all kinds, mixed: to pods and to Services, let through and denied, and they go
through the tables that 1,000 nodes would have.
"""

import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

from bench.model import Benchmark, Result, Say, Target, percentile
from steppe.explain.explain import Explainer
from steppe.explain.tables import compiled
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node, Pod, Underlay
from steppe.kube.policies import Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.selectors import Requirement, Selector
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.net.ports import PortRange
from steppe.settings import Settings

NODES, PODS, SERVICES, NAMESPACES, POLICIES = 1000, 10_000, 10_000, 100, 10
ENDPOINTS, FLOWS, FILES = 3, 400, 50
RATE = Target(f"explained flows, {PODS} pods and {SERVICES} Services", 200.0, "1/s")
SLOWEST = Target(f"explained flow, {NODES} nodes, 99th percentile", 0.1, "s", at_most=True)
COLD = Target(f"steppe explain -f, {FILES} objects, cold", 0.4, "s", at_most=True)
_COLD_RUNS = 5

_APPS = ("web", "api", "db", "cache", "queue")


def node(number: int) -> Node:
    high, low = divmod(number, 256)
    own = ip_interface(f"172.16.{high}.{low}/12"), ip_interface(f"fd00:1::{number + 1:x}/64")
    name = f"node-{number:04}"
    networks = ip_network(f"10.{high}.{low}.0/24"), ip_network(f"fd00:10:{number + 1:x}::/64")
    return Node(
        name,
        prefixes=pod_cidrs(name, networks),
        addresses=tuple(each.ip for each in own),
        underlay=Underlay("eth0", 1500, own),
    )


def pod(number: int, nodes: list[Node]) -> Pod:
    home = nodes[number % NODES]
    index = number // NODES + 2
    return Pod(
        f"space-{number % NAMESPACES}",
        f"pod-{number}",
        f"uid-{number}",
        home.name,
        tuple(prefix[index] for prefix in home.networks),
        labels={"app": _APPS[number // NAMESPACES % len(_APPS)], "number": str(number)},
    )


def policies(space: str) -> Iterator[NetworkPolicy]:
    """Each app of a namespace lets in the one before it, on one port."""

    def app(name: str) -> Selector:
        return Selector((Requirement("app", "In", frozenset((name,))),))

    for number in range(POLICIES):
        to, by = _APPS[number % len(_APPS)], _APPS[(number + 1) % len(_APPS)]
        rule = Rule(
            "spec.ingress[0]",
            (Pods(pods=app(by), within=space),),
            (PortRange("TCP", 8080, 8080),),
        )
        yield NetworkPolicy(space, f"{to}-{number}", app(to), frozenset({"ingress"}), (rule,))


def cluster() -> Cluster:
    nodes = [node(number) for number in range(NODES)]
    pods = [pod(number, nodes) for number in range(PODS)]
    services, slices = [], []
    for number in range(SERVICES):
        space, name = f"space-{number % NAMESPACES}", f"service-{number}"
        port = ServicePort("http", "TCP", 80)
        addresses = tuple(ip_address(base) + number + 1 for base in ("10.96.0.0", "fd00:96::"))
        services.append(Service(space, name, "", addresses, (port,)))
        chosen = [pods[(number + each * 7 * NAMESPACES) % PODS] for each in range(ENDPOINTS)]
        for index, version in enumerate((4, 6)):
            ends = tuple(Endpoint(each.addresses[index], each.node) for each in chosen)
            ports = (("http", "TCP", 8080),)
            slices.append(EndpointSlice(space, f"{name}-{version}", name, ports, ends))  # type: ignore[arg-type]
    spaces = [f"space-{number}" for number in range(NAMESPACES)]
    return cluster_of(
        nodes,
        pods,
        [Namespace(space, {"kubernetes.io/metadata.name": space}) for space in spaces],
        itertools.chain.from_iterable(map(policies, spaces)),
        services=services,
        slices=slices,
    )


def words() -> Iterator[tuple[str, str, str]]:
    """SRC, DST and port of flows within namespaces, to pods and to Services in turn."""
    choose = random.Random(7)  # noqa: S311 - the same flows every time
    for number in range(FLOWS):
        space = choose.randrange(NAMESPACES)
        one, other = (space + NAMESPACES * choose.randrange(PODS // NAMESPACES) for _ in range(2))
        source = f"space-{space}/pod-{one}"
        if number % 2:
            yield source, f"svc/space-{space}/service-{other}", "80"
        else:
            yield source, f"space-{space}/pod-{other}", "8080"


def measure_rate(say: Say) -> Iterator[Result]:
    say("  making the cluster")
    began = time.monotonic()
    explainer = Explainer(cluster(), compiled(Settings()))
    details = {"index": time.monotonic() - began}
    say("  explaining")
    kinds: dict[str, int] = {}
    taken: list[float] = []
    for source, destination, port in words():
        start = time.monotonic()
        flow, _ = explainer.flow(source, destination, port)
        said = explainer.explain(flow)
        taken.append(time.monotonic() - start)
        kinds[said.kind] = kinds.get(said.kind, 0) + 1
    yield Result(RATE, len(taken) / sum(taken), {**details, "verdicts": kinds})
    yield Result(SLOWEST, percentile(taken, 0.99), {"slowest": max(taken)})


def manifests() -> str:
    """A namespace, Deployments, Services and a policy for each: as many objects as promised."""
    texts = ["apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"]
    for number in range((FILES - 1) // 3 + 1):
        name, labels = f"app-{number}", f"{{app: app-{number}}}"
        texts.append(
            f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n"
            f"spec:\n  selector: {{matchLabels: {labels}}}\n  template:\n"
            f"    metadata: {{labels: {labels}}}\n"
            "    spec: {containers: [{name: c, image: echo, ports: [{containerPort: 8080}]}]}\n"
        )
        texts.append(
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n"
            f"spec: {{selector: {labels}, ports: [{{port: 80, targetPort: 8080}}]}}\n"
        )
        texts.append(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
            f"metadata: {{name: {name}, namespace: shop}}\n"
            f"spec: {{podSelector: {{matchLabels: {labels}}}, ingress: [{{}}]}}\n"
        )
    return "---\n".join(texts[:FILES])


def measure_cold(say: Say) -> Iterator[Result]:
    say("  starting the command")
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "all.yaml").write_text(manifests())
        program = "from steppe.cli.main import main; main()"
        argv = [sys.executable, "-c", program, "explain", "-f", folder]
        for _ in range(_COLD_RUNS):
            began = time.monotonic()
            subprocess.run(
                [*argv, "shop/app-1-0", "svc/shop/app-2"], check=True, stdout=subprocess.DEVNULL
            )
            taken.append(time.monotonic() - began)
    yield Result(COLD, percentile(taken, 0.5), {"runs": taken})


def measure(say: Say) -> Iterator[Result]:
    yield from measure_rate(say)
    yield from measure_cold(say)


BENCHMARK = Benchmark((RATE, SLOWEST, COLD), measure)
