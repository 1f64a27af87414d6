"""What is told of each thing beside Steppe's tables: which flows it concerns, and how surely."""

from ipaddress import ip_address, ip_network
from time import process_time

import msgspec
import pytest

from steppe.compile.node import compile_cluster
from steppe.findings.finding import MOST, Affected, Finding, finding_document, finding_from
from steppe.findings.known import Known
from steppe.findings.registry import findings
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Underlay
from steppe.net.address import IPNetwork, host_prefix, parse_prefix
from steppe.net.packet import Packet
from steppe.settings import Settings
from steppe.state.route import Hop, Route, RouteKey
from steppe.state.surroundings import (
    InPod,
    Matching,
    OtherNeighbour,
    OtherRoute,
    PacketRule,
    RoutingRule,
    SeenLink,
    Setting,
    Surroundings,
    Unread,
    XfrmPolicy,
)
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import workload_of
from tests.worlds import node_at, pod_on

MAC = "02:00:00:00:00:0c"
NODES = [node_at(0), node_at(1), node_at(2)]
NODES[1] = msgspec.structs.replace(
    NODES[1], underlay=msgspec.structs.replace(NODES[1].underlay, mac=MAC)
)
POD, PEER = pod_on(NODES[0], 1), pod_on(NODES[1], 1)
STATES, _ = compile_cluster(Settings(fabric="vxlan"), cluster_of(NODES, [POD, PEER]))
WORKLOAD = workload_of(POD)
TUNNEL = "steppe-vxlan"
HERE, THERE = NODES[0].networks[0], NODES[1].networks[0]
A_POD, B_POD = POD.addresses[0], PEER.addresses[0]
ME, OTHER = NODES[0].addresses[0], NODES[1].addresses[0]
SERVICES = parse_prefix("10.96.0.0/16")


def known() -> Known:
    assert WORKLOAD is not None
    return Known(
        here=NODES[0],
        peers=tuple(NODES[1:]),
        pods=(WORKLOAD,),
        services=(SERVICES,),
        tunnels=(TUNNEL,),
        mtu=NODES[0].underlay.mtu - 50,
        mark=0x100000,
        state=STATES["node-a"],
    )


LINK = WORKLOAD.link if WORKLOAD is not None else ""
KERNELS = tuple(
    RoutingRule(version, priority, routing_table=table, origin=2)
    for version in (4, 6)
    for priority, table in ((0, 255), (32766, 254), (32767, 253))
)


def prefix(text: str) -> IPNetwork:
    return parse_prefix(text)


def route(to: object, kind: object, table: int = 254, metric: int = 0, **more: int) -> Surroundings:
    made = Route(kind, **more) if isinstance(kind, str) else Route(hops=(kind,), **more)  # type: ignore[arg-type]
    found = OtherRoute(RouteKey(ip_network(str(to)), table, metric), made)
    return Surroundings(rules=KERNELS, routes=(found,))


def rule(priority: int, **selectors: object) -> Surroundings:
    return Surroundings(rules=(*KERNELS, RoutingRule(4, priority, **selectors)))  # type: ignore[arg-type]


def both(*parts: Surroundings) -> Surroundings:
    rules = dict.fromkeys(rule for part in parts for rule in part.rules)
    return Surroundings(tuple(rules), tuple(r for part in parts for r in part.routes))


def setting(path: str, value: str) -> Surroundings:
    return Surroundings(rules=KERNELS, settings=(Setting(SysctlKey(path), Sysctl(value)),))


def packet_rule(does: str, hook: str = "forward", bits: int = 0, **match: object) -> Surroundings:
    matching = Matching(**match)  # type: ignore[arg-type]
    return Surroundings(packet_rules=(PacketRule("ip x y", hook, "TEXT", does, matching, bits),))


def links(**sizes: int) -> Surroundings:
    found = tuple(SeenLink(name.replace("_", "-"), size) for name, size in sizes.items())
    return Surroundings(rules=KERNELS, links=found)


def inside(found: Surroundings) -> Surroundings:
    return Surroundings(pods=(InPod(LINK, found),))


GATEWAY = OtherRoute(RouteKey(prefix("0.0.0.0/0")), Route(hops=(Hop(None, "eth0"),)))


def in_pod(*routes: OtherRoute, **more: object) -> Surroundings:
    six = msgspec.structs.replace(GATEWAY, key=RouteKey(prefix("::/0")))
    found = Surroundings(rules=KERNELS, routes=(GATEWAY, six, *routes), **more)  # type: ignore[arg-type]
    return inside(found)


ETH = Hop(ip_address("192.0.2.99"), "eth0")
OUT = Hop(ip_address("192.0.2.99"), "eth7")
BLACK = OtherRoute(RouteKey(THERE, metric=0), Route("blackhole"))
TO_THERE = {"source": HERE, "destination": THERE}
IPSEC = XfrmPolicy(HERE, THERE, "out", "block")
FIREWALL = PacketRule("ip filter INPUT", "input", "tcp dport 80 drop", "drop", Matching(4))

SURE, MAYBE = True, False
CASES = {
    "a blackhole route to a part of a peer's prefix": (
        route(host_prefix(B_POD), "blackhole"),
        SURE,
        f"to the pod of node-b at {B_POD} are dropped here, without an answer",
    ),
    "an unreachable route with a lower metric": (
        route(THERE, "unreachable"),
        SURE,
        "from pods of node-a, node-a itself and pods of other nodes to pods of node-b",
    ),
    "a route elsewhere, to a part of a prefix": (
        route("10.244.2.0/25", OUT),
        SURE,
        "to pods of node-b (10.244.2.0/25) go via 192.0.2.99 dev eth7: another program's route",
    ),
    "an address of a local pod on another link": (
        route(host_prefix(A_POD), "local", table=255),
        SURE,
        f"to pod default/{POD.name} ({A_POD}) are taken by this node for its own",
    ),
    "an address of a peer's pod on a link here": (
        route(host_prefix(B_POD), "local", table=255),
        SURE,
        f"to the pod of node-b at {B_POD} are taken by this node for its own",
    ),
    "an address of a peer on a link here": (
        route(host_prefix(OTHER), "local", table=255),
        SURE,
        f"to node-b ({OTHER}) are taken by this node for its own",
    ),
    "a rule that prohibits": (
        rule(50, action="prohibit", source=HERE),
        SURE,
        "packets from pods of node-a to",
    ),
    "a rule to a table with a route elsewhere": (
        both(rule(50, routing_table=100, **TO_THERE), route("0.0.0.0/0", OUT, 100)),
        SURE,
        f"by ip rule 50: from {HERE} to {THERE} lookup 100",
    ),
    "a rule for a mark, to a table with a route elsewhere": (
        both(rule(50, routing_table=100, mark=1, mask=1), route("0.0.0.0/0", OUT, 100)),
        MAYBE,
        "another program's route",
    ),
    "a pod's link that does not forward": (
        setting(f"net/ipv4/conf/{LINK}/forwarding", "0"),
        SURE,
        f"IPv4 of pod default/{POD.name} gets no farther than this node",
    ),
    "a tunnel that does not forward": (
        setting(f"net/ipv4/conf/{TUNNEL}/forwarding", "0"),
        SURE,
        "comes in out of the tunnel from other nodes",
    ),
    "a link without IPv6": (
        setting("net/ipv6/conf/eth0/disable_ipv6", "1"),
        SURE,
        "IPv6 that comes in by eth0",
    ),
    "strict path filtering that loses nothing": (
        setting(f"net/ipv4/conf/{TUNNEL}/rp_filter", "1"),
        MAYBE,
        "of the flows between this cluster's nodes none is, now",
    ),
    "strict path filtering of the tunnel, and nodes that are reached beside it": (
        msgspec.structs.replace(
            rule(10, routing_table=254),
            settings=(Setting(SysctlKey(f"net/ipv4/conf/{TUNNEL}/rp_filter"), Sysctl("1")),),
            routes=route("192.0.2.0/24", Hop(None, "eth0")).routes,
        ),
        SURE,
        "is dropped: from node-b to pods of node-a; from node-c to pods of node-a",
    ),
    "a neighbour with another MAC than the node's": (
        Surroundings(neighbours=(OtherNeighbour("eth0", OTHER, "02:00:00:00:00:99"),)),
        SURE,
        f"it is lost, for node-b's eth0 has {MAC}",
    ),
    "a neighbour whose MAC nobody knows": (
        Surroundings(neighbours=(OtherNeighbour("eth0", NODES[2].addresses[0], MAC),)),
        MAYBE,
        "it is lost if node-c's eth0 has another one",
    ),
    "pods' links that are larger than the underlay": (
        links(eth0=1400, **{LINK: 1450}),
        SURE,
        "packets of 1351 to 1450 bytes from pods here to other nodes' pods do not fit (the",
    ),
    "a route to another node with a small MTU": (
        route(host_prefix(OTHER), Hop(None, "eth0"), mtu=1300),
        SURE,
        "packets of 1251 to 1450 bytes",
    ),
    "a rule that drops": (
        packet_rule("drop", protocol="tcp", ports=((80, 80),)),
        MAYBE,
        "drops what goes through this node on TCP port 80 (so also pods of node-a)",
    ),
    "a rule that drops under conditions": (
        packet_rule("drop", destinations=(THERE,), partial=True),
        MAYBE,
        f"to pods of node-b ({THERE}), if all its conditions hold",
    ),
    "a rule that translates": (
        packet_rule("dnat", "prerouting", destinations=(prefix("10.96.0.10/32"),)),
        MAYBE,
        "sends what comes in to Services (10.96.0.10) to another address",
    ),
    "a rule that hides senders": (
        packet_rule("snat", "postrouting", sources=(prefix("10.0.0.0/8"),)),
        MAYBE,
        "policies at the receiver see that address",
    ),
    "a rule that takes pods from connection tracking": (
        packet_rule("notrack", "prerouting", iif=LINK),
        MAYBE,
        f"takes what comes in by link {LINK}",
    ),
    "a rule that changes Steppe's mark": (
        packet_rule("mark", bits=0xFFFFFFFF),
        MAYBE,
        "Steppe's own bit for masquerading is among them",
    ),
    "a rule that sets a mark which an ip rule asks for": (
        msgspec.structs.replace(
            packet_rule("mark", bits=0x10),
            rules=(*KERNELS, RoutingRule(4, 50, routing_table=100, mark=0x10, mask=0x10)),
        ),
        MAYBE,
        "ip rule 50: from all fwmark 0x10/0x10 lookup 100 asks for it",
    ),
    "a rule that could not be looked into": (
        packet_rule("unread", "any"),
        MAYBE,
        "may do anything",
    ),
    "an IPsec policy that blocks": (
        Surroundings(xfrm=(IPSEC,)),
        SURE,
        f"drops what is sent or forwarded here from pods of node-a ({HERE}) to pods of node-b",
    ),
    "an IPsec policy that asks for keys": (
        Surroundings(xfrm=(msgspec.structs.replace(IPSEC, action="protect"),)),
        MAYBE,
        "encrypts what is sent or forwarded here from pods of node-a",
    ),
    "a route inside a pod": (
        in_pod(BLACK),
        SURE,
        f"what pod default/{POD.name} sends to pods of node-b ({THERE}) does not arrive",
    ),
    "a pod without a default route": (
        inside(Surroundings(rules=KERNELS, routes=(BLACK,))),
        SURE,
        "does not arrive: it cannot be sent",
    ),
    "a firewall inside a pod": (
        in_pod(packet_rules=(FIREWALL,)),
        MAYBE,
        "inside the pod it drops what comes to the pod itself",
    ),
    "a pod that could not be looked into": (
        inside(Surroundings(unread=(Unread("ip rules", "no memory"),))),
        MAYBE,
        "cannot be read, so what they do is not known: no memory",
    ),
    "a part that could not be read": (
        Surroundings(unread=(Unread("ip rules", "no memory"),)),
        MAYBE,
        "cannot be read, so what they do is not known: no memory",
    ),
}
UP_LINK = SeenLink("eth0", 1500)


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_what_it_does_to_which_flows(name: str) -> None:
    around, sure, text = CASES[name]
    found = findings(around, known())
    assert [each for each in found if text in each.effect], [each.effect for each in found]
    assert {each.sure for each in found if text in each.effect} == {sure}
    for each in found:
        assert each.cure
        assert each.affects or "none is, now" in each.effect
        assert finding_from(finding_document(each)) == each


SAME = next(e.value for k, e in STATES["node-a"].items() if k == RouteKey(THERE))
DOCKER = {"destinations": (prefix("172.17.0.2/32"),), "oif": "docker0"}
HARMLESS = {
    "nothing of others": Surroundings(rules=KERNELS, links=(UP_LINK,)),
    "the node's own addresses and routes": both(
        route("0.0.0.0/0", ETH),
        route("192.0.2.0/24", Hop(None, "eth0")),
        route(f"{ME}/32", "local", 255),
    ),
    "a route that leads where ours does": Surroundings(
        rules=KERNELS,
        routes=(OtherRoute(RouteKey(THERE, metric=0), SAME),),  # type: ignore[arg-type]
    ),
    "a shorter route": route("10.244.0.0/16", "blackhole"),
    "a route to ours with a higher metric": route(THERE, "blackhole", metric=4000),
    "a table that no rule leads to": route(THERE, "blackhole", 100),
    "a rule after the main table": both(
        rule(32800, action="prohibit"), route("192.0.2.0/24", Hop(None, "eth0"))
    ),
    "a default route for all but a mark, after ours (as wg-quick writes)": both(
        rule(90, routing_table=254, suppress=0),
        rule(91, routing_table=51820, mark=0xCA6C, mask=0xFFFFFFFF, inverted=True),
        route("0.0.0.0/0", Hop(None, "wg0"), 51820),
    ),
    "a part of a prefix where only others' addresses lie": route("10.244.1.128/25", "blackhole"),
    "a loose path filter": setting("net/ipv4/conf/all/rp_filter", "2"),
    "a link that forwards": setting("net/ipv4/conf/eth0/forwarding", "1"),
    "a link of others that does not forward": setting("net/ipv4/conf/docker0/forwarding", "0"),
    "all of IPv4 not forwarded, which the tables tell": Surroundings(
        settings=tuple(
            Setting(SysctlKey(f"net/ipv4/conf/{link}/forwarding"), Sysctl("0"))
            for link in ("all", "eth0")
        )
    ),
    "a neighbour with the node's MAC": Surroundings(
        neighbours=(OtherNeighbour("eth0", OTHER, MAC),)
    ),
    "links that fit": links(eth0=1500, **{LINK: 1450}),
    "a route with an MTU that is large enough": route(
        host_prefix(OTHER), Hop(None, "eth0"), mtu=1500
    ),
    "a port mapping of docker's": packet_rule("dnat", "prerouting", **DOCKER),
    "what docker masquerades": packet_rule(
        "snat", "postrouting", sources=(prefix("172.17.0.0/16"),)
    ),
    "a rule for loopback addresses": packet_rule(
        "drop", "input", destinations=(prefix("127.0.0.0/8"),)
    ),
    "a mark that nobody asks for": packet_rule("mark", bits=0x4000),
    "IPsec for others": Surroundings(
        xfrm=(XfrmPolicy(prefix("172.31.0.0/16"), prefix("172.30.0.0/16"), "out", "block"),)
    ),
    "IPsec that lets pass": Surroundings(xfrm=(XfrmPolicy(HERE, THERE, "out", "allow"),)),
    "IPsec for what ends here, between pods": Surroundings(
        xfrm=(XfrmPolicy(HERE, THERE, "in", "block"),)
    ),
    "a pod as it was attached": in_pod(),
}
KUBELETS = {
    "KUBE-FIREWALL": (
        ("drop", "ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 drop", prefix("127.0.0.0/8")),
        ("drop", "meta mark & 0x00008000 == 0x00008000 drop", None),
        ("drop", "-m mark --mark 0x8000/0x8000 -j DROP", None),
    ),
    "KUBE-MARK-DROP": (("mark", "meta mark set mark or 0x8000", None),),
    "KUBE-POSTROUTING": (("snat", "masquerade", None),),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_concerns_no_flow_of_the_cluster_is_not_told(name: str) -> None:
    assert findings(HARMLESS[name], known()) == ()


@pytest.mark.parametrize("chain", KUBELETS)
@pytest.mark.parametrize("program", ["ip filter", "iptables-legacy filter"])
def test_chains_that_every_kubelet_makes_are_known(program: str, chain: str) -> None:
    found = tuple(
        PacketRule(
            f"{program} {chain}",
            "input",
            text,
            does,
            Matching(4, destinations=(to,) if to is not None else (), partial=True),
            0x8000 if does == "mark" else 0,
        )
        for does, text, to in KUBELETS[chain]
    )
    assert findings(Surroundings(packet_rules=found), known()) == ()


def test_another_rule_in_a_chain_of_kubelet_s_is_told() -> None:
    odd = PacketRule("ip filter KUBE-FIREWALL", "forward", "tcp dport 80 drop", "drop", Matching(4))
    (told,) = findings(Surroundings(packet_rules=(odd,)), known())
    assert told.entry == "ip filter KUBE-FIREWALL (hook forward): tcp dport 80 drop"


def test_an_uplink_that_is_down_ends_all_that_goes_to_other_nodes() -> None:
    for link, how in (
        (SeenLink("eth0", 1500, up=False), "link eth0 is down"),
        (SeenLink("eth0", 1500, carrier=False), "link eth0 has no carrier"),
    ):
        (told,) = findings(Surroundings(links=(link,)), known())
        assert (told.entry, told.sure) == (how, True)


def test_what_a_pod_with_many_routes_loses_is_found_in_the_time_that_they_take() -> None:
    own = int(ip_address("172.16.0.0"))
    prefixes = (ip_network((own + 256 * n, 24)) for n in range(3000))
    routes = [OtherRoute(RouteKey(each), Route(hops=(ETH,))) for each in prefixes]
    away = OtherRoute(RouteKey(prefix("198.51.100.0/24")), Route("blackhole"))
    began = process_time()
    found = findings(in_pod(*routes, away), known())
    assert process_time() - began < 10
    assert [each.kind for each in found] == ["pod"]
    assert "198.51.100.0/24" in found[0].effect


def test_of_a_pod_with_many_routes_that_lead_nowhere_a_hundred_are_told_one_by_one() -> None:
    own = int(ip_address("172.16.0.0"))
    prefixes = (ip_network((own + 256 * n, 24)) for n in range(120))
    away = [OtherRoute(RouteKey(each), Route("blackhole")) for each in prefixes]
    *found, last = findings(in_pod(*away), known())
    assert WORKLOAD is not None
    assert len(found) == MOST
    assert (
        last.entry == f"20 more routes and packet rules in pod {WORKLOAD.namespace}/{WORKLOAD.name}"
    )
    assert last.concerns(Packet(WORKLOAD.addresses[0], ip_address("172.16.119.1"), "TCP", 0, 80))


def test_an_underlay_too_small_for_ipv6_is_told() -> None:
    small = msgspec.structs.replace(NODES[0], underlay=Underlay("eth0", 1300))
    less = msgspec.structs.replace(known(), here=small, peers=(), mtu=1250)
    (told,) = findings(Surroundings(), less)
    assert told.effect == "pods are left with 1250 bytes, and IPv6 needs 1280: they have none"
    assert told.cure == "`ip link set eth0 mtu 1330`, or more"


def test_a_peer_whose_link_takes_less_is_told() -> None:
    small = msgspec.structs.replace(NODES[1], underlay=Underlay("eth0", 1400))
    less = msgspec.structs.replace(known(), peers=(small, NODES[2]))
    (told,) = findings(Surroundings(), less)
    assert told.effect.startswith("the links of node-b take 1400 bytes")
    assert not told.sure


PACKET = Packet(A_POD, B_POD, "TCP", 40000, 80)
FLOWS = {
    "any": (Affected(), True),
    "its ends": (Affected((HERE,), (THERE,)), True),
    "its answer's ends": (Affected((THERE,), (HERE,)), True),
    "its answer's ends, and answers are not looked at": (
        Affected((THERE,), (HERE,), answers=False),
        False,
    ),
    "its port": (Affected(protocol="tcp", ports=((1, 10), (80, 90))), True),
    "another port": (Affected(ports=((1, 10),), answers=False), False),
    "another protocol": (Affected(protocol="udp"), False),
    "others' addresses": (Affected((SERVICES,), (THERE,)), False),
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_finding_concerns_a_packet_by_its_ends_protocol_and_port(name: str) -> None:
    affected, concerned = FLOWS[name]
    found = Finding("kind", "entry", "effect", "cure", affects=(affected,))
    assert found.concerns(PACKET) == concerned
