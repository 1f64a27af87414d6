"""Our rtnetlink codec against two others: what `ip -j` and pyroute2 read of what we wrote."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink import link as nl_link
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink import neighbour, route
from steppe.drivers.netlink.message import MalformedError, Message, Request
from steppe.drivers.netlink.netns import NetnsError, open_netns
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.drivers.scope import pod as pod_scope
from steppe.plan.diff import Change
from steppe.state.device import Veth, Vxlan
from steppe.state.link import Address, AddressKey, Link, LinkKey, Neighbour, NeighbourKey
from steppe.state.route import Encap, Route, RouteKey, route_by
from tests.drivers.conftest import Namespace
from tests.drivers.test_contract import MAC, ON_VXLAN, POD, VETH, VX, VXLAN, hop, several
from tests.drivers.test_contract import route as a_route

ADDRESS = ip_address("192.0.2.11")


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_come_apart_as_they_were_put_together(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(nl.attribute(kind, payload) for kind, payload in pairs)
    assert nl.attributes(packed) == dict(pairs)


@given(st.binary(max_size=80))
def test_any_bytes_either_parse_or_are_malformed(data: bytes) -> None:
    for parse in (nl.attributes, lambda d: list(nl.messages(d))):
        try:
            parse(data)
        except MalformedError:
            continue


def reread(kind: type, request: Request) -> dict:
    """The attributes that pyroute2 finds in our message."""
    message = kind(nl.packed(request, 1, nl.NLM_F_REQUEST))
    message.decode()
    return {**{k: v for k, v in message.items() if isinstance(k, str)}, **dict(message["attrs"])}


def test_pyroute2_reads_our_routes() -> None:
    key, value = a_route(
        "10.244.2.0/24", via="192.0.2.12", link="eth0", source="192.0.2.11", mtu=1400, metric=5
    )
    found = reread(rtmsg, route.add_route(key, value, lambda _: 7))
    assert found["dst_len"] == 24
    assert found["proto"] == 83
    assert found["RTA_DST"] == "10.244.2.0"
    assert found["RTA_GATEWAY"] == "192.0.2.12"
    assert found["RTA_PREFSRC"] == "192.0.2.11"
    assert found["RTA_OIF"] == 7
    assert found["RTA_TABLE"] == 254
    assert found["RTA_PRIORITY"] == 5
    assert dict(found["RTA_METRICS"]["attrs"]) == {"RTAX_MTU": 1400}


def test_pyroute2_reads_our_routes_with_several_hops_and_of_the_other_family() -> None:
    key, value = several(
        "10.244.2.0/24",
        hop("192.0.2.12", weight=3),
        hop("2001:db8::12", onlink=True, encap=Encap(ip_address("192.0.2.9"), 5)),
    )
    found = reread(rtmsg, route.add_route(key, value, lambda _: 7))
    one, other = found["RTA_MULTIPATH"]
    assert (one["hops"], one["oif"], one["flags"]) == (2, 7, 0)
    assert dict(one["attrs"])["RTA_GATEWAY"] == "192.0.2.12"
    assert (other["hops"], other["oif"], other["flags"]) == (0, 7, 4)
    assert dict(other["attrs"])["RTA_VIA"] == {"family": 10, "addr": "2001:db8::12"}
    assert dict(other["attrs"])["RTA_ENCAP_TYPE"] == 2


def test_pyroute2_reads_our_neighbours() -> None:
    found = reread(ndmsg, neighbour.set_neighbour(ip_address("fe80::1"), MAC, 3))
    assert (found["ifindex"], found["state"]) == (3, 0x80)
    assert (found["NDA_DST"], found["NDA_LLADDR"]) == ("fe80::1", MAC)


def test_pyroute2_reads_our_links() -> None:
    create, *_ = nl_link.create_link(VX, VXLAN, 9)
    found = reread(ifinfmsg, create)
    info = dict(found["IFLA_LINKINFO"]["attrs"])
    data = dict(info["IFLA_INFO_DATA"]["attrs"])
    assert info["IFLA_INFO_KIND"] == "vxlan"
    assert data["IFLA_VXLAN_ID"] == 7473
    assert data["IFLA_VXLAN_LINK"] == 9
    assert data["IFLA_VXLAN_PORT"] == 4789
    assert data["IFLA_VXLAN_LEARNING"] == 0
    assert data["IFLA_VXLAN_LOCAL"] == "192.0.2.11"


@pytest.fixture
def driver(node: Namespace) -> Iterator[KernelDriver]:
    with KernelDriver(node.fd) as driver:
        yield driver


@pytest.mark.kernel
def test_ip_shows_a_pods_link_as_we_made_it(
    node: Namespace, pod: Namespace, driver: KernelDriver
) -> None:
    driver.create_veth(POD, VETH, "eth0", MAC, pod.fd)
    (ours,) = node.ip("link", "show", POD)
    assert (ours["address"], ours["mtu"], ours["ifalias"]) == (VETH.mac, VETH.mtu, VETH.alias)
    assert ours["inet6_addr_gen_mode"] == "none"
    assert "UP" in ours["flags"]
    (theirs,) = pod.ip("link", "show", "eth0")
    assert (theirs["address"], theirs["mtu"]) == (MAC, VETH.mtu)
    assert "UP" not in theirs["flags"]


@pytest.mark.kernel
def test_a_pods_inside_is_configured_and_read_whoever_wrote_it(
    pod: Namespace, driver: KernelDriver
) -> None:
    driver.create_veth(POD, VETH, "eth0", MAC, pod.fd)
    gateways = ip_address("169.254.1.1"), ip_address("fe80::1")
    rows = [
        (LinkKey("eth0"), Link(Veth(), 1500, MAC)),
        (AddressKey("eth0", ip_interface("10.244.1.5/32")), Address()),
        (AddressKey("eth0", ip_interface("fd00:10:244:1::5/128")), Address()),
        *((NeighbourKey("eth0", gateway), Neighbour(VETH.mac)) for gateway in gateways),
        a_route("0.0.0.0/0", via="169.254.1.1", link="eth0", onlink=True),
        a_route("::/0", via="fe80::1", link="eth0", onlink=True),
    ]
    with KernelDriver(pod.fd, pod_scope()) as inside:
        assert inside.apply([Change(key, None, value) for key, value in rows]) == ()
        assert dict(rows).items() <= inside.read().items()
        addresses = pod.ip("address", "show", "eth0")[0]["addr_info"]
        # No address of the kernel's making, and none that still waits for DAD.
        assert sorted(a["local"] for a in addresses) == ["10.244.1.5", "fd00:10:244:1::5"]
        assert not any(a.get("tentative") for a in addresses)
        pod.run("ip", "route", "add", "198.51.100.0/24", "dev", "eth0")
        assert inside.read()[RouteKey(ip_network("198.51.100.0/24"), metric=0)] == route_by("eth0")


@pytest.mark.kernel
@pytest.mark.parametrize("local", ["192.0.2.11", "2001:db8::11"])
def test_a_vxlan_device_neither_floods_nor_learns(
    node: Namespace, driver: KernelDriver, local: str
) -> None:
    value = Link(Vxlan(7473, 4789, ip_address(local), "eth0"), 1430, MAC)
    assert driver.apply([Change(LinkKey(VX), None, value)]) == ()
    data = node.ip("link", "show", VX)[0]["linkinfo"]["info_data"]
    assert data["learning"] is False
    assert not {"group", "group6", "remote", "remote6"} & data.keys()
    if ip_address(local).version == 4:
        assert data["udp_csum"] is False
    else:
        assert data["udp_zero_csum6_tx"] is False
    assert node.run("bridge", "fdb", "show", "dev", VX) == ""


@pytest.mark.kernel
def test_ip_shows_our_entries_with_our_protocol(node: Namespace, driver: KernelDriver) -> None:
    rows = [(LinkKey(VX), VXLAN), *ON_VXLAN]
    assert driver.apply([Change(key, None, value) for key, value in rows]) == ()
    (shown,) = node.ip("route", "show", "10.244.2.0/24")
    assert (shown["protocol"], shown["gateway"], shown["dev"]) == ("83", "10.244.2.0", VX)
    (shown6,) = node.ip("-6", "route", "show", "fd00:10:244:2::/64")
    assert (shown6["protocol"], shown6["metric"]) == ("83", 1024)
    (near,) = node.ip("neighbour", "show", "10.244.2.0")
    assert (near["state"], near["lladdr"]) == (["PERMANENT"], MAC)
    (forward,) = node.run("bridge", "fdb", "show", "dev", VX).splitlines()
    assert forward.split() == f"{MAC} dst 192.0.2.12 self permanent".split()


@pytest.mark.kernel
def test_an_error_carries_the_kernels_own_words(node: Namespace) -> None:
    with NetlinkSocket(node.fd) as socket, pytest.raises(NetlinkError) as caught:
        socket.get(nl_link.get_link("nope"))
    assert caught.value.errno == 19
    key, value = a_route("10.0.0.0/8", via="203.0.113.1", link="eth0")
    with NetlinkSocket(node.fd) as socket, pytest.raises(NetlinkError, match="invalid gateway"):
        socket.request(route.add_route(key, value, lambda _: 2))


@pytest.mark.kernel
def test_every_refusal_in_a_large_batch_is_distinguished(node: Namespace) -> None:
    requests = [
        route.add_route(
            RouteKey(ip_network((0x0A000000 + (i << 8), 24))), Route("throw"), lambda _: 0
        )
        for i in range(1500)
    ]
    with NetlinkSocket(node.fd) as socket:
        assert socket.batch(requests[::3]) == [None] * 500
        errors = socket.batch(requests)
    assert [error is not None for error in errors] == [i % 3 == 0 for i in range(1500)]


@pytest.mark.kernel
def test_a_dump_of_many_routes_is_whole(driver: KernelDriver) -> None:
    rows = [a_route(f"10.{i >> 8}.{i & 255}.0/24", kind="throw") for i in range(3000)]
    assert driver.apply([Change(key, None, value) for key, value in rows]) == ()
    assert driver.read() == dict(rows)


def test_what_is_no_namespace_cannot_be_opened() -> None:
    for path in ("/dev/null", "/nowhere", "/proc/self/ns/uts", "/tmp"):
        with pytest.raises(NetnsError, match=path), open_netns(path):
            pass


def test_a_link_without_a_name_of_ours_is_not_a_table_row() -> None:
    body = nl_link.list_links().body
    info = nl_link.read_link(Message(16, 0, 1, 0, body))
    assert info.link({}) is None
