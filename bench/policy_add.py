"""How much longer CNI ADD takes because of policies, on a node that has 1,000 of them.

Pods are attached in turn that are under none, under ten and under all others; one of the last kind
is there all the time. The elements of each are in the kernel before ADD returns.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.cni_add import add_once
from bench.lab import NAME, lab, node, pod, pod_manifest
from bench.model import BenchError, Benchmark, Result, Say, Target
from steppe_lab.kubelet.cni import Cni
from steppe_lab.kubelet.cniconf import load_first
from steppe_lab.record import paths

POLICIES, ADDS, FIRST = 1_000, 50, 3
FEW = 10
EXTRA = Target(
    f"CNI ADD, {POLICIES} policies on the node: more for a pod under {FEW} than for one under none",
    5.0,
    "ms",
    at_most=True,
)
_FREE, _FEW, _MOST = _NAMESPACES = ("free", "few", "default")
_NAME = "added"


def _manifest() -> str:
    documents: list[dict[str, Any]] = [
        *map(_namespace, (_FREE, _FEW)),
        *map(_policy, range(POLICIES)),
        *map(_never_scheduled, _NAMESPACES),
    ]
    texts = [msgspec.json.encode(document).decode() for document in documents]
    return "\n---\n".join([*texts, pod_manifest("there-before", "node-a")])


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _policy(number: int) -> dict[str, Any]:
    """For all pods of its namespace, with a caller and a port of its own."""
    peers = [{"podSelector": {"matchLabels": {"app": f"app-{number}"}}}]
    ports = [{"protocol": "TCP", "port": 1000 + number}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"p{number}", "namespace": _FEW if number < FEW else _MOST},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers, "ports": ports}],
            "egress": [{"to": peers, "ports": ports}],
        },
    }


def _never_scheduled(namespace: str) -> dict[str, Any]:
    """The API knows the pod, and no kubelet starts it: that is for us to do, again and again."""
    containers = [{"name": "pause", "image": "registry.k8s.io/pause:3.10"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NAME, "namespace": namespace, "labels": {"app": "app-0"}},
        "spec": {"schedulerName": "bench", "containers": containers},
    }


def measure(say: Say) -> Iterator[Result]:
    with lab(1, "direct", _manifest()), tempfile.TemporaryDirectory() as temporary:
        pod("there-before")
        installed = paths(NAME).node("node-a") / "cni"
        network = load_first(installed / "net.d")
        if network is None:
            raise BenchError(f"no CNI configuration in {installed / 'net.d'}")
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        cni = Cni((installed / "bin",), Path(temporary), env=env)
        say(f"  {ADDS} of each")
        times = [
            tuple(
                add_once(cni, network, node("node-a").netns, (namespace, _NAME))
                for namespace in _NAMESPACES
            )
            for _ in range(FIRST + ADDS)
        ][FIRST:]
    found = {n: median(turn[which] for turn in times) for which, n in enumerate(_NAMESPACES)}
    say(f"  medians: {', '.join(f'{name} {value:.1f} ms' for name, value in found.items())}")
    yield Result(EXTRA, found[_FEW] - found[_FREE], {**found, "runs": times})


BENCHMARK = Benchmark((EXTRA,), measure)
