"""The cluster's look-ups find what a search through all objects would find."""

from functools import partial
from ipaddress import ip_address, ip_network

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.kube.cluster import cluster_of
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import NetworkPolicy
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.selectors import EVERYTHING, labels_are
from steppe.kube.services import EndpointSlice, Service, ServicePort

FEW = [ip_address(text) for text in ("10.0.0.1", "10.0.1.1", "10.0.1.2", "fd00::1", "fd00:1::1")]
PREFIXES = [ip_network(text) for text in ("10.0.0.0/24", "10.0.0.0/23", "fd00::/64", "fd00:1::/64")]
NAMES = ("a", "b")
addresses = st.lists(st.sampled_from(FEW), unique=True, max_size=2).map(tuple)
names = st.sampled_from(NAMES)
pods = st.builds(
    Pod,
    names,
    names,
    node=names,
    addresses=addresses,
    host_network=st.booleans(),
    finished=st.booleans(),
    labels=st.sampled_from([{}, {"app": "web"}]),
)
nodes = st.builds(
    Node,
    names,
    prefixes=st.lists(st.sampled_from(PREFIXES), unique=True, max_size=2).map(
        partial(pod_cidrs, "a")
    ),
    addresses=addresses,
    external_addresses=addresses,
)
ports = st.sampled_from([(), (ServicePort("p", "TCP", 80, 30080),), (ServicePort("p", "UDP", 80),)])
services = st.builds(
    Service, names, names, cluster_ips=addresses, ports=ports, external_ips=addresses
)
slices = st.builds(EndpointSlice, names, st.sampled_from("wxyz"), names)
policies = st.builds(
    NetworkPolicy,
    names,
    names,
    st.sampled_from([EVERYTHING, labels_are({"app": "web"})]),
    st.just(frozenset(("ingress",))),
)
clusters = st.builds(
    lambda *lists: cluster_of(*lists[:2], (), lists[2], services=lists[3], slices=lists[4]),
    *(st.lists(each, max_size=3) for each in (nodes, pods, policies, services, slices)),
)


@settings(max_examples=60, deadline=None)
@given(clusters)
def test_look_ups_find_what_a_search_finds(cluster) -> None:
    own = [pod for pod in cluster.pods.values() if not pod.host_network and not pod.finished]
    for address in FEW:
        assert cluster.pods_at(address) == tuple(p for p in own if address in p.addresses)
        assert cluster.nodes_at(address) == tuple(
            n for n in cluster.nodes.values() if address in (*n.addresses, *n.external_addresses)
        )
        assert sorted(map(_name, cluster.nodes_around(address))) == sorted(
            n.name for n in cluster.nodes.values() for p in n.networks if address in p
        )
        assert cluster.services_at(address) == tuple(
            s for s in cluster.services.values() if address in s.addresses
        )
    for service in cluster.services.values():
        assert (service in cluster.services_on("TCP", 30080)) == any(
            port.node_port == 30080 for port in service.ports
        )
        assert cluster.slices_of(service) == tuple(
            s
            for s in cluster.slices.values()
            if (s.namespace, s.service) == (service.namespace, service.name)
        )
    for pod in cluster.pods.values():
        assert cluster.policies_on(pod) == tuple(
            p
            for p in cluster.network_policies.values()
            if p.namespace == pod.namespace and p.pods.matches(pod.labels)
        )


def _name(node: Node) -> str:
    return node.name


def test_a_changed_cluster_answers_for_itself() -> None:
    pod = Pod("shop", "web", addresses=(FEW[0],), labels={"app": "web"})
    policy = NetworkPolicy("shop", "p", labels_are({"app": "web"}), frozenset(("ingress",)))
    before = cluster_of([], [pod], (), [policy])
    assert before.pods_at(FEW[0]) == (pod,)
    assert before.policies_on(pod) == (policy,)
    after = msgspec.structs.replace(before, pods={}, network_policies={})
    assert after.pods_at(FEW[0]) == ()
    assert after.policies_on(pod) == ()
    assert before.pods_at(FEW[0]) == (pod,)
