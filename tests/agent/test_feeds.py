"""An incomplete or missing view deletes nothing: one table of events for every kind followed."""

import asyncio
import errno
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest
from aiohttp import web

from steppe.agent.feeds.departed import HOLD_SECONDS
from steppe.agent.feeds.feed import Follow, applied
from steppe.agent.feeds.feeds import Feeds
from steppe.agent.health.proxy_health import ProxyHealth
from steppe.client.client import Client
from steppe.client.config import Config
from steppe.client.informer import (
    Deleted,
    Refused,
    Replaced,
    Unreadable,
    Upserted,
    WatchEvent,
    WatchStatus,
)
from steppe.client.mirror import Kind, Mirror
from steppe.client.resources import Resource
from steppe.compile.incremental import NodeCompiler
from steppe.kube.cause import Problem
from steppe.kube.objects import Underlay, Workload
from steppe.kube.services import ServiceRange
from steppe.kube.wire import ObjectMeta
from steppe.settings import Settings
from steppe.state.nft import ElementKey
from steppe.state.node import Key
from steppe.state.route import RouteKey
from tests.client.fake_api import FakeApi, fake_api, status, until

WEB = ip_address("10.244.1.5")
PEER = ip_address("10.244.2.6")
UNDERLAY = Underlay("eth0", 1500)
KINDS = (
    "nodes",
    "services",
    "endpointslices",
    "servicecidrs",
    "pods",
    "namespaces",
    "networkpolicies",
    "clusternetworkpolicies",
)


def node(name: str, number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"podCIDRs": [f"10.244.{number}.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{number}"}]},
    }


def pod(name: str, namespace: str, address: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "status": {"podIPs": [{"ip": address}]},
    }


FROM_OTHERS = {"from": [{"namespaceSelector": {"matchLabels": {"kind": "others"}}}]}
OBJECTS: dict[str, list[dict[str, Any]]] = {
    "nodes": [node("node-a", 1), node("node-b", 2)],
    "services": [
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "clusterIP": "10.96.0.1",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{"port": 80}],
            },
        }
    ],
    "endpointslices": [
        {
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": "TCP", "name": ""}],
            "endpoints": [{"addresses": ["10.244.2.6"]}],
        }
    ],
    "servicecidrs": [{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}}],
    "pods": [pod("web", "default", "10.244.1.5"), pod("peer", "others", "10.244.2.6")],
    "namespaces": [
        {"metadata": {"name": "default"}},
        {"metadata": {"name": "others", "labels": {"kind": "others"}}},
    ],
    "networkpolicies": [
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"podSelector": {}, "ingress": [FROM_OTHERS]},
        }
    ],
    "clusternetworkpolicies": [
        {
            "metadata": {"name": "c"},
            "spec": {
                "tier": "Admin",
                "priority": 1,
                "subject": {"namespaces": {}},
                "egress": [{"action": "Deny", "to": [{"networks": ["203.0.113.0/24"]}]}],
            },
        }
    ],
}
"""Of each kind the last is the one that events are about."""


def guarded(direction: str) -> Key:
    return ElementKey(f"{direction}_guarded4", (WEB,))


ASKS: dict[str, Key] = {
    "nodes": RouteKey(ip_network("10.244.2.0/24")),
    "services": ElementKey("service4", (ip_address("10.96.0.1"), "tcp", 80)),
    "endpointslices": ElementKey("endpoint4", (ip_address("10.96.0.1"), "tcp", 80, 0)),
    "servicecidrs": ElementKey("service_range4", (ip_network("10.96.0.0/16"),)),
    "pods": ElementKey("ingress_peer4", (PEER,)),
    "namespaces": ElementKey("ingress_peer4", (PEER,)),
    "networkpolicies": guarded("ingress"),
    "clusternetworkpolicies": guarded("egress"),
}
"""What is in the tables because of the last object of each kind, and of no other."""
STANDS_IN = {"networkpolicies", "clusternetworkpolicies"}
MAY_BE_ABSENT = {"servicecidrs", "clusternetworkpolicies"}


def feeds(client: Client | None = None) -> Feeds:
    compiler = NodeCompiler(Settings(fabric="direct"), "node-a")
    compiler.set_workload(Workload("st1", "default", "web", "node-a", (WEB,)))
    health = ProxyHealth("node-a", None, busy=lambda: 0.0, leaving=lambda: False)
    return Feeds(client or Client(Config(server="http://127.0.0.1:1")), compiler, UNDERLAY, health)


class World:
    """All kinds are listed but one, of which events come."""

    def __init__(self, kind: str) -> None:
        self.feeds = feeds()
        self.now = 0.0
        self.feeds.nodes.clock = lambda: self.now
        self.kind = kind
        self.compiler = self.feeds._compiler
        follows = {f.kind.resource.plural: f for feed in self.feeds.followed for f in feed.follows}
        assert set(follows) == set(KINDS)
        for name, follow in follows.items():
            if name != kind:
                follow.take(Replaced(self.objects(follow)))
        self.work()
        self.follow = follows[kind]
        *self.others, self.object = self.objects(self.follow)

    @staticmethod
    def objects(follow: Follow) -> tuple[Any, ...]:
        found = OBJECTS[follow.kind.resource.plural]
        return tuple(msgspec.convert(document, follow.kind.wire) for document in found)

    def take(self, what: str) -> None:
        meta, others = self.object.metadata, tuple(self.others)
        odd = Unreadable(meta.namespace, meta.name, "expected object, got array")
        events: dict[str, WatchEvent[Any]] = {
            "list": Replaced((*others, self.object)),
            "list without": Replaced(others),
            "list with unreadable": Replaced(others, (odd,)),
            "object": Upserted(self.object),
            "deleted": Deleted(self.object),
            "unreadable": odd,
            "unreadable deleted": msgspec.structs.replace(odd, deleted=True),
            "403": Refused(403),
            "404": Refused(404),
        }
        self.follow.take(events[what])
        self.work()
        # A peer's network goes a while after its Node.
        if isinstance(events[what], Replaced | Deleted) or "deleted" in what:
            self.now += HOLD_SECONDS
            self.feeds.nodes.release()

    def work(self) -> None:
        """What the feed's `work` does: on a busy machine the first slice need not be all."""
        while self.compiler.policies.waiting:
            self.compiler.policies.more()

    @property
    def asked(self) -> bool:
        return ASKS[self.kind] in self.compiler.state

    @property
    def told(self) -> list[str]:
        return [problem.message for problem in self.feeds.problems]


ODD = "not readable as a"
CURE = "have its ClusterRole allow list and watch of resources"
UNKNOWN = "the API server knows no"
# Events, whether what the object asks for is in the tables then, and the Problem there is.
IN_FORCE: dict[str, tuple[bool, str]] = {
    "list": (True, ""),
    "list, object": (True, ""),
    "list without, object": (True, ""),
    "list, deleted": (False, ""),
    "list, deleted, object": (True, ""),
    "list, list without": (False, ""),
    "list, unreadable": (True, ODD),
    "list, unreadable, object": (True, ""),
    "list, unreadable, deleted": (False, ""),
    "list, unreadable, unreadable deleted": (False, ""),
    "list, unreadable, list": (True, ""),
    "list, unreadable, list without": (False, ""),
    "list, unreadable, list with unreadable": (True, ODD),
    "list, list with unreadable": (True, ODD),
    "list, list with unreadable, unreadable deleted": (False, ""),
    "list, 403": (True, CURE),
    "list, 404": (True, UNKNOWN),
    "list, 403, object": (True, CURE),
    "list, 403, list": (True, ""),
    "list, 403, list without": (False, ""),
    "list, unreadable, 403": (True, ODD),
    "403, list": (True, ""),
    "404, list": (True, ""),
}


@pytest.mark.parametrize("events", IN_FORCE)
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_object_asks_for_stays_until_a_complete_view_is_without_it(
    kind: str, events: str
) -> None:
    world = World(kind)
    for event in events.split(", "):
        world.take(event)
    expected, problem = IN_FORCE[events]
    assert world.asked == expected
    assert world.feeds.trusted
    assert any(problem in message for message in world.told) if problem else world.told == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_was_never_readable_is_left_out_but_a_policy_closes(kind: str) -> None:
    world = World(kind)
    world.take("list with unreadable")
    assert world.feeds.trusted
    assert world.asked == (kind in STANDS_IN)
    assert [ODD in message for message in world.told] == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_believed_before_the_list_of_a_kind_but_that_there_can_be_none(
    kind: str,
) -> None:
    for event, trusted, problem in (
        ("object", False, ""),
        # Where cluster IPs come from is worth a Problem, and not worth a standstill.
        ("403", kind == "servicecidrs", CURE),
        ("404", kind in MAY_BE_ABSENT, "" if kind in MAY_BE_ABSENT else UNKNOWN),
    ):
        world = World(kind)
        world.take(event)
        assert world.feeds.trusted == trusted, event
        assert [problem in message for message in world.told] == ([True] if problem else [])


class Heard:
    """Whom feeds tell of changes."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.listed = 0

    def touch(self, keys: Any) -> None:
        self.keys |= set(keys)

    async def nodes_listed(self) -> None:
        self.listed += 1


async def following(found: Feeds, heard: Heard, until_: Callable[[], object]) -> None:
    """Let the feeds follow until a condition holds."""
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(job.run()) for job in found.jobs(heard)]
        await until(until_)
        for job in jobs:
            job.cancel()


def path_of(follow: Follow) -> str:
    return follow.kind.resource.path()


async def fill(api: FakeApi, found: Feeds) -> None:
    for follow in (f for feed in found.followed for f in feed.follows):
        api.objects.setdefault(path_of(follow), {})
        for document in OBJECTS[follow.kind.resource.plural]:
            body = dict(document)
            await api.put(path_of(follow), body["metadata"]["name"], **body)


@pytest.mark.parametrize("kind", ["services", "pods"])
async def test_a_kind_whose_list_fails_for_another_reason_is_a_problem_too(kind: str) -> None:
    async with fake_api() as (api, client):
        found, heard = feeds(client), Heard()
        await fill(api, found)

        def refuse(request: web.Request) -> web.Response | None:
            answer = status(500, "InternalError", "no conversion webhook")
            return web.json_response(answer, status=500) if kind in request.path else None

        def told() -> list[Problem]:
            return [p for p in found.problems if "no conversion webhook" in p.message]

        api.refuse = refuse
        await following(found, heard, told)
        assert not found.trusted
        assert [problem.message[:15] for problem in told()] == ["not listed yet:"]
        api.refuse = lambda _: None
        await following(found, heard, lambda: found.trusted and not told())


async def test_a_kind_that_has_not_been_tried_since_the_api_is_back_is_no_problem() -> None:
    async with fake_api() as (_, client):
        found, _ = feeds(client), Heard()
        services = found.watches["services"] = WatchStatus()
        services.broken("connection refused")
        assert found.problems == ()
        found.status.in_sync()
        assert found.problems == (), "the API server answers, and services are asked for next"
        services.broken("no conversion webhook")
        (problem,) = found.problems
        assert "not listed yet: no conversion webhook" in problem.message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forbidden_kind_is_a_problem_that_names_the_rule_it_takes(kind: str) -> None:
    """403 from a server, on each kind by itself: told at once, and gone once it is allowed."""
    async with fake_api() as (api, client):
        found, heard = feeds(client), Heard()
        await fill(api, found)
        (path,) = (
            path_of(f) for feed in found.followed for f in feed.follows
            if f.kind.resource.plural == kind
        )  # fmt: skip
        forbidden = True

        def refuse(request: web.Request) -> web.Response | None:
            refused = forbidden and request.path == path
            return web.json_response(status(403, "Forbidden"), status=403) if refused else None

        def told() -> list[str]:
            return [p.message for p in found.problems if f'resources ["{kind}"]' in p.message]

        api.refuse = refuse
        await following(found, heard, told)
        assert found.trusted == (kind == "servicecidrs")
        forbidden = False
        await following(found, heard, lambda: found.trusted and not told())
        assert ASKS[kind] in heard.keys


@pytest.mark.parametrize("kind", KINDS)
async def test_the_api_is_in_sync_only_while_every_kind_is_watched(kind: str) -> None:
    async with fake_api() as (api, client):
        found, heard = feeds(client), Heard()
        await fill(api, found)
        assert found.out_of_sync == "nodes are not listed yet"
        await following(found, heard, lambda: not found.out_of_sync)
        (follow,) = (
            f for feed in found.followed for f in feed.follows if f.kind.resource.plural == kind
        )

        def refuse(request: web.Request) -> web.Response | None:
            refused = request.path == path_of(follow)
            return web.json_response(status(403, "Forbidden"), status=403) if refused else None

        api.refuse = refuse
        await following(found, heard, lambda: found.out_of_sync)
        assert "403" in found.out_of_sync
        api.refuse = lambda _: None
        await following(found, heard, lambda: not found.out_of_sync)


@pytest.mark.parametrize("kind", sorted(MAY_BE_ABSENT))
async def test_a_kind_that_the_server_may_lack_keeps_nothing_out_of_sync(kind: str) -> None:
    async with fake_api() as (api, client):
        found, heard = feeds(client), Heard()
        await fill(api, found)
        (path,) = (
            path_of(f) for feed in found.followed for f in feed.follows
            if f.kind.resource.plural == kind
        )  # fmt: skip
        del api.objects[path]
        await following(found, heard, lambda: not found.out_of_sync)
        assert found.watches[kind].absent
        assert found.problems == ()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_api_is_out_of_sync_once_what_takes_its_events_has_failed(kind: str) -> None:
    class Failing(Heard):
        def touch(self, _: Any) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    async with fake_api() as (api, client):
        found, heard = feeds(client), Heard()
        await fill(api, found)
        await following(found, heard, lambda: not found.out_of_sync)
        (job,) = (job for job in found.jobs(Failing()) if job.name == f"follow-{kind}")
        with pytest.raises(OSError, match="Too many"):
            await job.run()
        assert "Too many open files" in found.out_of_sync
        assert kind in found.out_of_sync


async def test_our_node_is_waited_for_and_then_all_nodes_count() -> None:
    async with fake_api() as (api, client):
        found, heard = feeds(client), Heard()
        await fill(api, found)
        path = "/api/v1/nodes"
        own = api.objects[path].pop("node-a")
        await following(found, heard, lambda: found.problems)
        assert not found.trusted
        assert ASKS["nodes"] not in heard.keys
        listed = heard.listed

        async def register() -> None:
            await until(lambda: api.watches)
            await api.put(path, "node-a", **{k: v for k, v in own.items() if k != "metadata"})

        async with asyncio.TaskGroup() as group:
            group.create_task(register())
            await following(found, heard, lambda: found.trusted and ASKS["nodes"] in heard.keys)
        assert heard.listed > listed
        assert found.problems == ()


class Widget(msgspec.Struct, frozen=True):
    """A toy: one more kind of object that asks for something."""

    metadata: ObjectMeta
    prefix: str = ""


def widget_from(seen: Widget) -> tuple[ServiceRange, tuple[Problem, ...]]:
    return ServiceRange(f"widget {seen.metadata.name}", (ip_network(seen.prefix),)), ()


WIDGET = Kind(
    resource=Resource("example.org", "v1", "widgets", "Widget", namespaced=False),
    wire=Widget,
    parse=widget_from,
)


class WidgetFeed:
    """All that following one more kind takes."""

    def __init__(self, compiler: NodeCompiler) -> None:
        self._compiler = compiler
        self._widgets = Mirror(WIDGET)

    @property
    def complete(self) -> bool:
        return self._widgets.listed

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._widgets.problems)

    @property
    def follows(self) -> tuple[Follow, ...]:
        return (Follow(WIDGET, self.take),)

    def take(self, event: WatchEvent[Widget]) -> frozenset[Key]:
        compiler = self._compiler
        return applied(
            self._widgets.take(event),
            compiler.set_service_range,
            lambda name: compiler.remove_service_range(f"widget {name[1]}"),
        )


async def test_one_more_kind_is_a_module_and_a_line_in_the_registry() -> None:
    async with fake_api() as (api, client):
        found, heard = feeds(client), Heard()
        await fill(api, found)
        found.followed.append(WidgetFeed(found._compiler))
        await following(found, heard, lambda: "Widget" in str(found.problems))
        assert not found.trusted
        await api.put("/apis/example.org/v1/widgets", "w", prefix="198.51.100.0/24")
        key = ElementKey("service_range4", (ip_network("198.51.100.0/24"),))
        await following(found, heard, lambda: key in heard.keys)
        assert found.trusted
