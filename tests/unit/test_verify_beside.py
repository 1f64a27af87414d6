"""What others have beside the tables, as the cause of a packet that went wrong."""

from ipaddress import ip_address, ip_network

import pytest

from steppe.findings.finding import Affected, Finding
from steppe.net.packet import Packet
from steppe.state.document import KeyState
from steppe.state.nft import Element, ElementKey
from steppe.state.route import RouteKey
from steppe.verify.beside import Went, beside, with_whole_table
from steppe.verify.stops import Differing, Stop

PACKET = Packet(ip_address("10.244.1.1"), ip_address("10.244.2.1"), "TCP", 40000, 80)
ANY = (Affected(),)
ELSEWHERE = (Affected(destinations=(ip_network("10.244.9.0/24"),), answers=False),)


def finding(kind: str, entry: str, **more: bool | tuple[Affected, ...]) -> Finding:
    return Finding(kind, entry, "does it", "cure", **{"affects": ANY, **more})  # type: ignore[arg-type]


BLACK = finding("route", "a blackhole", sure=True, walked=True)
FIREWALL = finding("packet rule", "ip x y (hook forward): drop")
OPENED = finding("own table", "an accept", opens=True, walked=True)
ASLEEP = finding("own table", "a dormant table", sure=True, opens=True)
SMALL = finding("mtu", "a small link", sure=True)
OF_OTHERS = finding("route", "a route to others", sure=True, affects=ELSEWHERE)

CASES: dict[str, tuple[tuple[Finding, ...], bool, bool, str]] = {
    "lost: what is sure before what may be": ((FIREWALL, BLACK), True, False, "a blackhole"),
    "lost: what may be, where nothing is sure": ((FIREWALL,), True, False, "ip x y: drop"),
    "lost: what only opens is no cause": ((OPENED,), True, False, ""),
    "lost: what closes as well": ((OPENED, ASLEEP), True, False, "a dormant table"),
    "arrived where it shall not: what opens": ((BLACK, OPENED), False, False, "an accept"),
    "arrived otherwise: what translates it": ((FIREWALL,), False, False, "ip x y: drop"),
    "a small packet: no link's size": ((SMALL,), True, False, ""),
    "a large packet: a link's size": ((BLACK, SMALL), True, True, "a small link"),
    "lost: what concerns others is no cause": ((OF_OTHERS,), True, False, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_of_what_is_on_the_way_the_likeliest_is_the_cause(name: str) -> None:
    found, lost, large, entry = CASES[name]
    went = Went({"node-a"}, {PACKET}, lost=lost, large=large)
    stop = beside({"node-a": found}, went)
    text = entry if entry == "ip x y: drop" else f"{entry}: does it"
    assert stop == (Stop("node-a", text) if entry else None)


BACK = (Affected((ip_network("10.244.9.0/24"),), (ip_network("10.244.1.0/24"),)),)


def test_a_packet_whose_sender_is_led_astray_has_no_way_back() -> None:
    astray = finding("route", "a blackhole", sure=True, walked=True, affects=BACK)
    firewall = finding("packet rule", "a firewall", affects=BACK)
    found = {"node-a": (firewall, astray)}
    stop = beside(found, Went({"node-a"}, {PACKET}, lost=True))
    assert stop == Stop("node-a", "a blackhole: does it")


def test_what_is_on_a_node_that_the_packet_does_not_come_to_is_no_cause() -> None:
    assert beside({"node-b": (BLACK,)}, Went({"node-a"}, {PACKET}, lost=True)) is None


def element(node: str) -> Differing:
    return Differing(node, KeyState(ElementKey("cluster4", ("x",)), None, Element(), ()))


def test_without_a_table_its_elements_are_no_causes_of_their_own() -> None:
    gone = finding("own table", "table inet steppe: not there", sure=True, opens=True)
    route = Differing("node-a", KeyState(RouteKey(ip_network("10.244.2.0/24")), None, None, ()))
    why = (route, element("node-a"), element("node-b"))
    whole = Stop("node-a", "table inet steppe: not there: does it")
    assert with_whole_table(why, {"node-a": (BLACK, gone)}) == (route, whole, element("node-b"))
    assert with_whole_table(why, {"node-a": (ASLEEP,)}) == why
