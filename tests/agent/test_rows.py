"""Rows for `show` and `status`: right, in order, and never all in one go."""

import asyncio
from collections.abc import Coroutine
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

from steppe.agent.node.reconciler import Reconciler
from steppe.agent.rows import SLICE, Rows
from steppe.compile.incremental import NodeCompiler
from steppe.drivers.errors import Failure, KernelError
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from steppe.settings import Settings
from steppe.state.nft import Element, ElementKey
from steppe.state.node import TABLES, values

T = TypeVar("T")
ENDPOINTS = 3 * SLICE
STRAY = ElementKey("service4", (ip_address("10.96.9.9"), "tcp", 80))


def world() -> tuple[Rows, Reconciler, NodeCompiler]:
    """A Service of many endpoints, all of it in the kernel."""
    compiler = NodeCompiler(Settings(fabric="direct"), "n1")
    node = Node(
        "n1", "", pod_cidrs("n1", [ip_network("10.244.1.0/24")]), (ip_address("192.0.2.11"),)
    )
    compiler.set_node(node)
    port = ServicePort("http", "TCP", 80)
    ips = (ip_address("10.96.0.10"),)
    compiler.set_service(Service("shop", "web", cluster_ips=ips, ports=(port,)))
    endpoints = tuple(
        Endpoint(ip_address(0x0A800000 + number), "n2") for number in range(ENDPOINTS)
    )
    ports = (("http", "TCP", 8080),)
    compiler.set_slice(EndpointSlice("shop", "web-1", "web", ports, endpoints))  # type: ignore[arg-type]
    reconciler = Reconciler(compiler)
    reconciler.replace_actual(values(compiler.state))
    return Rows(compiler.state, reconciler), reconciler, compiler


async def with_turns(work: Coroutine[Any, Any, T]) -> tuple[T, int]:
    """What comes of it, and how often others had their turn meanwhile."""
    task = asyncio.ensure_future(work)
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    return task.result(), turns


async def test_show_tells_rows_in_order_and_lets_others_have_their_turn() -> None:
    rows, _, compiler = world()
    shown, turns = await with_turns(rows.show("all", ""))
    assert turns > 3
    assert len(shown) == len(compiler.state)
    assert shown == sorted(shown, key=lambda row: (TABLES.index(row["table"]), row["key"]))
    assert {row["state"] for row in shown} == {"in kernel"}


async def test_show_tells_one_table_and_what_one_object_asks_for() -> None:
    rows, *_ = world()
    slices = await rows.show("elements", "endpointslice/shop/web-1")
    assert len(slices) == ENDPOINTS
    assert {row["table"] for row in await rows.show("routes", "")} <= {"routes"}
    assert await rows.show("elements", "EndpointSlice/other") == []


async def test_what_is_late_is_reported_alone() -> None:
    rows, reconciler, compiler = world()
    (late, pending), turns = await with_turns(rows.late())
    assert (late, pending) == ([], 0)
    assert turns > 3
    missing, *_ = (key for key in compiler.state if key.table == "elements")
    del reconciler.actual[missing]
    reconciler.actual[STRAY] = Element(("drop",))
    late, pending = await rows.late()
    assert [(row["key"], row["state"]) for row in late] == [(str(missing), "pending")]
    assert pending == 2
    # An incomplete view deletes nothing, so that is not pending.
    assert (await rows.late(complete=False))[1] == 1


async def test_what_the_kernel_refuses_is_reported_with_its_reason() -> None:
    rows, reconciler, compiler = world()
    reconciler.observe(next(k for k in compiler.state if k.table == "elements"), None)
    (change,) = reconciler.plan().changes
    reconciler.settle([change], [Failure(change, KernelError("add it", detail="no room"))])
    late, pending = await rows.late()
    assert [row["state"] for row in late] == ["failed: add it: no room"]
    assert pending == 1


def test_what_the_kernel_refused_is_told_without_a_look_at_the_rest() -> None:
    rows, reconciler, compiler = world()
    reconciler.observe(STRAY, Element())
    assert rows.refused() == []
    refused = next(change for change in reconciler.plan().changes if change.key == STRAY)
    reconciler.settle((), [Failure(refused, KernelError("delete", 1))])
    assert rows.refused() == []  # no object asks for it
    key = next(iter(compiler.state))
    reconciler.observe(key, None)
    (change,) = reconciler.plan().changes
    reconciler.settle((), [Failure(change, KernelError("add", 12))])
    (row,) = rows.refused()
    assert (row["key"], row["state"][:6]) == (str(key), "failed")
