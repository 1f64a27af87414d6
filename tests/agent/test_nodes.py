"""When the agent does not believe the API."""

import asyncio
from typing import Any, Literal

import msgspec
import pytest

from steppe.agent.feeds.departed import HOLD_SECONDS
from steppe.agent.feeds.nodes import NodeFeed
from steppe.client.informer import Deleted, Replaced, Unreadable, Upserted
from steppe.compile.incremental import NodeCompiler
from steppe.kube import wire
from steppe.kube.objects import Node, Underlay
from steppe.kube.prefixes import pod_cidrs
from steppe.net.address import parse_interface, parse_prefix
from steppe.settings import Settings
from steppe.state.node import Key, Value

UNDERLAY = Underlay(
    "eth0", 1500, (parse_interface("192.0.2.11/24"), parse_interface("2001:db8::11/64"))
)


class Clock:
    """Time that passes when a test says so, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def feed(fabric: Literal["direct", "vxlan", "auto"] = "direct") -> tuple[NodeFeed, NodeCompiler]:
    compiler = NodeCompiler(Settings(fabric=fabric), "node-a")
    return NodeFeed(compiler, "node-a", UNDERLAY, Clock()), compiler


def after(it: NodeFeed, seconds: float) -> frozenset[Key]:
    """What goes because time has passed."""
    it.clock.now += seconds  # type: ignore[attr-defined]  # a Clock
    return it.release()


def seen(
    name: str, number: int, *, prefixes: bool = True, addresses: bool = True, created: str = ""
) -> wire.Node:
    """A dual-stack node, or what is known of one that has just been registered."""
    cidrs = [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]
    ips = [f"192.0.2.{10 + number}", f"2001:db8::{10 + number}"]
    return msgspec.convert(
        {
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"podCIDRs": cidrs} if prefixes else {},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": ip} for ip in (ips if addresses else ())
                ]
            },
        },
        wire.Node,
    )


def values(compiler: NodeCompiler) -> dict[Key, Value]:
    """What the kernel is to hold, whoever asks for it."""
    return {key: entry.value for key, entry in compiler.state.items()}


def told(it: NodeFeed) -> list[str]:
    return [f"{problem.cause}" for problem in it.problems]


ALL = (seen("node-a", 1), seen("node-b", 2))
WITHOUT_OURS = Replaced(ALL[1:])


def test_a_list_with_our_node_is_taken_whole() -> None:
    it, compiler = feed()
    assert it.take(Replaced(ALL))
    assert it.trusted
    assert set(compiler.nodes) == {"node-a", "node-b"}
    it.take(Replaced(ALL[:1]))
    after(it, HOLD_SECONDS)
    assert set(compiler.nodes) == {"node-a"}


def test_a_list_without_our_node_changes_nothing_and_is_reported() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    before = dict(compiler.state)
    assert it.take(Replaced(())) == frozenset()
    assert compiler.state == before
    assert "does not know this node" in it.problems[0].message
    it.take(Replaced(ALL))
    assert it.problems == ()


def test_the_first_list_without_our_node_is_not_trusted() -> None:
    it, _ = feed()
    it.take(Replaced(ALL[1:]))
    assert not it.trusted


def test_the_deletion_of_our_own_node_unplugs_nothing() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    before = dict(compiler.state)
    assert it.take(Deleted(ALL[0])) == frozenset()
    assert compiler.state == before
    assert "was deleted" in it.problems[0].message


def test_a_peer_that_goes_takes_its_routes_along() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    it.take(Deleted(ALL[1]))
    touched = after(it, HOLD_SECONDS)
    assert any("10.244.2.0/24" in str(key) for key in touched)
    assert not any("10.244.2.0/24" in str(key) for key in compiler.state)


def test_an_unreadable_node_is_a_problem_and_keeps_its_routes() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    before = dict(compiler.state)
    it.take(Unreadable("", "node-b", "expected object, got array"))
    assert compiler.state == before
    assert [str(p.cause.ref) for p in it.problems] == ["Node/node-b"]
    it.take(Upserted(ALL[1]))
    assert it.problems == ()


def test_our_own_underlay_is_the_one_the_kernel_shows() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    assert compiler.here is not None
    assert compiler.here.underlay == UNDERLAY
    larger = Underlay("eth0", 9000, UNDERLAY.addresses)
    it.see_underlay(larger)
    assert compiler.here.underlay == larger


def test_our_node_is_leaving_while_it_is_being_deleted() -> None:
    """ "nodes … are eligible load balancing targets as long as the node is not being deleted": it
    is marked by the API server, or by the cluster autoscaler before that.
    """
    it, _ = feed()
    here, other = ALL
    marked = msgspec.structs.replace(
        here, metadata=msgspec.structs.replace(here.metadata, deletion_timestamp="2026-01-01")
    )
    tainted = msgspec.structs.replace(
        here,
        spec=msgspec.structs.replace(
            here.spec,
            taints=(wire.Taint("other"), wire.Taint("ToBeDeletedByClusterAutoscaler")),
        ),
    )
    it.take(Replaced((here, msgspec.structs.replace(tainted, metadata=other.metadata))))
    assert not it.leaving
    for event in (Upserted(marked), Upserted(tainted), Deleted(here)):
        it.take(event)
        assert it.leaving, event
        it.take(Upserted(here))
        assert not it.leaving


ODD, ODD_GONE = (Unreadable("", "node-b", "expected object", deleted=d) for d in (False, True))


@pytest.mark.parametrize("end", [ODD_GONE, Deleted(ALL[1]), Replaced(ALL[:1])])
def test_a_node_that_was_unreadable_and_is_deleted_keeps_no_routes(end: Any) -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    it.take(ODD)
    it.take(end)
    assert it.problems == ()
    after(it, HOLD_SECONDS)
    assert set(compiler.nodes) == {"node-a"}


def test_an_unreadable_node_in_a_new_list_keeps_its_routes() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    before = values(compiler)
    it.take(Replaced(ALL[:1], (ODD,)))
    assert values(compiler) == before
    assert told(it) == ["Node/node-b"]


def test_our_own_node_that_cannot_be_read_is_not_unknown() -> None:
    it, compiler = feed()
    odd = Unreadable("", "node-a", "expected object")
    it.take(Replaced(ALL[1:], (odd,)))
    assert not it.trusted
    assert [problem.message.split(":")[0] for problem in it.problems] == ["not readable as a Node"]
    it.take(Upserted(ALL[0]))
    before = values(compiler)
    it.take(Replaced(ALL[1:], (odd,)))
    assert values(compiler) == before
    assert it.trusted


def remembered(compiler: NodeCompiler) -> None:
    """As an agent starts: with the node that an earlier one left in the kernel."""
    addresses = tuple(interface.ip for interface in UNDERLAY.addresses)
    networks = map(parse_prefix, ("10.244.1.0/24", "fd00:10:244:1::/64"))
    compiler.set_node(Node("node-a", "", pod_cidrs("node-a", networks), addresses, UNDERLAY))


@pytest.mark.parametrize("fabric", ["direct", "vxlan", "auto"])
@pytest.mark.parametrize("prefixes", [True, False])
@pytest.mark.parametrize("addresses", [True, False])
@pytest.mark.parametrize(
    "before",
    [
        [Replaced(ALL), Deleted(ALL[0])],
        [Replaced(ALL), WITHOUT_OURS],
        [Replaced(ALL), Deleted(ALL[0]), WITHOUT_OURS],
        [Replaced(ALL), Replaced(())],
        "started before its Node exists",
    ],
)
def test_our_own_node_registered_again_changes_nothing_in_the_kernel(
    fabric: Literal["direct", "vxlan", "auto"], prefixes: bool, addresses: bool, before: Any
) -> None:
    whole, expected = feed(fabric)
    whole.take(Replaced(ALL))
    it, compiler = feed(fabric)
    if isinstance(before, str):
        remembered(compiler)
        before = [WITHOUT_OURS]
    for event in before:
        it.take(event)
    again = seen("node-a", 1, prefixes=prefixes, addresses=addresses, created="2026-01-02")
    it.take(Upserted(again))
    if Replaced(()) in before:
        it.take(Upserted(ALL[1]))
    assert it.trusted
    assert values(compiler) == values(expected)
    lacking = {"spec.podCIDRs": prefixes, "status.addresses": addresses}
    assert told(it) == [f"Node/node-a {field}" for field, there in lacking.items() if not there]
    it.take(Upserted(ALL[0]))
    assert values(compiler) == values(expected)
    assert it.problems == ()


def test_peers_that_came_and_went_while_our_node_was_unknown_count_once_it_is_there() -> None:
    it, compiler = feed()
    it.take(Replaced((*ALL, seen("node-c", 3))))
    before = values(compiler)
    for event in (WITHOUT_OURS, Upserted(seen("node-d", 4)), Deleted(ALL[1])):
        assert it.take(event) == frozenset()
    assert values(compiler) == before
    it.take(Upserted(ALL[0]))
    after(it, HOLD_SECONDS)
    assert set(compiler.nodes) == {"node-a", "node-d"}


@pytest.mark.parametrize("fabric", ["direct", "vxlan", "auto"])
@pytest.mark.parametrize("prefixes", [True, False])
@pytest.mark.parametrize("addresses", [True, False])
@pytest.mark.parametrize("gone", [Deleted(ALL[1]), Replaced(ALL[:1]), None])
def test_a_peer_registered_again_changes_nothing_in_the_kernel(
    fabric: Literal["direct", "vxlan", "auto"], prefixes: bool, addresses: bool, gone: Any
) -> None:
    it, compiler = feed(fabric)
    it.take(Replaced(ALL))
    before = values(compiler)
    if gone is not None:
        it.take(gone)
        assert values(compiler) == before
    again = seen("node-b", 2, prefixes=prefixes, addresses=addresses, created="2026-01-02")
    it.take(Upserted(again))
    assert after(it, HOLD_SECONDS) == frozenset()
    assert values(compiler) == before
    lacking = {"spec.podCIDRs": prefixes, "status.addresses": addresses}
    assert told(it) == [f"Node/node-b {field}" for field, there in lacking.items() if not there]
    it.take(Upserted(ALL[1]))
    assert it.problems == ()


def test_a_node_that_gets_other_prefixes_has_those() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    it.take(Upserted(seen("node-b", 2, prefixes=False)))
    it.take(Upserted(seen("node-b", 7)))
    assert any("10.244.7.0/24" in str(key) for key in compiler.state)
    assert not any("10.244.2.0/24" in str(key) for key in compiler.state)


def test_a_new_node_without_prefixes_has_none() -> None:
    it, compiler = feed()
    it.take(Replaced((ALL[0], seen("node-b", 2, prefixes=False))))
    assert compiler.nodes["node-b"].prefixes == ()
    assert it.problems == ()


NEWCOMERS = {
    "its prefixes": seen("node-x", 2),
    "one of its addresses": msgspec.structs.replace(
        seen("node-x", 9), status=msgspec.structs.replace(ALL[1].status)
    ),
}


@pytest.mark.parametrize("what", NEWCOMERS)
def test_who_takes_what_a_departed_peer_had_has_it_at_once(what: str) -> None:
    newcomer = NEWCOMERS[what]
    it, compiler = feed("vxlan")
    it.take(Replaced(ALL))
    it.take(Deleted(ALL[1]))
    it.take(Upserted(newcomer))
    fresh, expected = feed("vxlan")
    fresh.take(Replaced((ALL[0], newcomer)))
    assert values(compiler) == values(expected)
    assert compiler.problems == ()


@pytest.mark.parametrize("what", NEWCOMERS)
def test_what_two_peers_had_is_the_others_at_once_when_one_departs(what: str) -> None:
    newcomer = NEWCOMERS[what]
    it, compiler = feed("vxlan")
    it.take(Replaced((*ALL, newcomer)))
    it.take(Deleted(ALL[1]))
    fresh, expected = feed("vxlan")
    fresh.take(Replaced((ALL[0], newcomer)))
    assert values(compiler) == values(expected)


def test_a_departed_peer_has_its_time_whatever_becomes_of_our_own_node() -> None:
    it, compiler = feed()
    it.take(Replaced(ALL))
    it.take(Deleted(ALL[1]))
    it.take(Replaced(()))
    it.take(Upserted(ALL[0]))
    after(it, HOLD_SECONDS - 1)
    assert "node-b" in compiler.nodes
    after(it, 1)
    assert set(compiler.nodes) == {"node-a"}


def test_a_peer_with_a_problem_departs_with_it() -> None:
    it, compiler = feed()
    it.take(Replaced((*ALL, seen("node-c", 3, addresses=False))))
    assert compiler.problems
    it.take(Deleted(seen("node-c", 3)))
    assert compiler.problems == ()


async def test_departed_peers_go_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steppe.agent.feeds.departed.HOLD_SECONDS", 0.02)
    compiler = NodeCompiler(Settings(fabric="direct"), "node-a")
    it = NodeFeed(compiler, "node-a", UNDERLAY)
    it.take(Replaced(ALL))
    touched: asyncio.Queue[frozenset[Key]] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        job = group.create_task(it.let_go(touched.put_nowait))
        for _ in range(2):
            it.take(Deleted(ALL[1]))
            assert "node-b" in compiler.nodes
            async with asyncio.timeout(5):
                keys = await touched.get()
            assert any("10.244.2.0/24" in str(key) for key in keys)
            assert set(compiler.nodes) == {"node-a"}
            it.take(Upserted(ALL[1]))
        job.cancel()
