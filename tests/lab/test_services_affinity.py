"""Session affinity with real packets: one client, one endpoint, for as long as it keeps coming."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from steppe.client.resources import SERVICES
from steppe.dataplane.nft.skeleton import SKELETON
from tests.lab.conftest import make_labs
from tests.lab.service_lab import (
    Json,
    Target,
    World,
    cluster,
    node_port,
    pods,
)
from tests.waiting import patience, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not any(spec.name == "affinity4" for spec in SKELETON.sets),
        reason="the tables have no session affinity yet",
    ),
]

HERE, THERE = "echo-a", "echo-b"
CLIENTS = ("client-a", "node-a", "outside")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[World]:
    with make_labs(tmp_path_factory.mktemp("affinity")) as make:
        yield World(make("affine", "--nodes", "2", pods=pods()))


@pytest.fixture(autouse=True)
def _clean(world: World) -> Iterator[None]:
    yield
    world.remove("web")


def serve(world: World, **spec: Any) -> Json:
    service = world.service("web", type="NodePort", sessionAffinity="ClientIP", **spec)
    world.endpoints("web", {HERE: {}, THERE: {}})
    world.settle()
    return service


def targets(service: Json) -> list[Target]:
    """Cluster IPs and a node's port, of both families, by TCP and UDP."""
    return [
        Target(*place, protocol)
        for index, protocol in enumerate(("TCP", "UDP"))
        for place in (*cluster(service), *node_port(service, "node-a", index))
    ]


def who(world: World, client: str, target: Target) -> str:
    return world.ask(client, target).partition(" ")[0]


def test_one_client_meets_one_endpoint(world: World) -> None:
    """sessionAffinity: "Enable client IP based session affinity." """
    service = serve(world)
    wrong = {
        (client, target): met
        for client in CLIENTS
        for target in targets(service)
        if len(met := {who(world, client, target) for _ in range(12)}) != 1
        or not met < {HERE, THERE}
    }
    assert wrong == {}


def test_affinity_comes_and_goes_with_the_field(world: World) -> None:
    """sessionAffinity: "Supports "ClientIP" and "None"." """
    service = serve(world)
    target = targets(service)[0]
    before = who(world, "client-a", target)
    world.patch(SERVICES, "web", {"spec": {"sessionAffinity": "None"}})
    world.settle()
    until(lambda: who(world, "client-a", target) != before, 5, "any endpoint is chosen")
    world.patch(SERVICES, "web", {"spec": {"sessionAffinity": "ClientIP"}})
    world.settle()
    assert len({who(world, "client-a", target) for _ in range(12)}) == 1


def test_affinity_to_an_endpoint_that_is_gone_is_forgotten(world: World) -> None:
    """It would lead nowhere."""
    service = serve(world)
    for client in CLIENTS:
        for target in targets(service)[:3]:
            first = who(world, client, target)
            other = ({HERE, THERE} - {first}).pop()
            world.endpoints("web", {other: {}})
            world.settle()
            assert {who(world, client, target) for _ in range(4)} == {other}
            world.endpoints("web", {HERE: {}, THERE: {}})
            world.settle()


def test_affinity_ends_when_the_client_has_stayed_away_long_enough(world: World) -> None:
    """timeoutSeconds: "the seconds of ClientIP type session sticky time"."""
    config = {"clientIP": {"timeoutSeconds": 1}}
    service = serve(world, sessionAffinityConfig=config)
    target = targets(service)[0]
    first = who(world, "client-a", target)
    end = time.monotonic() + 2
    while time.monotonic() < end:  # twice the time, but never a second without a request
        assert who(world, "client-a", target) == first

    def another_after_a_while() -> bool:
        time.sleep(patience(1.3))
        return who(world, "client-a", target) != first

    until(another_after_a_while, 20, "another endpoint is chosen")
