"""Which of a cluster's Problems one agent tells as Events, and on what."""

import logging
from ipaddress import ip_network
from time import process_time
from typing import Any

import msgspec
import pytest
from aiohttp import web

from steppe.agent.feeds.feeds import Feeds
from steppe.agent.health.proxy_health import ProxyHealth
from steppe.agent.node.underlay import UnderlayView
from steppe.agent.publish import Publisher
from steppe.agent.tellers import Tellers
from steppe.client.client import Client
from steppe.client.errors import ApiError, UnreachableError
from steppe.client.events import EventRecorder
from steppe.client.informer import Refused, Replaced
from steppe.client.resources import EVENTS, NETWORKPOLICIES
from steppe.client.resources import NODES as NODE_RESOURCE
from steppe.compile.incremental import NodeCompiler
from steppe.kube import policy_wire, wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import DEFAULT_UNDERLAY, Node
from steppe.kube.prefixes import pod_cidrs
from steppe.settings import SETTINGS_ANNOTATION, Settings, settings_from
from tests.client.fake_api import FakeApi, fake_api, status

NODES = ("node-a", "node-b", "node-c")
TELLERS = Tellers(NODES)
NODES_PATH = NODE_RESOURCE.path()
DEFAULTS = Settings()
NAMES = tuple(f"p{number}" for number in range(12))
SPEC: dict[str, Any] = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "?"}}]}]}


class Told:
    """Policies with a fault each, as an agent tells of them."""

    def __init__(self, client: Client, node: str, settings: Settings = DEFAULTS) -> None:
        compiler = self.compiler = NodeCompiler(settings, node)
        for number, name in enumerate(NODES, 1):
            prefix = ip_network(f"10.244.{number}.0/24")
            compiler.set_node(Node(name, prefixes=pod_cidrs(name, [prefix])))
        health = ProxyHealth(node, None, busy=lambda: 0.0, leaving=lambda: False)
        self.feeds = Feeds(client, compiler, DEFAULT_UNDERLAY, health)
        self.events = EventRecorder(client, "steppe-agent", node)
        self.underlay = UnderlayView(node, None, tuple)
        self.underlay.known = True
        self.publisher = Publisher(client, compiler, self.feeds, self.events, self.underlay)

    def see(self, *names: str) -> None:
        documents = ({"metadata": {"name": n, "namespace": "x"}, "spec": SPEC} for n in names)
        found = (msgspec.convert(document, policy_wire.NetworkPolicy) for document in documents)
        self.feeds.policies.take_policy(Replaced(tuple(found)))

    async def tell(self) -> None:
        await self.publisher.tell(self.publisher.own_problems())
        await self.events.flush()


async def written(api: FakeApi) -> list[dict[str, Any]]:
    return list(api.objects.get(EVENTS.path("x"), {}).values())


async def put(api: FakeApi, *names: str) -> None:
    for name in names:
        await api.put(NETWORKPOLICIES.path("x"), name, spec=SPEC)


async def test_of_all_agents_just_one_reports_a_policy() -> None:
    async with fake_api() as (api, client):
        await put(api, *NAMES)
        for node in NODES:
            told = Told(client, node)
            told.see(*NAMES)
            await told.tell()
        events = await written(api)
    assert sorted(event["involvedObject"]["name"] for event in events) == sorted(NAMES)
    assert len({event["source"]["host"] for event in events}) > 1


async def test_an_event_is_about_the_object_and_names_its_field() -> None:
    async with fake_api() as (api, client):
        await put(api, "p0")
        told = Told(client, TELLERS.teller(ObjectRef("NetworkPolicy", "x", "p0")))
        told.see("p0")
        await told.tell()
        await told.tell()
        (event,) = await written(api)
        held = api.objects[NETWORKPOLICIES.path("x")]["p0"]
    # kubectl describe asks for the Events about an object's uid.
    assert event["involvedObject"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "name": "p0",
        "namespace": "x",
        "uid": held["metadata"]["uid"],
    }
    assert event["message"].startswith("spec.ingress[0].from[0].ipBlock.cidr: ")
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "NotServed", 1)


async def test_an_agent_that_may_not_look_at_the_object_reports_it_all_the_same() -> None:
    async with fake_api() as (api, client):
        api.refuse = lambda request: (
            web.json_response(status(403, "Forbidden"), status=403)
            if request.method == "GET"
            else None
        )
        told = Told(client, TELLERS.teller(ObjectRef("NetworkPolicy", "x", "p0")))
        told.see("p0")
        await told.tell()
        (event,) = await written(api)
    assert event["involvedObject"].get("uid", "") == ""


async def test_a_node_that_claims_anothers_prefix_is_told_by_another_for_it_may_have_no_agent() -> (
    None
):
    late = Node("late", "2026-12-01", pod_cidrs("late", [ip_network("10.244.1.7/32")]))
    async with fake_api() as (api, client):
        await api.put(NODES_PATH, "late")
        for node in NODES:
            told = Told(client, node)
            told.compiler.set_node(late)
            await told.tell()
        events = list(api.objects.get(EVENTS.path("default"), {}).values())
    (event,) = (e for e in events if e["involvedObject"]["name"] == "late")
    assert event["message"].startswith("spec.podCIDRs[0]: 10.244.1.7/32 is not used: it overlaps")
    assert event["source"]["host"] == Tellers((*NODES, "late")).witness(late.ref)


async def test_an_object_that_is_gone_and_a_whole_kind_have_no_events() -> None:
    async with fake_api() as (api, client):
        told = Told(client, TELLERS.teller(ObjectRef("NetworkPolicy", "x", "p0")))
        told.see("p0")
        told.feeds.policies.take_namespace(Refused(403))
        await told.tell()
        assert await written(api) == []


async def test_while_the_api_is_away_a_problem_is_a_line_once_and_an_event_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An uplink without its address is a Problem, and often the reason why the API is away."""
    caplog.set_level(logging.WARNING, "steppe.agent")
    async with fake_api() as (api, client):
        await put(api, "p0")
        told = Told(client, TELLERS.teller(ObjectRef("NetworkPolicy", "x", "p0")))
        told.see("p0")
        get = client.get

        async def away(*_: object) -> Any:
            raise UnreachableError("GET it: no answer in time")

        client.get = away  # type: ignore[method-assign]
        for _ in range(3):
            await told.publisher.publish()
        assert sum("NetworkPolicy/x/p0" in message for message in caplog.messages) == 1
        assert sum("publish-failed" in message for message in caplog.messages) == 1
        client.get = get  # type: ignore[method-assign]
        await told.publisher.publish()
        await told.events.flush()
        assert len(await written(api)) == 1
        told.see()
        await told.publisher.publish()
        told.see("p0")
        await told.publisher.publish()
        assert sum("NetworkPolicy/x/p0" in message for message in caplog.messages) == 2
        assert sum("publish-failed" in message for message in caplog.messages) == 1


async def test_what_the_api_server_refuses_is_an_error_and_the_problems_are_in_the_log_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "steppe.agent")
    async with fake_api() as (api, client):
        api.refuse = lambda request: (
            web.json_response(status(403, "Forbidden"), status=403)
            if request.method == "PATCH"
            else None
        )
        told = Told(client, "node-a")
        node = msgspec.convert({"metadata": {"name": "node-a"}}, wire.Node)
        told.feeds.nodes.take(Replaced((node,)))
        told.see(*NAMES)
        with pytest.raises(ApiError, match="Forbidden"):
            await told.publisher.publish()
    assert caplog.messages
    assert {message.partition(" ")[0] for message in caplog.messages} == {"problem"}


async def test_a_node_tells_what_its_agent_runs_with_once() -> None:
    chosen = Settings(fabric="vxlan", node_port_addresses=(ip_network("192.0.2.0/24"),))
    async with fake_api() as (api, client):
        await api.put(NODES_PATH, "node-a")
        told = Told(client, "node-a", chosen)
        node = msgspec.convert({"metadata": {"name": "node-a"}}, wire.Node)
        told.feeds.nodes.take(Replaced((node,)))
        await told.publisher.publish_node()
        (written,) = api.objects[NODES_PATH].values()
        text = written["metadata"]["annotations"][SETTINGS_ANNOTATION]
        assert settings_from(text) == chosen
        api.objects[NODES_PATH].clear()  # a second patch would find nothing, and raise
        await told.publisher.publish_node()


async def test_an_object_of_another_projects_kind_of_that_name_has_no_events() -> None:
    ref = ObjectRef("NetworkPolicy", "x", "p0", "projectcalico.org")
    async with fake_api() as (api, client):
        await put(api, "p0")
        told = Told(client, TELLERS.teller(ref))
        told.compiler._tables.replace(ref, [Problem(Cause(ref), "not ours")])
        assert ref in [problem.cause.ref for problem in told.compiler.problems]
        await told.tell()
        assert await written(api) == []


def test_an_object_of_another_projects_nodes_is_reported_by_one_of_our_nodes() -> None:
    assert TELLERS.teller(ObjectRef("Node", "x", "rack-7", "example.org")) in NODES


def test_a_node_that_goes_moves_only_what_it_reported() -> None:
    refs = [ObjectRef("NetworkPolicy", "x", name) for name in NAMES]
    before = {ref: TELLERS.teller(ref) for ref in refs}
    after = {ref: Tellers(NODES[:2]).teller(ref) for ref in refs}
    assert all(after[ref] == before[ref] for ref in refs if before[ref] != NODES[2])


def test_who_tells_of_each_of_many_nodes_is_found_at_once() -> None:
    refs = [ObjectRef("Node", "", f"node-{number}") for number in range(5000)]
    began = process_time()
    tellers = Tellers(ref.name for ref in refs)
    witnesses = [tellers.witness(ref) for ref in refs]
    assert process_time() - began < 2
    assert all(found != ref.name for found, ref in zip(witnesses, refs, strict=True))
    assert len(set(witnesses)) == len(refs)
