"""Which entries stopped a packet that went wrong, and which packets have one cause."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from steppe.compile.node import compile_cluster
from steppe.dataplane.nft.sets import INGRESS
from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Node, Pod, Underlay
from steppe.kube.policies import Namespace, NetworkPolicy, Pods, Rule
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.selectors import EVERYTHING
from steppe.net.packet import Packet
from steppe.net.ports import PortRange
from steppe.settings import Settings
from steppe.state.document import KeyState
from steppe.state.link import Link, LinkKey
from steppe.state.nft import ElementKey
from steppe.state.node import Key, Value
from steppe.state.route import RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import link_name
from steppe.verify.plan import Check
from steppe.verify.stops import Differing, Stop, Tables, grouped


def node(number: int) -> Node:
    name = f"node-{number}"
    return Node(
        name,
        prefixes=pod_cidrs(name, [ip_network(f"10.244.{number}.0/24")]),
        addresses=(ip_address(f"192.0.2.{number}"),),
        underlay=Underlay("eth0", 1500),
    )


def pod(name: str, number: int, host: int) -> Pod:
    return Pod("x", name, name, f"node-{number}", (ip_address(f"10.244.{number}.{host}"),))


WEB, DB, OTHER = pod("web", 1, 2), pod("db", 2, 3), pod("other", 2, 4)
GUARD = NetworkPolicy(
    "x",
    "guard",
    EVERYTHING,
    frozenset(("ingress",)),
    (Rule("spec.ingress[0]", (Pods(pods=EVERYTHING, within="x"),), (PortRange("TCP", 80, 80),)),),
)
CLUSTER = cluster_of(
    (node(1), node(2)), (WEB, DB, OTHER), (Namespace("x"),), network_policies=(GUARD,)
)
Change = Callable[[str, Key], Value | None]
KEEP: Value = Sysctl("as it is")


def held(change: Change) -> dict[str, list[KeyState]]:
    """What agents would answer, if this had been done to their kernels; KEEP changes nothing."""
    states, _ = compile_cluster(Settings(fabric="direct"), CLUSTER)
    found: dict[str, list[KeyState]] = {}
    for name, state in states.items():
        for key, entry in state.items():
            value = change(name, key)
            actual = entry.value if value is KEEP else value
            found.setdefault(name, []).append(KeyState(key, actual, entry.value, entry.because))
    return found


def check(source: Pod, target: Pod, size: int = 0, port: int = 80) -> Check:
    packet = Packet(source.addresses[0], target.addresses[0], "TCP", 0, port)
    return Check(f"x/{source.name}", f"x/{target.name}", packet, size)


def gone(is_it: Callable[[str, Key], bool]) -> Change:
    return lambda node, key: None if is_it(node, key) else KEEP


def no_allowed(node: str, key: Key) -> bool:
    return node == "node-2" and isinstance(key, ElementKey) and key.set == "ingress_allowed4"


def texts(stops: tuple[Stop | Differing, ...]) -> list[str]:
    found = [each.stop if isinstance(each, Differing) else each for each in stops]
    return [f"{each.node} {each.text}" for each in found]


def narrow(node: str, key: Key) -> Value | None:
    if node == "node-2" and key == LinkKey(link_name("db")):
        states, _ = compile_cluster(Settings(fabric="direct"), CLUSTER)
        value = states[node][key].value
        assert isinstance(value, Link)
        return msgspec.structs.replace(value, mtu=1000)
    return KEEP


def no_forwarding(node: str, key: Key) -> Value | None:
    return Sysctl("0") if (node, key) == ("node-1", SysctlKey("net/ipv4/ip_forward")) else KEEP


def no_prefix(node: str, key: Key) -> bool:
    """Without it, node-1 takes node-2's pods for hosts outside, and hides its own from them."""
    is_it = isinstance(key, ElementKey) and key.set == "cluster4"
    return is_it and node == "node-1" and key.key == (ip_network("10.244.2.0/24"),)


def no_route(node: str, key: Key) -> bool:
    return node == "node-1" and key == RouteKey(ip_network("10.244.2.0/24"))


CASES = [
    ("all is well", lambda *_: KEEP, check(WEB, DB), []),
    ("a policy's entries are gone", gone(no_allowed), check(WEB, DB),
     ["node-2 @ingress_allowed4: not there"]),
    ("they are another's way", gone(no_allowed), check(DB, WEB), []),
    ("a route is gone", gone(no_route), check(WEB, DB), ["node-1 routes: not there"]),
    ("and with it the way of answers", gone(no_route), check(DB, WEB),
     ["node-1 routes: not there"]),
    ("an element is gone that a rule asks to be there", gone(no_prefix), check(WEB, DB),
     ["node-1 @cluster4: not there"]),
    ("forwarding is off", no_forwarding, check(WEB, DB), ["node-1 sysctls: not as it should be"]),
    ("a link is narrow, and the packet is small", narrow, check(WEB, DB), []),
    ("a link is narrow, and the packet is large", narrow, check(WEB, DB, 1500),
     ["node-2 links: not as it should be"]),
    ("the link of another pod", narrow, check(WEB, OTHER, 1500), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "packet", "told"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_packet_is_stopped_by_what_differs_on_its_way(
    change: Change, packet: Check, told: list[str]
) -> None:
    assert texts(Tables(CLUSTER, held(change)).stops(packet)) == told


def test_packets_that_entries_of_one_object_stop_are_one_group() -> None:
    tables = Tables(CLUSTER, held(gone(no_allowed)))
    checks = [check(WEB, DB), check(WEB, OTHER), check(DB, OTHER), check(OTHER, DB)]
    (group,) = grouped((each, tables.stops(each)) for each in checks)
    assert list(group.members) == checks
    (stop,) = group.stops
    assert str(stop.because[0]) == "NetworkPolicy/x/guard spec.ingress[0]"
    entries = {each.state.key for each in group.entries}
    assert {INGRESS.allowed.read(key)[1] for key in entries} == {
        DB.addresses[0],
        OTHER.addresses[0],
    }


def test_the_cause_of_most_is_first_and_what_is_not_known_last() -> None:
    one, many = Stop("a", "one"), Stop("b", "many")
    groups = grouped([(1, ()), (2, ()), (3, ()), (4, (one,)), (5, (many,)), (6, (many,))])
    assert [(group.stops, group.members) for group in groups] == [
        ((many,), (5, 6)),
        ((one,), (4,)),
        ((), (1, 2, 3)),
    ]
