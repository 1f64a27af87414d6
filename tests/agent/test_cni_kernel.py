"""The verbs, from the installed plugin down to the kernel."""

import ipaddress
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from steppe.state.workload import host_mac, link_name, pod_mac
from steppe_lab import netns
from steppe_lab.kubelet.cni import Attachment as CniAttachment
from steppe_lab.kubelet.cni import Cni
from steppe_lab.kubelet.cniconf import load_first
from tests.agent.cni_node import UNGUARDED
from tests.agent.cni_world import Answer, Node, addresses, node, wait_for

pytestmark = pytest.mark.kernel
__all__ = ["node"]


def ping(source: str, target: str) -> bool:
    argv = ["ping", "-n", "-c1", "-W2", target]
    done = netns.inside(
        Path(source).name, lambda: subprocess.run(argv, capture_output=True, check=False)
    )
    return done.returncode == 0


def test_add_makes_pods_that_reach_each_other_and_the_node(node: Node) -> None:
    node.start()
    node.ip("address", "add", "192.0.2.1/32", "dev", "lo")
    node.ip("address", "add", "2001:db8::1/128", "dev", "lo", "nodad")
    forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    argv = ["sysctl", "-qw", *forwarding]
    netns.inside(node.name, lambda: subprocess.run(argv, check=True))
    web, db = node.pod("web"), node.pod("db")
    node.add("web", web)
    others = addresses(node.add("db", db)) | {"192.0.2.1/32", "2001:db8::1/128"}
    assert [target for target in others if not ping(web, target.split("/")[0])] == []
    # Permanent neighbours at both ends: nobody ever asks by ARP or NDP.
    for namespace, amount in (("", 4), (web, 2)):
        states = [one["state"] for one in node.ip("neighbour", "show", namespace=namespace)]
        assert states == [["PERMANENT"]] * amount


def test_the_result_tells_what_is_in_the_kernel(node: Node) -> None:
    node.start()
    path = node.pod("web")
    result = node.add("web", path).out
    link = link_name("u-web")
    assert result == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": link, "mac": host_mac(link), "mtu": 1450},
            {"name": "eth0", "mac": pod_mac(link), "mtu": 1450, "sandbox": path},
        ],
        "ips": [
            {"address": "10.244.1.1/32", "gateway": "169.254.1.1", "interface": 1},
            {"address": "fd00:10:244:1::1/128", "gateway": "fe80::1", "interface": 1},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, {"dst": "::/0", "gw": "fe80::1"}],
        "dns": {},
    }
    (inside,) = node.ip("address", "show", "dev", "eth0", namespace=path)
    assert (inside["address"], inside["mtu"], inside["operstate"]) == (pod_mac(link), 1450, "UP")
    assert [a["local"] for a in inside["addr_info"]] == ["10.244.1.1", "fd00:10:244:1::1"]
    assert not any(a.get("tentative") for a in inside["addr_info"])
    assert node.pod_links() == {link: "default/web 10.244.1.1 fd00:10:244:1::1 c-web/eth0"}
    assert node.told() == [f"attached default/web {link}"]


@pytest.mark.parametrize(
    ("version", "ip"),
    [
        ("0.3.1", {"version": "4", "address": "10.244.1.1/32", "gateway": "169.254.1.1"}),
        ("0.4.0", {"version": "4", "address": "10.244.1.1/32", "gateway": "169.254.1.1"}),
        ("1.0.0", {"address": "10.244.1.1/32", "gateway": "169.254.1.1"}),
    ],
)
def test_older_versions_get_their_own_shape(node: Node, version: str, ip: dict[str, str]) -> None:
    node.start()
    result = node.add("web", node.pod("web"), cniVersion=version).out
    assert result["cniVersion"] == version
    assert result["ips"][0] == {**ip, "interface": 1}
    assert all("mtu" not in interface for interface in result["interfaces"])
    assert node.delete("web", cniVersion=version) == Answer(0, None)


def test_a_chained_add_prints_back_what_came_before(node: Node) -> None:
    node.start()
    before = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "wg0", "sandbox": "x"}],
        "ips": [{"address": "192.0.2.9/24", "interface": 0}],
        "routes": [{"dst": "192.0.2.0/24"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    }
    result = node.add("web", node.pod("web"), prevResult=before).out
    assert [interface["name"] for interface in result["interfaces"]] == [
        "wg0",
        link_name("u-web"),
        "eth0",
    ]
    assert [(ip["address"], ip["interface"]) for ip in result["ips"]] == [
        ("192.0.2.9/24", 0),
        ("10.244.1.1/32", 2),
        ("fd00:10:244:1::1/128", 2),
    ]
    assert len(result["routes"]) == 3
    assert result["dns"] == {"nameservers": ["192.0.2.53"]}


def test_one_family_is_enough(node: Node) -> None:
    node.start("fd00:10:244:1::/64")
    result = node.add("web", node.pod("web")).out
    assert [ip["address"] for ip in result["ips"]] == ["fd00:10:244:1::1/128"]
    assert [route["dst"] for route in result["routes"]] == ["::/0"]


def test_del_is_repeatable_and_needs_neither_namespace_nor_add(node: Node) -> None:
    node.start()
    path = node.pod("web")
    assert node.delete("web", path) == Answer(0, None)
    node.add("web", path)
    assert node.delete("web", path) == Answer(0, None)
    assert node.delete("web", path) == Answer(0, None)
    assert node.pod_links() == {}
    assert [one["ifname"] for one in node.ip("link", "show", namespace=path)] == ["lo"]
    node.add("web", path)
    node.end_pod(path)
    assert node.delete("web", path) == Answer(0, None)
    assert node.delete("web") == Answer(0, None)


def test_a_late_del_of_an_earlier_sandbox_leaves_its_successor(node: Node) -> None:
    node.start()
    first = addresses(node.add("web", node.pod("one"), "first"))
    second = addresses(node.add("web", node.pod("two"), "second"))
    assert not first & second
    assert node.delete("web", container="first") == Answer(0, None)
    (alias,) = node.pod_links().values()
    assert alias.endswith("second/eth0")
    link = link_name("u-web")
    told = [f"attached default/web {link}", f"detached {link}", f"attached default/web {link}"]
    assert node.told() == told
    assert node.delete("web", container="second") == Answer(0, None)
    assert node.pod_links() == {}


def test_del_without_the_pods_uid_finds_the_container(node: Node) -> None:
    node.start()
    node.add("web", node.pod("web"))
    env = node.env("web") | {"CNI_ARGS": ""}
    assert node.call("DEL", env) == Answer(0, None)
    assert node.pod_links() == {}


def test_a_second_add_is_refused_and_harms_nothing(node: Node) -> None:
    node.start()
    path = node.pod("web")
    node.add("web", path)
    before = node.pod_links()
    again = node.add("web", path)
    assert (again.code, again.out["code"]) == (1, 100)
    assert "pod default/web" in again.out["msg"]
    assert "eth0 exists already" in again.out["msg"]
    assert "DEL" in again.out["details"]
    assert node.pod_links() == before


def test_an_interface_of_another_is_neither_taken_nor_removed(node: Node) -> None:
    node.start()
    path = node.pod("web")
    node.ip("link", "add", "eth0", "type", "veth", "peer", "name", "theirs", namespace=path)
    refused = node.add("web", path)
    assert (refused.code, refused.out["code"]) == (1, 100)
    assert node.pod_links() == {}
    assert {one["ifname"] for one in node.ip("link", "show", namespace=path)} == {
        "lo",
        "eth0",
        "theirs",
    }


@pytest.mark.parametrize(
    ("path", "code"), [("/nonexistent", 4), ("/etc/hostname", 4), ("/run/netns", 4)]
)
def test_an_unreadable_namespace_is_named(node: Node, path: str, code: int) -> None:
    node.start()
    refused = node.add("web", path)
    assert (refused.code, refused.out["code"]) == (1, code)
    assert "pod default/web" in refused.out["msg"]
    assert path in refused.out["msg"]
    assert "CNI_NETNS" in refused.out["msg"]


def test_the_nodes_own_namespace_is_error_8(node: Node) -> None:
    node.start()
    refused = node.add("web", f"/run/netns/{node.name}")
    assert (refused.code, refused.out["code"]) == (1, 8)
    assert node.pod_links() == {}


def test_an_exhausted_prefix_is_said_with_its_cure_and_frees_again(node: Node) -> None:
    node.start("10.244.1.0/30,fd00:10:244:1::/64")
    assert node.call("STATUS") == Answer(0, None)
    for name in ("a", "b"):
        addresses(node.add(name, node.pod(name)))
    refused = node.add("c", node.pod("c"))
    assert (refused.code, refused.out["code"]) == (1, 11)
    assert "node-a's prefix 10.244.1.0/30 is used up (2 pods)" in refused.out["msg"]
    assert "add a node" in refused.out["msg"]
    assert node.call("STATUS").out["code"] == 50
    node.delete("a")
    assert node.call("STATUS") == Answer(0, None)
    assert "10.244.1.1/32" in addresses(node.add("c", "/run/netns/" + f"{node.name}-c"))


def test_a_node_without_prefix_says_so(node: Node) -> None:
    node.start("")
    refused = node.add("web", node.pod("web"))
    assert (refused.code, refused.out["code"]) == (1, 11)
    assert "no pod prefix yet" in refused.out["msg"]
    assert node.call("STATUS").out["code"] == 50


def test_fifty_adds_at_once_get_fifty_addresses(node: Node) -> None:
    node.start()
    paths = {f"p{number}": node.pod(f"p{number}") for number in range(50)}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda item: node.add(*item), paths.items()))
    assert len(set.union(*map(addresses, answers))) == 100
    assert len(node.pod_links()) == 50
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda name: node.delete(name).code, paths)) == {0}
    assert node.pod_links() == {}


def test_an_address_is_not_given_again_at_once(node: Node) -> None:
    node.start()
    seen: list[str] = []
    for name in ("a", "b", "c"):
        seen += addresses(node.add(name, node.pod(name)))
        node.delete(name)
    assert len(set(seen)) == 6


def test_addresses_that_the_node_itself_has_are_not_given_out(node: Node) -> None:
    node.ip("address", "add", "10.244.1.1/24", "dev", "lo")
    node.start()
    assert "10.244.1.2/32" in addresses(node.add("web", node.pod("web")))


STEPS = ("checked", "reserved", "link made", "pod side", "host side", "alias set")


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_of_add_nothing_leaks(node: Node, step: str) -> None:
    path = node.pod("web")
    node.start()
    other = addresses(node.add("other", node.pod("other")))
    node.stop()
    node.start(fatal_step=step)
    broken = node.add("web", path)
    assert (broken.code, broken.out["code"]) == (1, 11)
    assert "pod default/web" in broken.out["msg"]
    node.has_died()
    node.start()
    complete = step == "alias set"
    assert len(node.pod_links()) == (2 if complete else 1)
    assert all(node.pod_links().values())
    # "Runtime M still DEL after a failed ADD"
    assert node.delete("web", path) == Answer(0, None)
    assert len(node.pod_links()) == 1
    assert [one["ifname"] for one in node.ip("link", "show", namespace=path)] == ["lo"]
    assert not addresses(node.add("web", path, "retry")) & other
    routes = {route["dst"] for route in node.ip("route", "show", "proto", "83")}
    assert len(routes) == 2


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_a_new_sandbox_can_be_added_at_once(node: Node, step: str) -> None:
    node.start(fatal_step=step)
    node.add("web", node.pod("one"), "first")
    node.has_died()
    node.start()
    others = addresses(node.add("other", node.pod("other")))
    assert not addresses(node.add("web", node.pod("two"), "second")) & others
    assert len(node.pod_links()) == 2


def test_killed_amid_many_adds_nothing_leaks_and_no_address_is_twice(node: Node) -> None:
    node.start(fatal_step="pod side:15")
    paths = {f"p{number}": node.pod(f"p{number}") for number in range(24)}
    with ThreadPoolExecutor(6) as pool:
        answers = dict(zip(paths, pool.map(lambda one: node.add(*one), paths.items()), strict=True))
    node.has_died()
    failed = [name for name, answer in answers.items() if answer.code]
    assert {answers[name].out["code"] for name in failed} == {11}
    node.start()
    for name in failed:
        assert node.delete(name) == Answer(0, None)
    assert len(node.pod_links()) == len(paths) - len(failed) > 0
    with ThreadPoolExecutor(6) as pool:
        again = pool.map(lambda name: node.add(name, paths[name], f"again-{name}"), failed)
        answers.update(zip(failed, again, strict=True))
    assert len(set.union(*map(addresses, answers.values()))) == 48


@pytest.mark.parametrize("step", ["found", "link removed"])
def test_killed_at_any_step_of_del_it_can_be_repeated(node: Node, step: str) -> None:
    path = node.pod("web")
    node.start(fatal_step=step)
    node.add("web", path)
    assert node.delete("web", path).out["code"] == 11
    node.has_died()
    node.start()
    assert node.delete("web", path) == Answer(0, None)
    assert node.pod_links() == {}


def test_a_restarted_agent_knows_its_pods(node: Node) -> None:
    node.start()
    first = addresses(node.add("web", node.pod("web")))
    node.stop()
    node.start()
    assert node.told()[-1] == f"attached default/web {link_name('u-web')}"
    assert not addresses(node.add("db", node.pod("db"))) & first


@pytest.mark.parametrize("restarted", [False, True])
def test_a_link_removed_by_hand_is_made_again(node: Node, restarted: bool) -> None:
    node.start()
    path, other = node.pod("web"), node.pod("db")
    result = node.add("web", path).out
    node.add("db", other)
    if restarted:
        node.stop()
        node.start()
    before = node.pod_links()
    node.ip("link", "del", link_name("u-web"))
    # Its addresses stay its own meanwhile.
    assert not addresses(node.add("next", node.pod("next"))) & addresses(Answer(0, result))
    node.repair()
    wait_for(lambda: before.items() <= node.pod_links().items(), "the link is back")
    assert node.call("CHECK", node.env("web", path), prevResult=result) == Answer(0, None)
    assert len(node.pod_links()) == 3


def test_a_link_that_went_with_its_pod_is_forgotten(node: Node) -> None:
    node.start("10.244.1.0/30")
    path = node.pod("web")
    first = addresses(node.add("web", path))
    node.end_pod(path)
    wait_for(lambda: not node.pod_links(), "the kernel has taken the link")
    node.repair()
    wait_for(lambda: node.told()[-1].startswith("detached"), "the agent is told")
    node.add("a", node.pod("a"))
    assert addresses(node.add("b", node.pod("b"))) == first


def test_a_path_that_now_leads_elsewhere_is_not_repaired(node: Node) -> None:
    node.start()
    path, other = node.pod("web"), node.pod("other")
    node.add("web", path)
    node.end_pod(path)
    wait_for(lambda: not node.pod_links(), "the kernel has taken the link")
    node.name_again(path, other)
    node.repair()
    wait_for(lambda: node.told()[-1].startswith("detached"), "the agent is told")
    assert [one["ifname"] for one in node.ip("link", "show", namespace=path)] == ["lo"]


def test_check_is_silent_right_after_add(node: Node) -> None:
    node.start()
    path = node.pod("web")
    result = node.add("web", path).out
    assert node.call("CHECK", node.env("web", path), prevResult=result) == Answer(0, None)
    # Later plugins of a chain may add routes, and change MAC and MTU as the result then says.
    node.ip("route", "add", "192.0.2.0/24", "dev", "eth0", namespace=path)
    node.ip("link", "set", "eth0", "mtu", "1400", namespace=path)
    assert node.call("CHECK", node.env("web", path), prevResult=result).code == 1
    result["interfaces"][1]["mtu"] = 1400
    assert node.call("CHECK", node.env("web", path), prevResult=result) == Answer(0, None)


@pytest.mark.parametrize(
    ("inside", "words", "named"),
    [
        (True, ("address", "del", "10.244.1.1/32", "dev", "eth0"), "10.244.1.1/32 dev eth0"),
        (True, ("route", "del", "default"), "0.0.0.0/0"),
        (True, ("-6", "route", "del", "default"), "::/0"),
        (True, ("neighbour", "del", "169.254.1.1", "dev", "eth0"), "169.254.1.1 dev eth0"),
        (True, ("link", "set", "eth0", "down"), "eth0"),
        (False, ("route", "del", "10.244.1.1/32"), "10.244.1.1/32"),
        (False, ("link", "del", link_name("u-web")), "is gone"),
    ],
)
def test_check_names_what_is_missing(
    node: Node, inside: bool, words: tuple[str, ...], named: str
) -> None:
    node.start()
    path = node.pod("web")
    result = node.add("web", path).out
    node.ip(*words, namespace=path if inside else "")
    found = node.call("CHECK", node.env("web", path), prevResult=result)
    assert (found.code, found.out["code"]) == (1, 101)
    assert "pod default/web" in found.out["msg"]
    assert named in found.out["details"]


def test_check_holds_prev_result_against_the_kernel(node: Node) -> None:
    node.start()
    path = node.pod("web")
    result = node.add("web", path).out
    result["ips"][0]["address"] = "10.244.1.77/32"
    found = node.call("CHECK", node.env("web", path), prevResult=result)
    assert "10.244.1.1" in found.out["msg"]


def test_gc_keeps_what_is_listed_and_only_that(node: Node) -> None:
    node.start()
    for name in ("a", "b", "c"):
        node.add(name, node.pod(name))
    # Another tool's link on the node is nobody's attachment.
    node.ip("link", "add", "other0", "type", "veth", "peer", "name", "other1")
    keep = [{"containerID": "c-b", "ifname": "eth0"}]
    assert node.call("GC", **{"cni.dev/valid-attachments": keep}) == Answer(0, None)
    assert list(node.pod_links()) == [link_name("u-b")]
    assert node.call("GC", **{"cni.dev/valid-attachments": []}) == Answer(0, None)
    assert node.pod_links() == {}
    assert node.ip("link", "show", "other0")


def test_gc_without_a_list_removes_only_what_is_half_made(node: Node) -> None:
    node.start()
    node.add("web", node.pod("web"))
    half = link_name("u-half")
    node.ip("link", "add", half, "type", "veth", "peer", "name", "x")
    assert node.call("GC") == Answer(0, None)
    assert list(node.pod_links()) == [link_name("u-web")]


def test_a_runtimes_library_gets_along_with_the_conflist(node: Node) -> None:
    node.start()
    network = load_first(node.folder / "net.d")
    assert network is not None
    cni = Cni((node.folder / "bin",), node.folder / "cache")
    args = (("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", "default"), ("K8S_POD_NAME", "web"))
    one = CniAttachment("f" * 64, node.pod("web"), args=(*args, ("K8S_POD_UID", "u")))
    two = CniAttachment("e" * 64, node.pod("db"))

    def work() -> None:
        cni.status(network)
        for attachment in (one, two):
            cni.add(network, attachment)
            cni.check(network, attachment)
        assert cni.collect(network, [one]) == ()
        assert list(node.pod_links()) == [link_name("u")]
        for _ in range(2):
            cni.delete(network, one)
        assert node.pod_links() == {}

    netns.inside(node.name, work)


def test_every_verb_says_that_the_agent_is_down(node: Node) -> None:
    path = node.pod("web")
    env = node.env("web", path)
    assert node.call("ADD", env).out["code"] == 11
    assert node.call("DEL", env).out["code"] == 11
    assert node.call("CHECK", env, prevResult={}).out["code"] == 11
    assert node.call("GC").out["code"] == 11
    assert node.call("STATUS").out["code"] == 50
    down = node.call("ADD", env).out
    assert "pod default/web" in down["msg"]
    assert str(node.socket) in down["msg"]
    assert "start the agent" in down["details"]


def test_a_pod_without_kubernetes_is_attached_too(node: Node) -> None:
    node.start()
    env = node.env("x", node.pod("x"), "cnitool-77383ca0a0715733ca6f") | {"CNI_ARGS": ""}
    assert node.call("ADD", env).code == 0
    (alias,) = node.pod_links().values()
    assert ipaddress.ip_address(alias.split(" ")[1])
    assert node.call("DEL", env) == Answer(0, None)
    wait_for(lambda: not node.pod_links(), "the link is gone", 1)


def test_a_pod_that_cannot_be_guarded_is_undone_and_tried_again_later(node: Node) -> None:
    node.start(fatal_step=UNGUARDED)
    answer = node.add("web", node.pod("web"))
    assert (answer.code, answer.out["code"]) == (1, 11)
    assert "the policies of Pod/default/web are not known" in answer.out["msg"]
    assert node.pod_links() == {}
    assert [line.split()[0] for line in node.told()] == ["attached", "detached"]
    node.stop()
    node.start()
    assert node.add("web", f"/run/netns/{node.name}-web").code == 0
