"""When the agent does not believe the API."""

import msgspec

from steppe.agent.feeds.nodes import NodeFeed
from steppe.client.informer import Deleted, Replaced, Unreadable, Upserted
from steppe.compile.incremental import NodeCompiler
from steppe.kube import wire
from steppe.kube.objects import Underlay
from steppe.net.address import parse_interface
from steppe.settings import Settings

UNDERLAY = Underlay("eth0", 1500, (parse_interface("192.0.2.11/24"),))


def feed() -> tuple[NodeFeed, NodeCompiler]:
    compiler = NodeCompiler(Settings(fabric="direct"), "node-a")
    return NodeFeed(compiler, "node-a", UNDERLAY), compiler


def seen(name: str, number: int) -> wire.Node:
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "spec": {"podCIDRs": [f"10.244.{number}.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{10 + number}"}]},
        },
        wire.Node,
    )


ALL = (seen("node-a", 1), seen("node-b", 2))


def test_a_list_with_our_node_is_taken_whole() -> None:
    it, compiler = feed()
    assert it.take(Replaced(ALL))
    assert it.trusted
    assert set(compiler.nodes) == {"node-a", "node-b"}
    it.take(Replaced(ALL[:1]))
    assert set(compiler.nodes) == {"node-a"}


def test_a_list_without_our_node_changes_nothing_and_is_told() -> None:
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
    touched = it.take(Deleted(ALL[1]))
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
