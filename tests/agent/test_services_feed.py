"""From the API's Services and slices to tables, whatever the order and the shape of the news."""

from typing import Any

import msgspec
import pytest

from steppe.agent.feeds.services import ServiceFeed
from steppe.client.informer import Deleted, Replaced, Unreadable, Upserted
from steppe.compile.incremental import NodeCompiler
from steppe.kube import service_wire as wire
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import parse_address, parse_prefix
from steppe.settings import Settings
from steppe.state.nft import ElementKey

NODE = Node(
    "node-a",
    "",
    pod_cidrs("node-a", [parse_prefix("10.244.1.0/24")]),
    (parse_address("192.0.2.11"),),
)
EMPTY: Replaced[Any] = Replaced(())


def feed() -> tuple[ServiceFeed, NodeCompiler]:
    compiler = NodeCompiler(Settings(fabric="direct"), NODE.name)
    compiler.set_node(NODE)
    return ServiceFeed(compiler), compiler


def service(name: str, ip: str = "10.96.0.10") -> wire.Service:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]},
        },
        wire.Service,
    )


def slice_(name: str, owner: str, *addresses: str) -> wire.EndpointSlice:
    labels = {"kubernetes.io/service-name": owner}
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": "TCP", "name": ""}],
            "endpoints": [{"addresses": [address]} for address in addresses],
        },
        wire.EndpointSlice,
    )


def leads_to(compiler: NodeCompiler, ip: str = "10.96.0.10") -> set[str]:
    """The endpoints of a cluster IP."""
    return {
        str(entry.value.data[0])
        for key, entry in compiler.state.items()
        if isinstance(key, ElementKey)
        and key.set == "endpoint4"
        and key.key[0] == parse_address(ip)
    }


def is_served(compiler: NodeCompiler, ip: str = "10.96.0.10") -> bool:
    return ElementKey("service4", (parse_address(ip), "tcp", 80)) in compiler.state


WEB, ITS_SLICE = service("web"), slice_("web-1", "web", "10.244.1.5")


def full() -> tuple[ServiceFeed, NodeCompiler]:
    it, compiler = feed()
    it.take_service(Replaced((WEB,)))
    it.take_slice(Replaced((ITS_SLICE,)))
    return it, compiler


@pytest.mark.parametrize("services_first", [True, False])
def test_nothing_is_compiled_before_both_lists_are_there(services_first: bool) -> None:
    it, compiler = feed()
    before = dict(compiler.state)
    news = [
        lambda: it.take_service(Replaced((WEB,))),
        lambda: it.take_slice(Replaced((ITS_SLICE,))),
    ]
    first, second = news if services_first else reversed(news)
    assert first() == frozenset()
    assert not it.complete
    assert compiler.state == before
    touched = second()
    assert it.complete
    assert leads_to(compiler) == {"10.244.1.5"}
    assert touched == compiler.state.keys() - before.keys()


def test_changes_between_the_two_lists_are_not_lost() -> None:
    it, compiler = feed()
    it.take_service(Replaced((WEB, service("old", "10.96.0.11"))))
    it.take_service(Upserted(service("new", "10.96.0.12")))
    it.take_service(Deleted(service("old", "10.96.0.11")))
    it.take_slice(EMPTY)
    assert [is_served(compiler, f"10.96.0.{n}") for n in (10, 11, 12)] == [True, False, True]


def test_what_a_new_list_has_no_more_is_taken_away() -> None:
    it, compiler = full()
    touched = it.take_slice(EMPTY)
    assert leads_to(compiler) == set()
    assert is_served(compiler)
    touched |= it.take_service(EMPTY)
    assert not is_served(compiler)
    assert {key.set for key in touched if isinstance(key, ElementKey)} >= {"service4", "endpoint4"}


def test_a_new_list_of_the_same_touches_nothing() -> None:
    it, _ = full()
    assert it.take_service(Replaced((WEB,))) == frozenset()
    assert it.take_slice(Replaced((ITS_SLICE,))) == frozenset()


def test_a_slice_that_changes_owner_leaves_one_service_and_joins_the_other() -> None:
    it, compiler = full()
    it.take_service(Upserted(service("db", "10.96.0.11")))
    touched = it.take_slice(Upserted(slice_("web-1", "db", "10.244.1.5")))
    assert leads_to(compiler) == set()
    assert leads_to(compiler, "10.96.0.11") == {"10.244.1.5"}
    assert {key.key[0] for key in touched} == {parse_address(f"10.96.0.{n}") for n in (10, 11)}


def test_a_service_and_its_slices_may_come_in_any_order() -> None:
    it, compiler = feed()
    it.take_service(EMPTY)
    it.take_slice(EMPTY)
    it.take_slice(Upserted(ITS_SLICE))
    assert leads_to(compiler) == set()
    it.take_service(Upserted(WEB))
    assert leads_to(compiler) == {"10.244.1.5"}
    it.take_service(Deleted(WEB))
    assert leads_to(compiler) == set()
    it.take_service(Upserted(WEB))
    assert leads_to(compiler) == {"10.244.1.5"}


def test_a_bad_address_is_a_problem_of_its_slice_and_goes_with_it() -> None:
    it, compiler = full()
    it.take_slice(Upserted(slice_("web-2", "web", "nonsense", "10.244.2.6")))
    (problem,) = it.problems
    assert str(problem.cause) == "EndpointSlice/default/web-2 endpoints[0].addresses"
    assert leads_to(compiler) == {"10.244.1.5", "10.244.2.6"}
    it.take_slice(Upserted(slice_("web-2", "web", "10.244.2.6")))
    assert it.problems == ()


def test_an_unreadable_object_is_a_problem_and_what_was_known_of_it_serves_on() -> None:
    it, compiler = full()
    it.take_service(Unreadable("default", "web", "ports: expected array"))
    it.take_slice(Unreadable("default", "web-1", "endpoints: expected array"))
    assert [str(problem.cause) for problem in it.problems] == [
        "Service/default/web",
        "EndpointSlice/default/web-1",
    ]
    assert leads_to(compiler) == {"10.244.1.5"}
    it.take_service(Upserted(WEB))
    it.take_slice(Upserted(ITS_SLICE))
    assert it.problems == ()


def test_an_unreadable_object_that_is_deleted_is_gone_with_its_problem() -> None:
    it, compiler = full()
    it.take_service(Unreadable("default", "web", "?"))
    it.take_slice(Unreadable("default", "web-1", "?"))
    it.take_slice(Unreadable("default", "web-1", "?", deleted=True))
    assert leads_to(compiler) == set()
    it.take_service(Unreadable("default", "web", "?", deleted=True))
    assert not is_served(compiler)
    assert it.problems == ()


def test_a_problem_of_an_object_that_went_unseen_goes_with_the_next_list() -> None:
    it, _ = full()
    it.take_service(Unreadable("default", "odd", "?"))
    it.take_slice(Unreadable("default", "odd-1", "?"))
    assert len(it.problems) == 2
    it.take_service(Replaced((WEB,)))
    it.take_slice(Replaced((ITS_SLICE,)))
    assert it.problems == ()
