"""What an audit is told of beside the tables: others' rules, settings and routes, tracked flows."""

from ipaddress import ip_network

import pytest

from steppe.drivers import inspection
from steppe.drivers.inspection import KernelInspection, Other
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.netlink.socket import NetlinkError
from steppe.drivers.nftables.library import NftError
from steppe.state.route import RouteKey
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

OURS = RouteKey(ip_network("10.244.2.0/24"))
IT = KernelInspection(("inet", "steppe"), ("UDP",))


def others(node: Namespace, link: str = "eth0") -> dict[str, str]:
    return {each.entry: each.text for each in call_in(node.fd, lambda: IT.others([OURS], link))}


def set_filter(node: Namespace, link: str, value: int) -> None:
    node.run("sysctl", "-qw", f"net.ipv4.conf.{link}.rp_filter={value}")


def test_a_node_with_nothing_of_others_has_nothing_to_tell(node: Namespace) -> None:
    for link in ("all", "eth0"):
        set_filter(node, link, 0)
    assert others(node) == {}
    assert others(node, link="") == {}
    assert call_in(node.fd, IT.tracked) == ()
    call_in(node.fd, lambda: IT.end(()))


def test_rules_routes_and_settings_that_overrule_ours_are_told(node: Namespace) -> None:
    node.run("nft", "add table inet firewall")
    node.run(
        "nft", "add chain inet firewall in { type filter hook input priority 0; policy drop; }"
    )
    node.run("ip", "route", "add", str(OURS.prefix), "dev", "eth0", "metric", "5")
    set_filter(node, "all", 2)
    set_filter(node, "eth0", 1)
    told = others(node)
    assert told["inet firewall in (hook input)"] == "policy drop"
    assert any(e.startswith("route 10.244.2.0/24 metric 5 ") for e in told)
    texts = {entry: text.partition(":")[0] for entry, text in told.items() if "rp_filter" in entry}
    assert texts == {
        "net/ipv4/conf/eth0/rp_filter = 1": "strict",
    }


def test_what_cannot_be_read_is_told_as_such(
    node: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_rules(_: object) -> None:
        raise NftError("list tables: no memory")

    def no_routes(_: object) -> None:
        raise NetlinkError(105, "no buffer space")

    monkeypatch.setattr(inspection, "dropping", no_rules)
    monkeypatch.setattr(inspection, "preferred", no_routes)
    for link in ("all", "eth0"):
        set_filter(node, link, 0)
    rules, routes = call_in(node.fd, lambda: IT.others([OURS], "eth0"))
    assert rules == Other("nftables", "others' rules cannot be read: list tables: no memory")
    assert routes.entry == "routes"
    assert routes.text.startswith("others' routes cannot be read: ")
