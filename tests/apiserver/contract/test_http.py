"""The API as client libraries use it: versions, watches, pages, conflicts, deletion."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network

import kubernetes
import pytest

from tests.apiserver.cluster import Remote, Server
from tests.apiserver.contract.http import (
    WATCH_SECONDS,
    Http,
    Json,
    config_map,
    connected,
    fresh,
    pod,
    service,
    take,
)

NAMESPACE = fresh("http")
CORE = f"/api/v1/namespaces/{NAMESPACE}"
MAPS, PODS, SERVICES = f"{CORE}/configmaps", f"{CORE}/pods", f"{CORE}/services"


@pytest.fixture
async def http(server: Server | Remote) -> AsyncIterator[Http]:
    async with connected(server.kubeconfig) as http:
        yield http


def names(listing: Json) -> list[str]:
    return [item["metadata"]["name"] for item in listing["items"]]


async def test_without_a_token_only_public_paths_answer(server: Server | Remote) -> None:
    async with connected(server.kubeconfig, anonymous=True) as http:
        # Who is nobody is unauthorized, or where anonymous users exist forbidden.
        for path, codes in (
            ("/healthz", {200}),
            ("/version", {200}),
            ("/api", {401, 403}),
            (PODS, {401, 403}),
        ):
            async with http.session.get(http.url + path) as response:
                assert response.status in codes, path
        bad = {"Authorization": "Bearer wrong"}
        async with http.session.get(http.url + "/healthz", headers=bad) as response:
            assert response.status == 401


@pytest.mark.embedded_only("the name of its first user")
async def test_a_token_says_who_is_calling(http: Http) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    who = await http("POST", path, {"spec": {}}, expect=201)
    assert who["status"]["userInfo"]["username"] == "admin"


async def test_a_stale_update_conflicts_and_an_equal_one_changes_nothing(http: Http) -> None:
    first = await http.create(MAPS, config_map("stale", a="1"))
    changed = first | {"data": {"a": "2"}}
    second = await http("PUT", f"{MAPS}/stale", changed)
    status = await http("PUT", f"{MAPS}/stale", changed | {"data": {"a": "3"}}, expect=409)
    assert (status["reason"], status["details"]["kind"]) == ("Conflict", "configmaps")
    same = await http("PUT", f"{MAPS}/stale", second)
    assert same["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    again = await http("POST", MAPS, config_map("stale"), expect=409)
    assert again["reason"] == "AlreadyExists"


async def test_generation_counts_changes_of_the_spec_only(http: Http) -> None:
    created = await http.create(PODS, pod("generation", "node-a"))
    path = f"{PODS}/generation"
    assert created["metadata"]["generation"] == 1
    assert created["status"]["phase"] == "Pending"
    merge = {"headers": {"Content-Type": "application/merge-patch+json"}}
    labelled = await http("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, **merge)
    assert labelled["metadata"]["generation"] == 1
    # A status write changes the status and nothing else, an ordinary one everything else.
    both = {"status": {"phase": "Running"}, "metadata": {"labels": {"a": "no"}}}
    running = await http("PATCH", f"{path}/status", both, **merge)
    assert running["status"]["phase"] == "Running"
    assert running["metadata"]["labels"] == {"a": "b"}
    kept = await http("PATCH", path, {"status": {"phase": "Failed"}}, **merge)
    assert kept["status"]["phase"] == "Running"
    longer = {"spec": {"activeDeadlineSeconds": 100}}
    assert (await http("PATCH", path, longer, **merge))["metadata"]["generation"] == 2


async def test_a_list_in_pages_shows_one_version(http: Http) -> None:
    for index in range(5):
        await http.create(MAPS, config_map(f"page-{index}") | {"kind": "ConfigMap"})
    first = await http("GET", f"{MAPS}?limit=2")
    assert first["metadata"]["remainingItemCount"] >= 3
    await http("DELETE", f"{MAPS}/page-4")
    await http.create(MAPS, config_map("page-5"))
    seen = names(first)
    token = first["metadata"]["continue"]
    while token:
        page = await http("GET", MAPS, params={"limit": "2", "continue": token})
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        seen += names(page)
        token = page["metadata"].get("continue", "")
    assert seen == sorted(seen)
    assert "page-4" in seen
    assert "page-5" not in seen
    exact = {"resourceVersion": first["metadata"]["resourceVersion"]}
    assert names(await http("GET", MAPS, params=exact | {"resourceVersionMatch": "Exact"})) == seen


async def test_a_watch_resumes_where_a_list_ended(http: Http) -> None:
    version = (await http("GET", MAPS))["metadata"]["resourceVersion"]
    created = await http.create(MAPS, config_map("resumed", a="1"))
    await http("PUT", f"{MAPS}/resumed", created | {"data": {"a": "2"}})
    await http("DELETE", f"{MAPS}/resumed")
    seen = await take(http.events(MAPS, resourceVersion=version), 3)
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in seen]
    assert versions == sorted(set(versions))
    middle = http.events(MAPS, resourceVersion=str(versions[1]))
    assert (await take(middle, 1))[0]["type"] == "DELETED"


async def test_a_selector_sees_objects_come_and_go_by_their_labels(http: Http) -> None:
    version = (await http("GET", MAPS))["metadata"]["resourceVersion"]
    created = await http.create(MAPS, config_map("moving"))
    labelled = {"metadata": created["metadata"] | {"labels": {"in": "yes"}}}
    inside = await http("PUT", f"{MAPS}/moving", created | labelled)
    inside["metadata"].pop("labels")
    await http("PUT", f"{MAPS}/moving", inside)
    events = http.events(MAPS, resourceVersion=version, labelSelector="in=yes")
    assert [event["type"] for event in await take(events, 2)] == ["ADDED", "DELETED"]


async def test_initial_events_end_with_a_bookmark(http: Http) -> None:
    await http.create(MAPS, config_map("initial"))
    events = http.events(
        MAPS,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
        fieldSelector="metadata.name=initial",
    )
    added, bookmark = await take(events, 2)
    assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= int(
        added["object"]["metadata"]["resourceVersion"]
    )


async def test_a_watch_ends_in_time(http: Http) -> None:
    version = (await http("GET", MAPS))["metadata"]["resourceVersion"]
    async with asyncio.timeout(WATCH_SECONDS):
        watch = http.events(MAPS, resourceVersion=version, timeoutSeconds="1")
        assert [event async for event in watch] == []


@pytest.mark.embedded_only("when bookmarks are sent is left to the server")
async def test_a_watch_ends_with_a_bookmark(http: Http) -> None:
    version = (await http("GET", MAPS))["metadata"]["resourceVersion"]
    asked = {"resourceVersion": version, "timeoutSeconds": "1", "allowWatchBookmarks": "1"}
    async with asyncio.timeout(WATCH_SECONDS):
        seen = [event async for event in http.events(MAPS, **asked)]
    assert [event["type"] for event in seen] == ["BOOKMARK"]


async def test_unknown_field_labels_and_bad_versions_are_refused(http: Http) -> None:
    await http("GET", f"{PODS}?fieldSelector=spec.nonsense%3Dx", expect=400)
    await http("GET", f"{PODS}?resourceVersion=abc", expect=400)
    future = await http("GET", f"{PODS}?resourceVersion=999999999999", expect=504)
    assert future["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_pod_on_a_node_goes_when_its_kubelet_says_so(http: Http) -> None:
    await http.create(PODS, pod("unscheduled"))
    await http("DELETE", f"{PODS}/unscheduled")
    await http("GET", f"{PODS}/unscheduled", expect=404)
    uid = (await http.create(PODS, pod("graceful", "node-a")))["metadata"]["uid"]
    path = f"{PODS}/graceful"
    marked = await http("DELETE", f"{path}?gracePeriodSeconds=20")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    # Only shortened, never prolonged.
    longer = await http("DELETE", f"{path}?gracePeriodSeconds=50")
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 20
    wrong = {"preconditions": {"uid": "other"}, "gracePeriodSeconds": 0}
    await http("DELETE", path, wrong, expect=409)
    await http("DELETE", path, {"preconditions": {"uid": uid}, "gracePeriodSeconds": 0})
    await http("GET", path, expect=404)


async def test_finalizers_hold_an_object_until_the_last_is_removed(http: Http) -> None:
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await http.create(MAPS, held)
    marked = await http("DELETE", f"{MAPS}/held?propagationPolicy=Foreground")
    assert marked["metadata"]["finalizers"] == ["example.com/hold", "foregroundDeletion"]
    assert "deletionTimestamp" in marked["metadata"]
    marked["metadata"]["finalizers"] = []
    # Whatever version it has by then: a garbage collector may have been here.
    del marked["metadata"]["resourceVersion"]
    await http("PUT", f"{MAPS}/held", marked)
    await http("GET", f"{MAPS}/held", expect=404)


async def test_delete_collection_takes_what_the_selector_matches(http: Http) -> None:
    for name, label in (("take-1", "x"), ("take-2", "x"), ("keep", "y")):
        body = config_map(name)
        body["metadata"]["labels"] = {"batch": label}
        await http.create(MAPS, body)
    await http("DELETE", f"{MAPS}?labelSelector=batch%3Dx")
    assert names(await http("GET", f"{MAPS}?labelSelector=batch")) == ["keep"]


async def test_binding_puts_a_pod_on_a_node_once(http: Http) -> None:
    await http.create(PODS, pod("bound"))
    binding = {"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "node-b"}}
    await http("POST", f"{PODS}/bound/binding", binding, expect=201)
    await http("POST", f"{PODS}/bound/binding", binding, expect=409)
    assert names(await http("GET", f"{PODS}?fieldSelector=spec.nodeName%3Dnode-b")) == ["bound"]
    found = await http("GET", f"{PODS}/bound")
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    await http("POST", f"{PODS}/bound/eviction", {"metadata": {"name": "bound"}}, expect=201)
    assert "deletionTimestamp" in (await http("GET", f"{PODS}/bound"))["metadata"]


async def test_an_object_needs_its_namespace_and_a_name(http: Http) -> None:
    status = await http("POST", "/api/v1/namespaces/none/pods", pod("x"), expect=404)
    assert status["message"] == 'namespaces "none" not found'
    await http("POST", MAPS, {"metadata": {}}, expect=422)
    made = await http.create(MAPS, {"metadata": {"generateName": "made-"}})
    assert made["metadata"]["name"].startswith("made-")
    assert len(made["metadata"]["name"]) == len("made-") + 5


async def service_ranges(http: Http) -> list[str]:
    """The ranges of Services, first that of the primary family."""
    path = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes"
    ranges: list[str] = (await http("GET", path))["spec"]["cidrs"]
    return ranges


async def test_services_get_addresses_and_ports_that_nobody_has(http: Http) -> None:
    ranges = await service_ranges(http)
    dual = await http.create(
        SERVICES, service("dual", ipFamilyPolicy="PreferDualStack", type="NodePort")
    )
    spec = dual["spec"]
    assert spec["ipFamilies"] == [f"IPv{ip_network(each).version}" for each in ranges]
    for address, prefix in zip(spec["clusterIPs"], ranges, strict=True):
        assert ip_address(address) in ip_network(prefix)
    taken = spec["ports"][0]["nodePort"]
    assert 30000 <= taken <= 32767
    twin = service("twin", clusterIP=spec["clusterIP"])
    assert "already allocated" in (await http("POST", SERVICES, twin, expect=422))["message"]
    ports = [{"port": 80, "nodePort": taken}]
    status = await http("POST", SERVICES, service("twin", type="NodePort", ports=ports), expect=422)
    assert status["details"]["causes"][0]["field"] == "spec.ports[0].nodePort"
    outside = await http("POST", SERVICES, service("twin", clusterIP="192.0.2.1"), expect=422)
    assert "not in the valid range" in outside["message"]
    await http("DELETE", f"{SERVICES}/dual")
    assert (await http.create(SERVICES, twin))["spec"]["clusterIPs"] == [spec["clusterIP"]]
    headless = await http.create(SERVICES, service("headless", clusterIP="None"))
    assert headless["spec"]["clusterIPs"] == ["None"]


@pytest.mark.embedded_only("kube-apiserver ignores fields of protobuf that it does not know")
async def test_protobuf_that_cannot_be_read_whole_is_refused(http: Http) -> None:
    # runtime.Unknown: typeMeta {v1, ConfigMap}, raw = field 9 of ConfigMap, which there is not.
    body = b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x03\x4a\x01x"
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    async with http.session.post(http.url + MAPS, data=body, headers=headers) as response:
        assert response.status == 400
        assert "field 9 of core.v1.ConfigMap" in (await response.json())["message"]


def test_the_python_client_works(server: Server | Remote) -> None:
    with kubernetes.config.new_client_from_config(str(server.kubeconfig)) as client:
        core = kubernetes.client.CoreV1Api(client)
        made = core.create_namespaced_pod(NAMESPACE, pod("python", "node-a"))
        assert made.status.phase == "Pending"
        watch = kubernetes.watch.Watch()
        seen = []
        for event in watch.stream(core.list_namespaced_pod, NAMESPACE, timeout_seconds=1):
            seen.append(event["object"].metadata.name)
            if "python" in seen:
                watch.stop()
        assert "python" in seen
        with pytest.raises(kubernetes.client.ApiException) as missing:
            core.read_namespaced_pod("none", NAMESPACE)
        assert missing.value.status == 404
        core.delete_namespaced_pod("python", NAMESPACE, grace_period_seconds=0)
        client.rest_client.pool_manager.clear()
