"""What is read beside the tables: others' rules, routes, settings, neighbours, IPsec; flows."""

from errno import EMFILE, EPROTONOSUPPORT
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from steppe.drivers.errors import KernelError
from steppe.drivers.inspection import KernelInspection
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables import legacy
from steppe.drivers.surroundings import registry, xfrm
from steppe.drivers.surroundings.look import Look
from steppe.net.address import IPNetwork
from steppe.state.document import surroundings_document, surroundings_from
from steppe.state.route import RouteKey
from steppe.state.surroundings import OtherNeighbour, Surroundings, Unread
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

IT = KernelInspection(("inet", "steppe"), ("UDP",))
CLUSTER: tuple[IPNetwork, ...] = tuple(
    map(ip_network, ("10.244.0.0/16", "192.0.2.0/24", "fd00:10::/32"))
)
RULES = {
    "-4": (
        "90: from 10.244.1.0/24 to 10.244.4.0/24 lookup 100",
        "91: not from all fwmark 0x51/0xffffffff lookup 51820",
        "92: from all ipproto tcp dport 80-90 blackhole",
        "93: from all uidrange lookup 99",
        "94: from all iif lo lookup 254 suppress_prefixlength 0",
        "95: from all fwmark 0x10/0xf0 goto 32000",
    ),
    "-6": ("90: from fd00:10::/64 unreachable",),
}
ADDED = {
    "-4": (
        "from 10.244.1.0/24 to 10.244.4.0/24 lookup 100 pref 90",
        "not fwmark 0x51 lookup 51820 pref 91",
        "ipproto tcp dport 80-90 pref 92 blackhole",
        "uidrange 0-10 lookup 99 pref 93",
        "iif lo lookup main suppress_prefixlength 0 pref 94",
        "fwmark 0x10/0xf0 pref 95 goto 32000",
        # Steppe's own is no other's.
        "from 10.244.1.0/24 lookup 7473 pref 7473 protocol 83",
    ),
    "-6": ("from fd00:10::/64 pref 90 unreachable",),
}


def around(node: Namespace, *links: str) -> Surroundings:
    return call_in(node.fd, lambda: IT.surroundings(CLUSTER, links))


def test_every_ip_rule_is_read_with_its_selectors(node: Namespace) -> None:
    for family, rules in ADDED.items():
        for rule in rules:
            node.run("ip", family, "rule", "add", *rule.split(" "))
    told = [str(rule) for rule in around(node).rules if rule.is_special]
    assert told == [*RULES["-4"], *RULES["-6"]]
    assert {rule.priority for rule in around(node).rules if not rule.is_special} == {
        0,
        32766,
        32767,
    }


def test_routes_of_every_kind_and_table_are_read_where_they_concern_the_cluster(
    node: Namespace,
) -> None:
    node.run("ip", "address", "add", "10.244.2.5/32", "dev", "eth0")
    for kind in ("blackhole", "unreachable", "prohibit"):
        node.run(
            "ip", "route", "add", kind, "10.244.3.0/24", "table", "100", "metric", str(len(kind))
        )
    node.run("ip", "route", "add", "172.31.0.0/16", "dev", "eth0")
    node.run("ip", "route", "add", "10.244.4.0/24", "dev", "eth0", "protocol", "83")
    node.run("ip", "-6", "route", "add", "blackhole", "fd00:10:2::/64")
    found = {(each.key, each.route.kind) for each in around(node).routes}
    three, own = ip_network("10.244.3.0/24"), ip_network("10.244.2.5/32")
    wanted = {(RouteKey(three, 100, len(kind)), kind) for kind in ("blackhole", "prohibit")}
    wanted |= {(RouteKey(three, 100, 11), "unreachable"), (RouteKey(own, 255, 0), "local")}
    wanted |= {(RouteKey(ip_network("fd00:10:2::/64"), 254, 1024), "blackhole")}
    assert wanted <= found
    concerned = {ip_network("172.31.0.0/16"), ip_network("10.244.4.0/24")}
    assert concerned.isdisjoint(key.prefix for key, _ in found)


def test_links_settings_neighbours_and_ipsec_are_read(node: Namespace) -> None:
    mac = "02:00:00:00:00:99"
    node.run("ip", "neigh", "add", "192.0.2.12", "lladdr", mac, "nud", "permanent", "dev", "eth0")
    node.run("ip", "neigh", "add", "172.31.0.1", "lladdr", mac, "nud", "permanent", "dev", "eth0")
    for name, value in (("forwarding", 0), ("rp_filter", 2)):
        node.run("sysctl", "-qw", f"net.ipv4.conf.eth0.{name}={value}")
    block = "src 10.244.1.0/24 dst 10.244.2.0/24 proto tcp dport 80 dir out action block"
    node.run("ip", "xfrm", "policy", "add", *block.split(" "))
    ends = "tmpl src 2001:db8::1 dst 2001:db8::2 proto esp mode tunnel"
    policy = f"src fd00:10:1::/64 dst fd00:10:2::/64 dir fwd {ends}"
    node.run("ip", "xfrm", "policy", "add", *policy.split(" "))
    seen = around(node, "eth0")
    assert seen.neighbours == (OtherNeighbour("eth0", ip_address("192.0.2.12"), mac),)
    link = seen.link("eth0")
    assert link is not None
    assert (link.mtu, link.up) == (1500, True)
    assert seen.value("net/ipv4/conf/eth0/forwarding") == "0"
    assert seen.value("net/ipv4/conf/eth0/rp_filter") == "2"
    assert {str(policy) for policy in seen.xfrm} == {
        block,
        "src fd00:10:1::/64 dst fd00:10:2::/64 dir fwd action allow, with templates",
    }
    assert seen.unread == ()
    assert surroundings_from(surroundings_document(seen)) == seen
    node.run("ip", "link", "set", "eth0", "down")
    link = around(node).link("eth0")
    assert link is not None
    assert not link.up


def test_inside_a_pod_everything_is_read_whoever_made_it(node: Namespace) -> None:
    node.run("ip", "route", "add", "203.0.113.0/24", "dev", "eth0", "protocol", "83")
    prefixes = {str(each.key.prefix) for each in IT.inside(node.fd).routes}
    assert "203.0.113.0/24" in prefixes


def test_what_cannot_be_read_is_named_and_the_rest_is_read(
    node: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Look) -> tuple[()]:
        raise KernelError("list them", 105)

    monkeypatch.setitem(registry.READERS, "rules", fails)
    seen = around(node)
    assert seen.unread == (Unread("ip rules", "list them: No buffer space available"),)
    assert seen.links


@pytest.mark.parametrize(("errno", "unread"), [(EMFILE, ["IPsec policies"]), (EPROTONOSUPPORT, [])])
def test_only_a_kernel_without_ipsec_has_no_policies_for_want_of_a_socket(
    node: Namespace, monkeypatch: pytest.MonkeyPatch, errno: int, unread: list[str]
) -> None:
    def refused(**_: int) -> None:
        raise OSError(errno, "no socket")

    monkeypatch.setattr(xfrm, "NetlinkSocket", refused)
    assert [each.part for each in around(node).unread] == unread


def test_tables_of_iptables_legacy_that_cannot_be_listed_are_not_none(
    node: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert around(node).unread == ()
    (tmp_path / "names").touch()
    monkeypatch.setattr(legacy, "_NAMES", str(tmp_path / "names"))
    (unread,) = around(node).unread
    assert unread.part == "others' packet rules"
    assert unread.why.startswith("list iptables-legacy's tables: Not a directory")


def test_flows_are_read_and_ended(node: Namespace) -> None:
    assert call_in(node.fd, IT.tracked) == ()
    call_in(node.fd, lambda: IT.end(()))
