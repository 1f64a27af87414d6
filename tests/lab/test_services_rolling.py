"""A rolling update under load: not one request is lost, whichever way it came.

Readiness, the wait before SIGTERM and the spare pods are what people write in their Deployments;
the client of the Local node port does what a load balancer does, and asks the health check port.
"""

import contextlib
import json
import random
import threading
from collections.abc import Iterator

import pytest

from steppe.client.resources import DEPLOYMENTS
from tests.lab.conftest import make_labs
from tests.lab.service_lab import NODES, Json, Load, World, cluster, node_port, pods
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(240)]

REPLICAS = 4
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": REPLICAS,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 15,
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app": "web"}},
                    }
                ],
                "containers": [
                    {
                        "name": "echo",
                        "image": "echo",
                        "args": ["--http", "8080"],
                        "readinessProbe": {
                            "httpGet": {"path": "/", "port": 8080},
                            "periodSeconds": 1,
                        },
                        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
                    }
                ],
            },
        },
    },
}


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[World]:
    with make_labs(tmp_path_factory.mktemp("rolling")) as make:
        yield World(make("roll", "--nodes", "2", pods=pods()))


class Balancer:
    """Knows, as a load balancer does, which nodes have endpoints: it asks each, again and again."""

    def __init__(self, world: World, service: Json, index: int) -> None:
        self._world = world
        self._places = {node: node_port(service, node)[index] for node in NODES}
        self._health = service["spec"]["healthCheckNodePort"]
        self._up: tuple[str, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="balancer")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            until(lambda: self._up, 10, "a node has endpoints")
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def place(self) -> tuple[str, int]:
        return self._places[random.choice(self._up)]  # noqa: S311  guards nothing

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self._up = tuple(node for node in NODES if self._is_up(node)) or self._up

    def _is_up(self, node: str) -> bool:
        with contextlib.suppress(OSError):
            answer = self._world.health("outside", self._places[node][0], self._health)
            return answer is not None and answer[0] == 200
        return False


def test_a_rolling_update_loses_no_request(world: World) -> None:
    """externalTrafficPolicy, ready, serving and terminating, all at once."""
    manifest = json.loads(json.dumps(DEPLOYMENT))
    world.api(lambda client: client.create(DEPLOYMENTS, manifest, "default"))
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    selector = {"app": "web"}
    plain = world.service("web", ports, selector=selector, type="NodePort")
    local = world.service(
        "local", ports, selector=selector, type="LoadBalancer", externalTrafficPolicy="Local"
    )
    rollout = ("rollout", "status", "deployment/web", "--timeout=60s")
    assert "successfully rolled out" in world.lab.kubectl(*rollout)
    until(lambda: len(world.slices("local")) == 2 * REPLICAS, 10, "all are endpoints")
    world.settle()
    before = pod_names(world)
    balancer = Balancer(world, local, 0)
    with (
        balancer.watching(),
        Load(world, "client-a", lambda: cluster(plain)[0], 40) as inside,
        Load(world, "client-b", lambda: cluster(plain)[1], 40) as inside6,
        Load(world, "outside", lambda: node_port(plain, "node-a")[0], 60) as through_node,
        Load(world, "outside", balancer.place, 60) as through_local,
    ):
        loads = (inside, inside6, through_node, through_local)
        until(lambda: min(load.done for load in loads) > 40, 15, "there is load")
        changed = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
        world.patch(DEPLOYMENTS, "web", changed)
        assert "successfully rolled out" in world.lab.kubectl(*rollout)
        until(lambda: not before & pod_names(world), 30, "the old pods are gone")
    assert [load.failures for load in loads] == [[], [], [], []]
    assert sum(load.done for load in loads) > 500


def pod_names(world: World) -> set[str]:
    return set(world.lab.kubectl("get", "pod", "-l", "app=web", "-o", "name").split())
