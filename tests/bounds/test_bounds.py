"""A node beneath objects at their limits and at twice their limits, and what others feel of it.

All the time its health is asked for, and a pod is attached and detached that no policy selects.
Every case ends as it began, without a restart.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import yaml

from steppe.client.resources import (
    CLUSTERNETWORKPOLICIES,
    CRDS,
    ENDPOINTSLICES,
    NAMESPACES,
    NETWORKPOLICIES,
    PODS,
    SERVICES,
    Resource,
)
from steppe.kube.policy_limits import LIMITS
from steppe.service.limits import MAX_ENTRIES
from tests.bounds import objects as of
from tests.bounds.world import HEALTH, NODE, UNRELATED, Seen, World, node, watching
from tests.conformance.netpol import CRD
from tests.waiting import patience, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(patience(240))]

PEERS, LOCAL = 5_000, 20
"""Each peer has two labels of its own: 10,000 that are different."""
MEMORY = 300 << 20
SECONDS = 1.0
LEAST, MOVING = 2_000, 20
"""How many elements each case has at its limit, and the pod that comes and goes at most."""
TURN_SECONDS = 0.1
RULES, PORTS, BLOCKS, EXCEPTED, _ = LIMITS.values()
Objects = list[tuple[Resource, of.Object]]


def service(entries: int) -> Objects:
    made, slice_ = of.service(entries // 1_000, 999)
    return [(SERVICES, made), (ENDPOINTSLICES, slice_)]


def policy(*rules: of.Object, name: str = "large") -> Objects:
    return [(NETWORKPOLICIES, of.policy(*rules, name=name))]


CASES: dict[str, tuple[Callable[[int], Objects], tuple[int, int], str]] = {
    "odd ports": (
        lambda n: policy({"from": [of.ANY_POD], "ports": of.odd_ports(n)}),
        (PORTS, 2 * PORTS),
        "ports, more than",
    ),
    "ipBlocks": (
        lambda n: policy({"from": of.peers(of.blocks(n))}),
        (BLOCKS, 2 * BLOCKS),
        "peers, more than",
    ),
    "excepts": (
        lambda n: policy(of.excepting(n)),
        (EXCEPTED, 2 * EXCEPTED),
        "except entries, more than",
    ),
    "overlapping ipBlocks": (lambda n: policy(*of.overlapping(n)), (98, 140), "overlap"),
    "rules that exclude a label": (
        lambda n: policy(*of.none_of(n)),
        (RULES // 2, 2 * RULES),
        "rules, more than",
    ),
    "networks of a ClusterNetworkPolicy": (
        lambda n: [(CLUSTERNETWORKPOLICIES, of.cluster_policy(*of.networks(n)))],
        (BLOCKS, 2 * BLOCKS),
        "peers, more than",
    ),
    "many policies": (
        lambda n: [
            each
            for number in range(n)
            for each in policy(
                {"from": [of.ANY_POD], "ports": of.odd_ports(PORTS, 1 + number)},
                name=f"large-{number}",
            )
        ],
        (4, 12),
        "too much for its nodes together",
    ),
    "ports x endpoints of a Service": (service, (MAX_ENTRIES, 2 * MAX_ENTRIES), "not served"),
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    peers = (
        of.pod("there", f"peer-{n}", "far", 1_000 + n, own=f"v{n}", other=f"w{n}")
        for n in range(PEERS)
    )
    with node(peers) as made:
        made.create(CRDS, [yaml.safe_load(CRD.read_text())])
        made.create(NAMESPACES, map(of.namespace, (of.HERE, "there", UNRELATED[0])))
        here = [of.pod(of.HERE, f"local-{n}", NODE, n, app="local") for n in range(LOCAL)]
        made.create(PODS, [*here, of.pod(*UNRELATED, NODE, LOCAL)])
        small = {"from": [{**of.ANY_POD, "podSelector": {"matchLabels": {"own": "v7"}}}]}
        made.create(NETWORKPOLICIES, [of.policy(small, name="small")])
        made.start_agent()
        for n in range(LOCAL):
            made.attach((of.HERE, f"local-{n}"))
        settled(made)
        yield made


def settled(world: World) -> int:
    """How many elements there are once the agent rests, all of them in the kernel."""
    until(world.quiet, 60, "the agent rests")
    status = world.status()
    assert status["notInKernel"] == []
    return status["entries"]["elements"]


def in_kernel(world: World, least: int, most: int) -> bool:
    """Whether there are about so many elements, all of them in the kernel."""
    figures = world.figures()
    there = figures.get('steppe_entries{table="elements"}', 0.0)
    return least <= there <= most and figures["steppe_in_sync"] == 1.0


def bounded(seen: Seen) -> None:
    assert not seen.fault
    assert seen.health < patience(SECONDS)
    assert seen.added < patience(SECONDS)
    assert seen.memory < MEMORY, f"{seen.memory >> 20} MB"
    assert seen.turn < patience(TURN_SECONDS), seen.turns


def guarded(world: World) -> bool:
    """Whether the kernel knows the pods here as guarded."""
    command = ("ip", "netns", "exec", world.namespace, "nft", "list", "map", "inet", "steppe")
    listed = subprocess.run(
        (*command, "ingress_allowed4"), capture_output=True, text=True, check=False
    )
    return "ingress-allow" in listed.stdout


@pytest.mark.parametrize("beyond", [False, True], ids=["within", "twice the limit"])
@pytest.mark.parametrize("case", CASES)
def test_others_do_not_feel_an_object_however_large(world: World, case: str, beyond: bool) -> None:
    make, sizes, told = CASES[case]
    made = make(sizes[beyond])
    before = settled(world)
    try:
        with watching(world) as there:
            for resource, each in made:
                world.create(resource, [each])
            if beyond:
                until(lambda: any(told in each for each in world.problems()), 30, f"told: {told}")
            else:
                until(lambda: in_kernel(world, before + LEAST, sys.maxsize), 30, "all is there")
    finally:  # the cases after this one have the same agent
        with watching(world) as gone:
            for resource, each in made:
                world.delete(resource, [each])
            until(lambda: in_kernel(world, 0, before + MOVING), 30, "nothing is left of it")
    assert not world.problems()
    bounded(there)
    bounded(gone)
    assert settled(world) == before
    assert guarded(world), "the small policy is enforced as before"


def test_a_thousand_namespaces_are_not_felt(world: World) -> None:
    with watching(world) as seen:
        world.create(NAMESPACES, (of.namespace(f"more-{n}") for n in range(1_000)))
        until(lambda: in_kernel(world, 0, sys.maxsize), 30, "all is in the kernel")
    bounded(seen)


FLOOD = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
held = []
for number in range(int(sys.argv[2])):
    client = socket.socket(socket.AF_UNIX if "/" in sys.argv[1] else socket.AF_INET)
    client.settimeout(5)
    try:
        client.connect(sys.argv[1] if "/" in sys.argv[1] else ("127.0.0.1", int(sys.argv[1])))
        client.sendall((b"", b"GET / HTTP/1.1\\r\\nX-Slow: ", b"{")[number % 3])
    except OSError:
        pass
    held.append(client)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("listener", [str(HEALTH), "cni.sock", "agent.sock"])
def test_half_open_connections_are_not_felt(world: World, listener: str) -> None:
    where = listener if listener.isdecimal() else str(world.folder / listener)
    enter = ("ip", "netns", "exec", world.namespace, sys.executable, "-c", FLOOD, where, "2240")
    with watching(world) as seen:
        with subprocess.Popen(enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flood:
            assert flood.stdout is not None
            assert flood.stdin is not None
            assert flood.stdout.readline() == b"held\n"
            flood.stdin.close()
        assert world.status()["ready"]
    bounded(seen)
