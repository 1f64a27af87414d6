"""Scheduler and controllers as one process, against the embedded API, with a kubelet of our own."""

import asyncio
import contextlib
import datetime as dt
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.errors import ApiError
from steppe.client.informer import Replaced, Upserted, watch
from steppe.client.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from steppe_lab.controllers.objects import Pod
from tests.apiserver.cluster import Kubectl, Server

NODE_COUNT = 3
SECONDS = 30  # for machines that are busy with other things


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("controllers"))
    running.start()
    log = running.data / "controllers.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "steppe_lab.controllers", "--kubeconfig"]
        controllers = subprocess.Popen(
            [*command, str(running.kubeconfig)], stdout=output, stderr=output
        )
    try:
        yield running
        controllers.send_signal(signal.SIGTERM)
        assert controllers.wait(10) == 0
    finally:
        controllers.kill()
        controllers.wait()
        running.stop()
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(load_config(str(server.kubeconfig)), "test") as connected:
        for number in range(NODE_COUNT):
            await ready_node(connected, f"node-{number}")
        async with asyncio.TaskGroup() as group:
            kubelet = group.create_task(run_kubelet(connected))
            yield connected
            kubelet.cancel()


@pytest.fixture
async def namespace(client: Client, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    with contextlib.suppress(ApiError):
        await client.delete(NAMESPACES, name)


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def ready_node(client: Client, name: str) -> None:
    with contextlib.suppress(ApiError):
        await client.create(NODES, {"metadata": {"name": name}})
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now()}
    await client.patch(NODES, name, {"status": {"conditions": [ready]}}, subresource="status")


async def run_kubelet(client: Client) -> None:
    """Pods become ready at once, and end at once, except those whose image is "broken"."""
    async with contextlib.aclosing(watch(client, PODS, Pod)) as events:
        async for event in events:
            match event:
                case Replaced(items):
                    for item in items:
                        await kubelet_sees(client, item)
                case Upserted(item):
                    await kubelet_sees(client, item)


async def kubelet_sees(client: Client, pod: Pod) -> None:
    meta = pod.metadata
    if not pod.spec.node_name:
        return
    with contextlib.suppress(ApiError):
        if meta.deletion_timestamp:
            await client.delete(PODS, meta.name, meta.namespace, grace_period=0, uid=meta.uid)
        elif pod.status.phase != "Running":
            number = int(meta.resource_version)
            ip4, ip6 = f"10.9.{number >> 8 & 255}.{number & 255}", f"fd00::{number:x}"
            broken = "broken" in meta.labels
            status = {
                "phase": "Running",
                "podIP": ip4,
                "podIPs": [{"ip": ip4}, {"ip": ip6}],
                "conditions": [
                    {"type": "Ready", "status": str(not broken), "lastTransitionTime": now()}
                ],
            }
            patch = {"status": status}
            await client.patch(PODS, meta.name, patch, meta.namespace, subresource="status")


async def eventually(
    condition: Callable[[], Awaitable[object]], what: str = "condition", seconds: float = SECONDS
) -> Any:
    """What the condition answers, once that is true."""
    try:
        async with asyncio.timeout(seconds):
            while not (answer := await condition()):
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"{what} did not come true in {seconds} s")
    return answer


def workload(name: str, replicas: int = 3, image: str = "one", **spec: Any) -> dict[str, Any]:
    labels = {"app": name} | spec.pop("labels", {})
    pod = {"containers": [{"name": "c", "image": image}]} | spec.pop("pod", {})
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        | spec,
    }


async def living(client: Client, namespace: str) -> list[dict[str, Any]]:
    pods, _ = await client.list(PODS, namespace)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


async def reaches(
    client: Client, resource: Resource, name: str, namespace: str, **status: object
) -> None:
    async def same() -> bool:
        item = await client.get(resource, name, namespace)
        seen = item.get("status", {})
        generation = seen.get("observedGeneration") == item["metadata"]["generation"]
        return generation and all(seen.get(key) == value for key, value in status.items())

    await eventually(same, f"{resource.kind} {name} with {status}")


async def test_a_deployment_spreads_rolls_undoes_and_goes(
    client: Client, namespace: str, server: Server
) -> None:
    kubectl = Kubectl(server)
    done = {"availableReplicas": 6, "updatedReplicas": 6, "replicas": 6}
    await client.create(DEPLOYMENTS, workload("web", 6), namespace)
    await reaches(client, DEPLOYMENTS, "web", namespace, **done)
    nodes = [pod["spec"]["nodeName"] for pod in await living(client, namespace)]
    assert sorted(nodes.count(name) for name in set(nodes)) == [2, 2, 2]

    await client.patch(
        DEPLOYMENTS, "web", {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}, namespace
    )
    await reaches(client, DEPLOYMENTS, "web", namespace, **done)
    assert {pod["metadata"]["labels"].get("v") for pod in await living(client, namespace)} == {"2"}

    arguments = ("-n", namespace, "deployment/web", f"--timeout={SECONDS}s")
    await asyncio.to_thread(kubectl, "rollout", "undo", *arguments[:3])
    await asyncio.to_thread(kubectl, "rollout", "status", *arguments)
    await asyncio.to_thread(kubectl, "wait", "--for=condition=Available", *arguments)
    await reaches(client, DEPLOYMENTS, "web", namespace, **done)
    assert {pod["metadata"]["labels"].get("v") for pod in await living(client, namespace)} == {None}
    sets, _ = await client.list(REPLICASETS, namespace)
    revisions = {rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for rs in sets}
    assert revisions == {"2", "3"}

    await client.delete(DEPLOYMENTS, "web", namespace)

    async def gone() -> bool:
        return not (await client.list(PODS, namespace))[0]

    await eventually(gone, "the end of all pods")
    assert (await client.list(REPLICASETS, namespace))[0] == []


async def test_a_broken_rollout_keeps_the_old_pods_and_can_be_mended(
    client: Client, namespace: str
) -> None:
    await client.create(DEPLOYMENTS, workload("web", 4), namespace)
    await reaches(client, DEPLOYMENTS, "web", namespace, availableReplicas=4)
    broken = {"spec": {"template": {"metadata": {"labels": {"broken": "yes"}}}}}
    await client.patch(DEPLOYMENTS, "web", broken, namespace)
    # maxSurge and maxUnavailable are 25 %: one more, and one fewer
    await reaches(
        client, DEPLOYMENTS, "web", namespace, replicas=5, availableReplicas=3, updatedReplicas=2
    )
    mended = {"spec": {"template": {"metadata": {"labels": {"broken": None}}}}}
    await client.patch(DEPLOYMENTS, "web", mended, namespace)
    await reaches(
        client, DEPLOYMENTS, "web", namespace, replicas=4, availableReplicas=4, updatedReplicas=4
    )


async def test_recreate_ends_all_old_pods_first(client: Client, namespace: str) -> None:
    await client.create(DEPLOYMENTS, workload("web", 3, strategy={"type": "Recreate"}), namespace)
    await reaches(client, DEPLOYMENTS, "web", namespace, availableReplicas=3)
    mixed = []

    async def look() -> bool:
        pods, _ = await client.list(PODS, namespace)
        versions = {pod["metadata"]["labels"].get("v") for pod in pods}
        mixed.append(len(versions) > 1)
        return versions == {"2"} and len(pods) == 3

    change = {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}
    await client.patch(DEPLOYMENTS, "web", change, namespace)
    await eventually(look, "three new pods")
    assert not any(mixed)


async def test_a_pod_nobody_takes_says_why_and_goes_when_a_node_changes(
    client: Client, namespace: str
) -> None:
    pod = {
        "metadata": {"name": "picky"},
        "spec": {
            "nodeSelector": {"special": "yes"},
            "containers": [{"name": "c", "image": "x"}],
        },
    }
    await client.create(PODS, pod, namespace)
    why = f"0/{NODE_COUNT} nodes are available: {NODE_COUNT} node(s) didn't match Pod's node"

    async def told() -> object:
        events, _ = await client.list(EVENTS, namespace)
        return [e for e in events if e["reason"] == "FailedScheduling" and why in e["message"]]

    await eventually(told, "an Event that says why")
    conditions = (await client.get(PODS, "picky", namespace))["status"]["conditions"]
    (scheduled,) = [c for c in conditions if c["type"] == "PodScheduled"]
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    await client.patch(NODES, "node-1", {"metadata": {"labels": {"special": "yes"}}})

    async def placed() -> object:
        return (await client.get(PODS, "picky", namespace))["spec"].get("nodeName")

    assert await eventually(placed, "a node") == "node-1"
    await client.patch(NODES, "node-1", {"metadata": {"labels": {"special": None}}})


async def test_cordoned_nodes_get_no_pods(client: Client, namespace: str) -> None:
    await client.patch(NODES, "node-0", {"spec": {"unschedulable": True}})
    try:
        await client.create(DEPLOYMENTS, workload("web", 4), namespace)
        await reaches(client, DEPLOYMENTS, "web", namespace, availableReplicas=4)
        nodes = {pod["spec"]["nodeName"] for pod in await living(client, namespace)}
        assert nodes == {"node-1", "node-2"}
        taints = (await client.get(NODES, "node-0"))["spec"]["taints"]
        assert [t["key"] for t in taints] == ["node.kubernetes.io/unschedulable"]
    finally:
        await client.patch(NODES, "node-0", {"spec": {"unschedulable": None}})


async def test_slices_of_both_families_follow_the_pods(client: Client, namespace: str) -> None:
    spec = {
        "selector": {"app": "web"},
        "ipFamilyPolicy": "RequireDualStack",
        "ports": [{"port": 80, "targetPort": 8080}],
    }
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": spec}, namespace)
    await client.create(DEPLOYMENTS, workload("web", 3), namespace)

    async def addresses() -> dict[str, set[str]]:
        slices, _ = await client.list(
            ENDPOINTSLICES, namespace, label_selector="kubernetes.io/service-name=web"
        )
        return {
            s["addressType"]: {
                e["addresses"][0] for e in s.get("endpoints") or () if e["conditions"]["ready"]
            }
            for s in slices
        }

    async def agree() -> bool:
        pods = await living(client, namespace)
        ips = [[ip["ip"] for ip in p["status"].get("podIPs", ())] for p in pods]
        expected = {"IPv4": {i[0] for i in ips if i}, "IPv6": {i[1] for i in ips if i}}
        return len(ips) == wanted and all(ips) and await addresses() == expected

    wanted = 3
    await eventually(agree, "slices of three pods")
    wanted = 1
    await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, namespace)
    await eventually(agree, "slices of one pod")
    await client.delete(SERVICES, "web", namespace)

    async def none() -> bool:
        return await addresses() == {}

    await eventually(none, "the end of the slices")


async def test_daemons_run_everywhere_and_members_have_names(
    client: Client, namespace: str
) -> None:
    daemons, members = workload("ds"), workload("db", 2, serviceName="db")
    del daemons["spec"]["replicas"]
    await client.create(DAEMONSETS, daemons, namespace)
    await client.create(STATEFULSETS, members, namespace)
    await reaches(client, DAEMONSETS, "ds", namespace, numberAvailable=NODE_COUNT)
    await reaches(client, STATEFULSETS, "db", namespace, readyReplicas=2)
    pods = await living(client, namespace)
    on = [p["spec"]["nodeName"] for p in pods if p["metadata"]["labels"]["app"] == "ds"]
    assert sorted(on) == ["node-0", "node-1", "node-2"]
    names = {p["metadata"]["name"] for p in pods if p["metadata"]["labels"]["app"] == "db"}
    assert names == {"db-0", "db-1"}


async def test_a_namespace_goes_with_all_that_is_in_it(client: Client, namespace: str) -> None:
    await client.create(DEPLOYMENTS, workload("web", 5), namespace)
    await reaches(client, DEPLOYMENTS, "web", namespace, availableReplicas=5)
    await client.delete(NAMESPACES, namespace)

    async def gone() -> bool:
        try:
            await client.get(NAMESPACES, namespace)
        except ApiError as error:
            return error.not_found
        return False

    await eventually(gone, "the end of the namespace")
    assert (await client.list(PODS, namespace))[0] == []


@pytest.mark.parametrize("propagation", ["Foreground", "Orphan"])
async def test_how_dependents_go(client: Client, namespace: str, propagation: str) -> None:
    await client.create(REPLICASETS, workload("rs", 2), namespace)
    await reaches(client, REPLICASETS, "rs", namespace, availableReplicas=2)
    await client.delete(REPLICASETS, "rs", namespace, propagation=propagation)

    async def gone() -> bool:
        return not (await client.list(REPLICASETS, namespace))[0]

    await eventually(gone, "the end of the ReplicaSet")
    pods, _ = await client.list(PODS, namespace)
    if propagation == "Foreground":
        assert pods == []
    else:
        assert [p["metadata"].get("ownerReferences", []) for p in pods] == [[], []]


async def test_a_deleted_nodes_pods_go_and_come_back_elsewhere(
    client: Client, namespace: str
) -> None:
    await ready_node(client, "doomed")
    try:
        await client.create(DEPLOYMENTS, workload("web", 4), namespace)
        await reaches(client, DEPLOYMENTS, "web", namespace, availableReplicas=4)
        nodes = {pod["spec"]["nodeName"] for pod in await living(client, namespace)}
        assert "doomed" in nodes
    finally:
        await client.delete(NODES, "doomed")

    async def moved() -> bool:
        pods = await living(client, namespace)
        return len(pods) == 4 and all(p["spec"].get("nodeName", "-")[:5] == "node-" for p in pods)

    await eventually(moved, "four pods on nodes that are there")


async def test_endpoints_that_somebody_wrote_are_mirrored(client: Client, namespace: str) -> None:
    port = {"name": "pg", "port": 5433, "protocol": "TCP"}
    subset = {"addresses": [{"ip": "198.51.100.10"}, {"ip": "2001:db8::10"}], "ports": [port]}
    body = {"metadata": {"name": "db"}, "subsets": [subset]}
    await client.create(ENDPOINTS, body, namespace)
    service = {"metadata": {"name": "db"}, "spec": {"ports": [{"name": "pg", "port": 5432}]}}
    await client.create(SERVICES, service, namespace)

    async def mirrored() -> dict[str, set[str]]:
        label = "kubernetes.io/service-name=db"
        slices, _ = await client.list(ENDPOINTSLICES, namespace, label_selector=label)
        return {
            s["addressType"]: {a for e in s["endpoints"] for a in e["addresses"]}
            for s in slices
            if [p["port"] for p in s.get("ports") or ()] == [5433]
        }

    async def both() -> bool:
        return await mirrored() == {"IPv4": {"198.51.100.10"}, "IPv6": {"2001:db8::10"}}

    async def changed() -> bool:
        return await mirrored() == {"IPv4": {"198.51.100.11"}}

    async def only_six() -> bool:
        return await mirrored() == {"IPv6": {"2001:db8::11"}}

    async def of_node_b() -> bool:
        slices, _ = await client.list(ENDPOINTSLICES, namespace)
        return [e.get("nodeName") for s in slices for e in s["endpoints"]] == ["node-b"]

    async def gone() -> bool:
        return not await mirrored()

    await eventually(both, "slices of both families")
    subset["addresses"] = [{"ip": "198.51.100.11"}]
    await client.patch(ENDPOINTS, "db", {"subsets": [subset]}, namespace)
    await eventually(changed, "the new address alone")
    subset["addresses"] = [{"ip": "2001:db8::11"}]
    await client.patch(ENDPOINTS, "db", {"subsets": [subset]}, namespace)
    await eventually(only_six, "the other family in place of the first")
    subset["addresses"] = [{"ip": "2001:db8::11", "nodeName": "node-b"}]
    await client.patch(ENDPOINTS, "db", {"subsets": [subset]}, namespace)
    await eventually(of_node_b, "the node that the address is on")
    await client.patch(SERVICES, "db", {"spec": {"selector": {"app": "db"}}}, namespace)
    await eventually(gone, "no slice once the Service selects pods")
