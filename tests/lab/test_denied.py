"""What people see of policies in a lab: their faults, what they deny, and the kind that comes late.

The kind ClusterNetworkPolicy is taken away and brought back in one of these tests.
"""

import contextlib
import json
import queue
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from steppe.client.resources import NETWORKPOLICIES, PODS
from steppe_lab.manifests import DEFINITIONS
from tests.lab.conftest import STEPPE, Lab, make_labs
from tests.lab.service_lab import SILENT, Json, Target, World, pod, pods
from tests.waiting import patience, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

CLOSED = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed"},
    "spec": {"podSelector": {"matchLabels": {"role": "echo"}}},
}
OPEN = CLOSED | {
    "metadata": {"name": "open"},
    "spec": {"podSelector": {"matchLabels": {"role": "echo"}}, "ingress": [{}]},
}
SUBJECT = {"namespaces": {}}


def cluster_policy(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "policy.networking.k8s.io/v1beta1",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": "Admin", "priority": 1, "subject": SUBJECT, **spec},
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[World]:
    with make_labs(tmp_path_factory.mktemp("denied")) as make:
        yield World(make("denied", "--nodes", "2", pods=pods()))


@pytest.fixture
def apply(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Json], None]]:
    """`kubectl apply -f`, undone at the end."""
    file = tmp_path_factory.mktemp("manifest") / "manifest.yaml"

    def applied(manifest: Json) -> None:
        file.write_text(yaml.safe_dump(manifest))
        assert world.lab.kubectl("apply", "-f", str(file))

    yield applied
    world.lab.kubectl("delete", "--ignore-not-found", "-f", str(file))


@contextlib.contextmanager
def followed(lab: Lab) -> Iterator["queue.SimpleQueue[Json]"]:
    """What `steppe denied --follow` prints while the context lasts; it ends well on Ctrl-C."""
    # Whoever runs the tests in the background may have them ignore Ctrl-C, and children inherit it.
    argv = [
        "env",
        "--default-signal=INT",
        *STEPPE,
        "denied",
        "--follow",
        "-o",
        "json",
        "--lab",
        lab.name,
    ]
    told: queue.SimpleQueue[Json] = queue.SimpleQueue()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        lines = process.stdout
        assert lines is not None
        reader = threading.Thread(target=lambda: [told.put(json.loads(line)) for line in lines])
        reader.start()
        try:
            yield told
        finally:
            process.send_signal(signal.SIGINT)
            reader.join(patience(10))
            process.kill()  # it has ended by now, or it never will
    assert process.returncode == 0


def metrics() -> str:
    with urllib.request.urlopen("http://127.0.0.1:9465/metrics", timeout=patience(5)) as answer:
        return str(answer.read().decode())


def rows(lab: Lab) -> list[Json]:
    done = lab.command("denied", "-o", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "steppe.denied/v1"
    return [row for node in document["nodes"] for row in node["rows"]]


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_denied_packet_is_told_with_its_pods_and_policies(
    world: World, apply: Callable[[Json], None], family: int
) -> None:
    apply(CLOSED)
    target = Target(world.addresses["echo-a"][family], 7, "UDP")
    found: list[Json] = []
    with followed(world.lab) as told:

        def one() -> bool:
            world.ask("client-b", target, 0.1)
            with contextlib.suppress(queue.Empty):
                found.append(told.get_nowait())
            return bool(found)

        until(one, 20, "a denied packet is told")
    packet = found[0]
    del packet["time"]
    assert packet == {
        "schema": "steppe.denied/v1",
        "node": "node-a",
        "direction": "ingress",
        "source": {"address": world.addresses["client-b"][family], "name": "default/client-b"},
        "destination": {"address": target.address, "name": "default/echo-a"},
        "protocol": "UDP",
        "port": 7,
        "policies": ["NetworkPolicy/default/closed"],
    }
    (row,) = [row for row in rows(world.lab) if row["pod"] == "default/echo-a"]
    assert row["packets"] > 0
    assert (row["direction"], row["policies"]) == ("ingress", ["NetworkPolicy/default/closed"])
    assert "default/echo-a" in world.lab.command("denied", "--node", "node-a").stdout
    labels = '{direction="ingress",policy="NetworkPolicy/default/closed"}'
    assert f"steppe_denied_packets_total{labels}" in world.inside("node-a", metrics)


def answers(world: World) -> dict[str, set[str]]:
    """What each client gets from echo-a in both families, one by TCP and one by UDP."""
    return {
        client: {
            world.ask(client, Target(address, 7, protocol), 0.2)
            for address in world.addresses["echo-a"]
        }
        for client, protocol in (("client-a", "TCP"), ("client-b", "UDP"))
    }


def test_cluster_policies_are_obeyed_in_their_order(
    world: World, apply: Callable[[Json], None]
) -> None:
    """Admin before NetworkPolicies before Baseline."""
    echo = {"pods": {"podSelector": {"matchLabels": {"role": "echo"}}}}
    anyone, reached = [{"namespaces": {}}], {"echo-a sees the client"}

    def tier(tier: str, action: str) -> Json:
        rules = [{"action": action, "from": anyone}]
        return cluster_policy("tiers", tier=tier, subject=echo, ingress=rules)

    def expect(outcome: set[str]) -> None:
        wanted = dict.fromkeys(("client-a", "client-b"), outcome)
        until(lambda: answers(world) == wanted, 20, f"everybody meets {outcome}")

    expect(reached)
    apply(tier("Admin", "Deny"))
    expect({SILENT})
    assert {tuple(row["policies"]) for row in rows(world.lab) if row["pod"].endswith("echo-a")} == {
        ("ClusterNetworkPolicy/tiers",)
    }
    apply(tier("Baseline", "Deny"))
    expect({SILENT})
    world.api(lambda client: client.create(NETWORKPOLICIES, OPEN, "default"))
    expect(reached)
    world.delete(NETWORKPOLICIES, "open")
    expect({SILENT})
    apply(tier("Baseline", "Accept"))
    expect(reached)


def test_what_is_wrong_with_a_policy_stands_on_it(
    world: World, apply: Callable[[Json], None]
) -> None:
    to = [{"domainNames": ["*.example.org"]}]
    nobody = {"namespaces": {"matchLabels": {"no": "body"}}}
    apply(cluster_policy("odd", subject=nobody, egress=[{"action": "Accept", "to": to}]))
    fault = "spec.egress[0].to[0]: domainNames are not supported"
    until(
        lambda: fault in world.lab.kubectl("describe", "cnp", "odd"),
        20,
        "kubectl describe shows what is wrong",
    )
    status = world.lab.command("status")
    assert status.returncode == 1
    assert f"ClusterNetworkPolicy/odd {fault}" in status.stdout


def test_without_cluster_policies_all_is_well_and_they_may_come_late(
    world: World, apply: Callable[[Json], None]
) -> None:
    lab = world.lab
    for definition in DEFINITIONS:
        lab.kubectl("delete", "-f", str(definition))
    assert lab.steppe("restart", "agent/node-a").returncode == 0
    until(lambda: lab.command("status").returncode == 0, 20, "the agent is ready")
    late = pod("late", "node-a", {"name": "pause", "image": "pause"})
    world.api(lambda client: client.create(PODS, late, "default"))
    assert "condition met" in lab.kubectl("wait", "--for=condition=Ready", "pod/late")
    world.delete(PODS, "late")
    for definition in DEFINITIONS:
        lab.kubectl("apply", "-f", str(definition))
    to = [{"domainNames": ["*.example.org"]}]
    apply(cluster_policy("odd", egress=[{"action": "Accept", "to": to}]))
    until(lambda: "domainNames" in lab.command("status").stdout, 30, "the policy is read")
