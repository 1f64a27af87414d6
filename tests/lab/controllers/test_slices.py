from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.kube.services import HEADLESS_LABEL, SERVICE_NAME_LABEL
from steppe.manifests.mirrored import MANAGED_BY
from steppe_lab.controllers.objects import EndpointSlice, Pod
from steppe_lab.controllers.slices import slice_plan
from tests.lab.controllers.objects import addresses, named, pod, service

HTTP = [{"name": "http", "port": 80, "targetPort": "web"}]


def zone(name: str) -> str:
    return {"node-a": "zone-1"}.get(name, "")


def backend(name: str, ip: str = "10.0.0.1", **fields: Any) -> Pod:
    ports = [{"name": "web", "containerPort": fields.pop("port", 8080)}]
    spec = {"containers": [{"ports": ports}]} | fields.pop("spec", {})
    return pod(name, ips=(ip, "fd00::1"), spec=spec, **({"ready": True} | fields))


@pytest.mark.parametrize(
    ("fields", "spec", "conditions"),
    [
        ({}, {}, (True, True, False)),
        ({"ready": False}, {}, (False, False, False)),
        ({"deletionTimestamp": "now"}, {}, (False, True, True)),
        ({"ready": False, "deletionTimestamp": "now"}, {}, (False, False, True)),
        ({"ready": False}, {"publishNotReadyAddresses": True}, (True, False, False)),
    ],
)
def test_conditions(
    fields: dict[str, Any], spec: dict[str, Any], conditions: tuple[bool, bool, bool]
) -> None:
    (made,) = slice_plan(service(**spec), [backend("p", **fields)], [], zone).create
    (endpoint,) = made.endpoints
    assert msgspec.structs.astuple(endpoint.conditions) == conditions


def test_an_endpoint_says_where_it_is_and_who() -> None:
    spec = {"hostname": "db-0", "subdomain": "svc"}
    pods = [backend("db-0", node="node-a", spec=spec)]
    (made,) = slice_plan(service(clusterIP="None", ports=HTTP), pods, [], zone).create
    (endpoint,) = made.endpoints
    assert (endpoint.node_name, endpoint.zone, endpoint.hostname) == ("node-a", "zone-1", "db-0")
    assert endpoint.target_ref is not None
    assert endpoint.target_ref.uid == "uid-db-0"
    assert made.metadata.labels == {
        SERVICE_NAME_LABEL: "svc",
        MANAGED_BY: "endpointslice-controller.k8s.io",
        HEADLESS_LABEL: "",
    }


def test_each_family_has_its_own_slices() -> None:
    plan = slice_plan(service(ipFamilies=["IPv6", "IPv4"]), [backend("p")], [], zone)
    assert {(s.address_type, *addresses(s.endpoints)) for s in plan.create} == {
        ("IPv4", "10.0.0.1"),
        ("IPv6", "fd00::1"),
    }


@pytest.mark.parametrize(
    "absent",
    [{"phase": "Failed"}, {"phase": "Succeeded"}, {"ip": "nonsense"}, {"ip": ""}],
)
def test_pods_that_cannot_be_reached_are_no_endpoints(absent: dict[str, Any]) -> None:
    (made,) = slice_plan(service(), [backend("p", **absent)], [], zone).create
    assert made.endpoints == ()


@pytest.mark.parametrize(
    ("target", "port"),
    [("web", 8080), (9000, 9000), ("9000", 9000), (None, 80), ("unknown", None)],
)
def test_target_ports(target: int | str | None, port: int | None) -> None:
    ports = [{"name": "http", "port": 80} | ({"targetPort": target} if target else {})]
    (made,) = slice_plan(service(ports=ports), [backend("p")], [], zone).create
    assert [p.port for p in made.ports] == ([port] if port else [])


@pytest.mark.parametrize(("policy", "port"), [("Always", 9000), ("", None)])
def test_a_named_port_may_be_a_sidecars(policy: str, port: int | None) -> None:
    offered = {"name": "mesh", "containerPort": 9000}
    init = {"name": "proxy", "ports": [offered], "restartPolicy": policy}
    pods = [backend("p", spec={"initContainers": [init]})]
    ports = [{"name": "http", "port": 80, "targetPort": "mesh"}]
    (made,) = slice_plan(service(ports=ports), pods, [], zone).create
    assert [p.port for p in made.ports] == ([port] if port else [])


def test_a_named_port_with_two_numbers_makes_two_slices() -> None:
    pods = [backend("old", port=8080), backend("new", "10.0.0.2", port=9090)]
    plan = slice_plan(service(ports=HTTP), pods, [], zone)
    assert {(s.ports[0].port, *addresses(s.endpoints)) for s in plan.create} == {
        (8080, "10.0.0.1"),
        (9090, "10.0.0.2"),
    }


def many(count: int) -> list[Pod]:
    return [backend(f"p{n:04}", f"10.0.{n // 250}.{n % 250 + 1}") for n in range(count)]


def applied(existing: list[EndpointSlice], plan: Any) -> list[EndpointSlice]:
    gone = {s.metadata.name for s in plan.delete}
    changed = {s.metadata.name: s for s in plan.update}
    kept = [changed.get(s.metadata.name, s) for s in existing if s.metadata.name not in gone]
    offset = len(existing) + 1000
    fresh = [
        msgspec.structs.replace(
            s, metadata=msgspec.structs.replace(s.metadata, name=f"slice-{offset + i}")
        )
        for i, s in enumerate(plan.create)
    ]
    return kept + fresh


def test_a_slice_holds_at_most_a_hundred_and_one_pod_changes_one_slice() -> None:
    pods = many(250)
    existing = named(slice_plan(service(), pods, [], zone).create)
    assert sorted(len(s.endpoints) for s in existing) == [50, 100, 100]
    gone = slice_plan(service(), pods[:10] + pods[11:], existing, zone)
    assert (len(gone.create), len(gone.update), len(gone.delete)) == (0, 1, 0)
    come = slice_plan(service(), many(251), existing, zone)
    assert (len(come.create), len(come.update), len(come.delete)) == (0, 1, 0)


def test_when_the_last_pod_goes_an_empty_slice_stays() -> None:
    existing = named(slice_plan(service(ports=HTTP), [backend("p")], [], zone).create)
    left = applied(existing, slice_plan(service(ports=HTTP), [], existing, zone))
    assert [s.endpoints for s in left] == [()]
    again = slice_plan(service(ports=HTTP), [], left, zone)
    assert (again.create, again.update, again.delete) == ((), (), ())


@given(st.lists(st.sets(st.integers(0, 320), max_size=320), max_size=4))
def test_any_history_ends_with_every_pod_in_one_slice_and_nothing_to_do(
    history: list[set[int]],
) -> None:
    everyone = many(321)
    held: list[EndpointSlice] = []
    for present in history:
        pods = [everyone[n] for n in sorted(present)]
        held = applied(held, slice_plan(service(ports=HTTP), pods, held, zone))
        found = [address for s in held for address in addresses(s.endpoints)]
        assert sorted(found) == sorted(p.status.pod_ips[0].ip for p in pods)
        assert all(len(s.endpoints) <= 100 for s in held)
        again = slice_plan(service(ports=HTTP), pods, held, zone)
        assert (again.create, again.update, again.delete) == ((), (), ())
