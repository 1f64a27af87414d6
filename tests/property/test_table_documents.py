"""Tables as JSON: what is written reads back, for every key that clusters compile to."""

import json
from ipaddress import ip_address, ip_network

from hypothesis import given, settings

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import Cluster
from steppe.settings import Settings
from steppe.state.document import KeyState, concerns, key_state_document, key_state_from
from steppe.state.nft import ElementKey
from steppe.state.route import Encap, Hop, Route, RouteKey, in_order
from tests.property.test_explain import clusters


@settings(max_examples=15, deadline=None)
@given(clusters())
def test_what_is_written_reads_back(cluster: Cluster) -> None:
    states, _ = compile_cluster(Settings(fabric="vxlan"), cluster)
    for state in states.values():
        for key, entry in state.items():
            for actual in (entry.value, None):
                held = KeyState(key, actual, entry.value, entry.because)
                assert key_state_from(json.loads(json.dumps(key_state_document(held)))) == held


def test_a_route_with_several_hops_and_an_outer_header_reads_back() -> None:
    far = Encap(ip_address("2001:db8::2"), 7, 9, ip_address("2001:db8::1"), checksum=True)
    hops = Hop(ip_address("fe80::1"), "eth0", onlink=True, weight=3), Hop(None, "tun", encap=far)
    route = Route(hops=in_order(hops), source=ip_address("192.0.2.1"), mtu=1400)
    held = KeyState(RouteKey(ip_network("10.0.0.0/8"), 99, 7), route, None)
    assert key_state_from(json.loads(json.dumps(key_state_document(held)))) == held
    assert str(route) == (
        "src 192.0.2.1 mtu 1400 nexthop via fe80::1 dev eth0 onlink weight 3 "
        "nexthop encap ip6 id 7 src 2001:db8::1 dst 2001:db8::2 ttl 9 csum dev tun weight 1"
    )


@settings(max_examples=10, deadline=None)
@given(clusters())
def test_elements_are_told_apart_by_the_addresses_they_name(cluster: Cluster) -> None:
    states, _ = compile_cluster(Settings(fabric="vxlan"), cluster)
    for state in states.values():
        for key in state:
            atoms = key.key if isinstance(key, ElementKey) else ()
            named = [atom for atom in atoms if not isinstance(atom, int | str)]
            own = frozenset(getattr(atom, "network_address", atom) for atom in named)
            assert concerns(key, own)
            assert concerns(key, frozenset()) == (not named)
