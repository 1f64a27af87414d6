"""The verbs over a kernel in memory: what no real kernel can be made to refuse when one wants."""

from collections.abc import Callable
from errno import EEXIST
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from steppe.agent.cni.attach import run
from steppe.agent.cni.request import request_from
from steppe.drivers.errors import KernelError
from steppe.drivers.fake_namespaces import OWN
from steppe.kube.objects import Workload
from steppe.state.device import Veth
from steppe.state.link import AddressKey, Link, LinkKey, NeighbourKey
from steppe.state.route import RouteKey
from steppe.state.sysctl import SysctlKey
from steppe.state.workload import POD_GROUP, host_mac, link_name, pod_mac
from tests.agent.cni_fake import FAMILIES, FakeNode, Nth, document, env, path

LINK = link_name("u-web")
STEPS = ["checked", "reserved", "link made", "pod side", "host side", "alias set"]
families = pytest.mark.parametrize("prefixes", FAMILIES.values(), ids=FAMILIES.keys())


def settings(link: str = LINK) -> list[SysctlKey]:
    return [
        SysctlKey(f"net/ipv4/conf/{link}/rp_filter"),
        SysctlKey(f"net/ipv4/conf/{link}/arp_ignore"),
        SysctlKey(f"net/ipv6/conf/{link}/accept_ra"),
    ]


def arp(prefixes: tuple[str, ...]) -> int:
    """How many settings of ARP a pod's link has."""
    return sum("." in prefix for prefix in prefixes)


def ips(answer: Any) -> list[str]:
    code, out = answer
    assert code == 0, out
    return [ip["address"] for ip in out["ips"]]


@families
async def test_add_makes_both_sides_and_del_takes_all_of_it_away(prefixes: tuple[str, ...]) -> None:
    node = FakeNode(prefixes)
    pod = node.pod("web")
    _, out = await node.add("web")
    wanted = [str(ip_network(prefix)[1]) for prefix in prefixes]
    assert [ip["address"].split("/")[0] for ip in out["ips"]] == wanted
    inside = pod.read()
    assert inside[LinkKey("eth0")] == Link(Veth(), 1450, pod_mac(LINK))
    assert {str(key.address.ip) for key in inside if isinstance(key, AddressKey)} == {*wanted}
    assert len([key for key in inside if isinstance(key, RouteKey | NeighbourKey)]) == 2 * len(
        prefixes
    )
    host = node.kernel.read(settings())
    alias = f"default/web {' '.join(wanted)} c-web/eth0"
    assert host[LinkKey(LINK)] == Link(Veth(), 1450, host_mac(LINK), alias, group=POD_GROUP)
    # A route, a neighbour and the guard of the source a family, beside the link; and ARP's setting.
    assert len(host) == 1 + 3 * len(prefixes) + arp(prefixes)
    assert node.steps == STEPS
    assert await node.delete("web") == (0, None)
    assert node.kernel.read(settings()) == pod.read() == {}
    assert await node.delete("web") == (0, None)
    assert node.told.words == ["attached web", f"detached {LINK}"]


async def changes_of_an_add(prefixes: tuple[str, ...]) -> int:
    node, count = FakeNode(prefixes), Nth()
    node.pod("web").refuse = node.kernel.refuse = count
    await node.add("web")
    return len(count.asked)


@families
async def test_whatever_change_is_refused_the_add_is_undone_and_can_be_tried_again(
    prefixes: tuple[str, ...],
) -> None:
    total = await changes_of_an_add(prefixes)
    assert total == 3 + 6 * len(prefixes) + arp(prefixes)
    for number in range(total):
        node = FakeNode(prefixes)
        pod = node.pod("web")
        refusal = Nth(lambda n, number=number: n == number)
        pod.refuse = node.kernel.refuse = refusal
        code, out = await node.add("web")
        assert (code, out["code"]) == (1, 102)
        assert "ADD of pod default/web" in out["msg"]
        assert str(refusal.asked[number].key) in out["msg"]
        assert node.kernel.read(settings()) == pod.read() == {}
        assert node.told.words == []
        assert len(ips(await node.add("web"))) == len(prefixes)


@families
async def test_where_even_undoing_is_refused_a_half_made_link_is_cleared_by_the_next_add_or_agent(
    prefixes: tuple[str, ...],
) -> None:
    for number in range(1, await changes_of_an_add(prefixes)):
        for restarted in (False, True):
            node = FakeNode(prefixes)
            pod = node.pod("web")
            pod.refuse = node.kernel.refuse = Nth(lambda n, number=number: n >= number)
            code, _ = await node.add("web")
            assert code == 1
            assert node.pod_links() == {LINK: ""}
            pod.refuse = node.kernel.refuse = lambda _: 0
            if restarted:
                node.start()
                assert node.attachments.clean_up() == ()
                assert node.pod_links() == {}
                assert pod.read() == {}
            assert len(ips(await node.add("web"))) == len(prefixes)


@pytest.mark.parametrize("step", STEPS)
@families
async def test_an_add_that_stops_after_any_step_is_complete_or_not_there(
    prefixes: tuple[str, ...], step: str
) -> None:
    node = FakeNode(prefixes)
    node.pod("web")
    request = request_from(document("ADD", env("web")))
    steps = node.attachments.add(request)
    for name in steps:
        if name == step:
            break
    node.start()  # and the steps are never taken up again
    complete = node.attachments.clean_up()
    assert [w.name for w in complete] == (["web"] if step == "alias set" else [])
    assert len(node.pod_links()) == len(complete)
    assert await node.delete("web") == (0, None)
    assert node.kernel.read(settings()) == node.pods["web"].read() == {}
    assert len(ips(await node.add("web", "retry"))) == len(prefixes)


async def test_a_del_that_the_kernel_refuses_is_an_error_and_can_be_repeated() -> None:
    node = FakeNode()
    node.pod("web")
    await node.add("web")
    node.kernel.refuse = lambda _: 16
    code, out = await node.delete("web")
    assert (code, out["code"]) == (1, 102)
    assert "DEL of pod default/web" in out["msg"]
    node.kernel.refuse = lambda _: 0
    assert await node.delete("web") == (0, None)
    assert node.pod_links() == {}


async def test_a_late_del_of_an_earlier_sandbox_leaves_its_successor() -> None:
    node = FakeNode()
    node.pod("web")
    first = ips(await node.add("web", "first"))
    node.pod("web")
    second = ips(await node.add("web", "second"))
    assert not {*first} & {*second}
    assert await node.delete("web", "first") == (0, None)
    assert list(node.pod_links()) == [LINK]
    assert await node.delete("web", "second") == (0, None)
    assert node.pod_links() == {}
    words = ["attached web", f"detached {LINK}", "attached web", f"detached {LINK}"]
    assert node.told.words == words


async def test_a_container_is_found_without_the_pods_uid() -> None:
    node = FakeNode()
    node.pod("web")
    await node.add("web")
    assert await node.call("DEL", env("web") | {"CNI_ARGS": ""}) == (0, None)
    assert node.pod_links() == {}


def own(_: FakeNode) -> dict[str, str]:
    return {"CNI_NETNS": OWN}


def nowhere(_: FakeNode) -> dict[str, str]:
    return {"CNI_NETNS": "/run/netns/nowhere"}


def taken_inside(node: FakeNode) -> dict[str, str]:
    node.pods["web"].connect("eth0", Link(Veth(), 1500, "02:00:00:00:00:01"), node.kernel, "x")
    return {}


def taken_outside(node: FakeNode) -> dict[str, str]:
    node.kernel.create_veth(LINK, Link(Veth(), 1500, "02:00:00:00:00:01", "mine"), "x", "", -1)
    return {}


def full(node: FakeNode) -> dict[str, str]:
    node.view.prefixes = (ip_network("10.244.1.0/31"), *node.view.prefixes[1:])
    return {}


def no_prefix(node: FakeNode) -> dict[str, str]:
    node.view.prefixes = ()
    return {}


def unguarded(node: FakeNode) -> dict[str, str]:
    node.told.guards = False
    return {}


@pytest.mark.parametrize(
    ("prepare", "code", "said"),
    [
        (own, 8, "is the node's own network namespace"),
        (nowhere, 4, "CNI_NETNS: network namespace /run/netns/nowhere"),
        (taken_inside, 100, "interface eth0 exists already in the container"),
        (taken_outside, 100, f"a link {LINK} that is not Steppe's"),
        (full, 11, "is used up"),
        (no_prefix, 11, "has no pod prefix yet"),
        (unguarded, 11, "the policies of Pod/default/web are not known"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_an_add_that_cannot_be_says_why_and_leaves_all_as_it_was(
    prepare: Callable[[FakeNode], dict[str, str]], code: int, said: str
) -> None:
    node = FakeNode()
    pod = node.pod("web")
    changed = prepare(node)
    before = node.kernel.read(), pod.read()
    exit_code, out = await node.call("ADD", env("web") | changed)
    assert (exit_code, out["code"]) == (1, code)
    assert said in out["msg"]
    assert "pod default/web" in out["msg"]
    assert (node.kernel.read(), pod.read()) == before


async def test_a_second_add_of_the_same_container_is_refused_and_harms_nothing() -> None:
    node = FakeNode()
    node.pod("web")
    await node.add("web")
    before = node.kernel.read()
    code, out = await node.add("web")
    assert (code, out["code"]) == (1, 100)
    assert "DEL" in out["details"]
    assert node.kernel.read() == before


async def test_the_nodes_own_addresses_and_those_of_a_lost_link_are_not_given_out() -> None:
    node = FakeNode()
    for name in ("web", "db"):
        node.pod(name)
    first = ips(await node.add("web"))
    node.kernel.remove(LinkKey(LINK))
    # The search goes round: only these stand in its way.
    node.attachments._addresses._last.clear()
    assert not {*first} & {*ips(await node.add("db"))}


async def test_status_says_whether_pods_can_be_attached() -> None:
    node = FakeNode(("10.244.1.0/30", "fd00:10:244:1::/64"))
    assert await node.call("STATUS") == (0, None)
    for name in ("a", "b"):
        node.pod(name)
        await node.add(name)
    code, out = await node.call("STATUS")
    assert (code, out["code"]) == (1, 50)
    assert "used up (2 pods)" in out["msg"]


async def test_a_verb_that_nobody_knows_and_a_request_that_is_none_are_refused() -> None:
    node = FakeNode()
    assert (await node.server.answer({}))["exit"] == 1
    code, out = await node.call("RENAME")
    assert (code, out["code"]) == (1, 4)


GONE = [
    ("pod", AddressKey, "10.244.1.1/"),
    ("pod", AddressKey, "fd00:10:244:1::1/"),
    ("pod", NeighbourKey, "169.254.1.1"),
    ("pod", NeighbourKey, "fe80::1"),
    ("pod", RouteKey, "0.0.0.0/0"),
    ("pod", RouteKey, "::/0"),
    ("node", NeighbourKey, "10.244.1.1"),
    ("node", NeighbourKey, "fd00:10:244:1::1"),
    ("node", RouteKey, "10.244.1.1/32"),
    ("node", RouteKey, "fd00:10:244:1::1/128"),
]


@pytest.mark.parametrize(("where", "kind", "text"), GONE)
async def test_check_is_silent_after_add_and_names_what_is_missing(
    where: str, kind: type, text: str
) -> None:
    node = FakeNode()
    pod = node.pod("web")
    _, result = await node.add("web")
    assert await node.call("CHECK", env("web"), prevResult=result) == (0, None)
    kernel = pod if where == "pod" else node.kernel
    (key,) = [key for key in kernel.read() if isinstance(key, kind) and str(key).startswith(text)]
    kernel.remove(key)
    code, out = await node.call("CHECK", env("web"), prevResult=result)
    assert (code, out["code"]) == (1, 101)
    assert f"{where}: {key.table} {key} is missing" in out["details"]
    inner = node.attachments.inner_faults(*node.attachments.clean_up())
    assert [fault.key for fault in inner] == ([key] if where == "pod" else [])


async def test_check_names_a_link_that_is_gone_or_another_sandboxs() -> None:
    node = FakeNode()
    node.pod("web")
    _, result = await node.add("web", "first")
    code, out = await node.call("CHECK", env("web", "second"), prevResult=result)
    assert "is now another sandbox's (first/eth0)" in out["msg"]
    node.kernel.remove(LinkKey(LINK))
    code, out = await node.call("CHECK", env("web", "first"), prevResult=result)
    assert (code, out["code"]) == (1, 101)
    assert f"the link {LINK} is gone" in out["msg"]


async def test_gc_keeps_what_is_listed_and_takes_what_is_half_made() -> None:
    node = FakeNode()
    for name in ("a", "b", "c"):
        node.pod(name)
        await node.add(name)
    half = link_name("u-half")
    node.kernel.create_veth(half, Link(Veth(), 1500, "02:00:00:00:00:01"), "x", "", -1)
    assert await node.call("GC") == (0, None)
    assert {*node.pod_links()} == {link_name(f"u-{name}") for name in "abc"}
    keep = [{"containerID": "c-b", "ifname": "eth0"}]
    assert await node.call("GC", **{"cni.dev/valid-attachments": keep}) == (0, None)
    assert list(node.pod_links()) == [link_name("u-b")]


async def test_gc_goes_on_past_a_refusal_and_reports_it() -> None:
    node = FakeNode()
    for name in ("a", "b"):
        node.pod(name)
        await node.add(name)
    kept = link_name("u-a")
    node.kernel.refuse = lambda change: 16 if str(change.key) == kept else 0
    code, out = await node.call("GC", **{"cni.dev/valid-attachments": []})
    assert (code, out["code"]) == (1, 103)
    assert kept in out["msg"]
    assert list(node.pod_links()) == [kept]


def the_pod(node: FakeNode) -> Workload:
    (found,) = [one.workload for one in node.attachments.found() if one.workload is not None]
    return found


@pytest.mark.parametrize("restarted", [False, True])
@families
async def test_a_link_removed_by_hand_is_made_again(
    prefixes: tuple[str, ...], restarted: bool
) -> None:
    node = FakeNode(prefixes)
    pod = node.pod("web")
    _, result = await node.add("web")
    workload = the_pod(node)
    if restarted:
        node.start()
        assert node.attachments.clean_up() == (workload,)
    before = node.kernel.read(settings()), pod.read()
    node.kernel.remove(LinkKey(LINK))
    assert pod.read() == {}
    for _ in range(2):
        assert await node.server.repair(workload)
        assert (node.kernel.read(settings()), pod.read()) == before
    assert await node.call("CHECK", env("web"), prevResult=result) == (0, None)


async def test_a_repair_that_fails_leaves_nothing_half_made_and_is_tried_again() -> None:
    node = FakeNode()
    pod = node.pod("web")
    await node.add("web")
    workload = the_pod(node)
    node.kernel.remove(LinkKey(LINK))
    pod.refuse = lambda change: 1 if isinstance(change.key, RouteKey) else 0
    with pytest.raises(KernelError, match="route"):
        await node.server.repair(workload)
    assert node.pod_links() == {}
    pod.refuse = lambda _: 0
    assert await node.server.repair(workload)
    assert list(node.pod_links()) == [LINK]


async def test_a_pod_that_is_gone_or_whose_path_leads_elsewhere_is_forgotten() -> None:
    for elsewhere in (False, True):
        node = FakeNode()
        node.pod("web")
        await node.add("web")
        workload = the_pod(node)
        node.namespaces.end(path("web"))
        assert node.pod_links() == {}
        if elsewhere:
            node.pod("web")
            assert node.attachments.inner_faults(workload) == ()
        assert not await node.server.repair(workload)
        assert node.told.words[-1] == f"detached {LINK}"
        assert await node.server.inner_faults(workload) == ()
        assert await node.server.in_pod(workload, str) is None
        assert not await node.server.repair(workload), "it is known no more"


async def test_inner_faults_of_a_whole_node_are_none_right_after_the_adds() -> None:
    node = FakeNode()
    for name in ("a", "b"):
        node.pod(name)
        await node.add(name)
    for one in node.attachments.found():
        assert await node.server.inner_faults(one.workload) == ()
        seen = await node.server.in_pod(one.workload, lambda fd: node.kernel.inside[fd].read())
        assert seen is not None
        assert LinkKey("eth0") in seen


async def test_the_veth_pair_fails_as_the_kernels_does_where_a_name_is_taken() -> None:
    node = FakeNode()
    node.pod("web")
    await node.add("web")
    (netns,) = [fd for fd, kernel in node.kernel.inside.items() if kernel is node.pods["web"]]
    link = Link(Veth(), 1500, host_mac(LINK))
    for name in (LINK, link_name("u-other")):
        with pytest.raises(KernelError, match="exists") as caught:
            node.kernel.create_veth(name, link, "eth0", pod_mac(LINK), netns)
        assert caught.value.errno == EEXIST


def test_every_step_of_an_add_is_reported_as_it_is_done() -> None:
    node = FakeNode()
    node.pod("web")
    done: list[str] = []
    workload = run(node.attachments.add(request_from(document("ADD", env("web")))), done.append)
    assert done == STEPS
    assert workload.addresses[0] == ip_address("10.244.1.1")
