"""Where cluster IPs come from, as the API says it."""

from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from steppe.agent.feeds.ranges import RangeFeed
from steppe.client.informer import Deleted, Refused, Replaced, Unreadable, Upserted
from steppe.compile.incremental import NodeCompiler
from steppe.kube import service_wire as wire
from steppe.settings import Settings
from steppe.state.nft import ElementKey


def seen(name: str, *cidrs: str) -> wire.ServiceCIDR:
    document = {"metadata": {"name": name}, "spec": {"cidrs": cidrs}}
    return msgspec.convert(document, wire.ServiceCIDR)


def feed() -> tuple[RangeFeed, NodeCompiler]:
    compiler = NodeCompiler(Settings(), "node-a")
    return RangeFeed(compiler), compiler


def test_ranges_come_and_go_with_their_object() -> None:
    it, compiler = feed()
    it.take(Replaced((seen("kubernetes", "10.96.0.0/16", "fd00:10:96::/112"),)))
    assert {str(key) for key in compiler.state} == {
        "@service_range4 10.96.0.0/16",
        "@service_range6 fd00:10:96::/112",
    }
    it.take(Upserted(seen("more", "10.97.0.0/16")))
    assert "@service_range4 10.97.0.0/16" in {str(key) for key in compiler.state}
    it.take(Replaced((seen("more", "10.97.0.0/16"),)))
    assert {str(key) for key in compiler.state} == {"@service_range4 10.97.0.0/16"}
    it.take(Deleted(seen("more")))
    assert compiler.state == {}


def test_nonsense_is_a_problem_and_the_rest_is_used() -> None:
    it, compiler = feed()
    it.take(Upserted(seen("odd", "10.97.0.0/16", "10.98.0.0/99")))
    assert len(compiler.state) == 1
    assert [str(problem.cause) for problem in it.problems] == ["ServiceCIDR/odd spec.cidrs[1]"]
    it.take(Unreadable("", "odd", "expected object"))
    assert len(compiler.state) == 1
    assert {str(problem.cause) for problem in it.problems} == {
        "ServiceCIDR/odd",
        "ServiceCIDR/odd spec.cidrs[1]",
    }


KERNEL = (
    ElementKey("service_range4", (ip_network("10.96.0.0/16"),)),
    ElementKey("service_range6", (ip_network("fd00:10:96::/112"),)),
    ElementKey("local_pods4", (ip_network("10.244.1.0/24"),)),
)


@pytest.mark.parametrize(
    ("event", "left"),
    [
        (Refused(403), 2),  # nobody said that they are gone
        (Refused(404), 0),  # the server has no such kind
        (Replaced(()), 0),
        (Replaced((seen("kubernetes", "10.96.0.0/16"),)), 1),
    ],
)
def test_what_the_kernel_has_stays_until_the_api_has_sent_the_ranges(event: Any, left: int) -> None:
    it, compiler = feed()
    it.remember(KERNEL)
    assert set(compiler.state) == set(KERNEL[:2])
    it.take(event)
    assert it.complete
    assert len(compiler.state) == left


def test_it_is_complete_with_the_list_or_without_one_to_be_had() -> None:
    """Before that, what an earlier agent put into the kernel must not be taken away."""
    for event in (Replaced((seen("kubernetes", "10.96.0.0/16"),)), Refused(404), Refused(403)):
        it, _ = feed()
        assert not it.complete
        it.take(event)
        assert it.complete
