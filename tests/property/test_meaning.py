"""The main test: the tables, walked, do what the network model promises."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node
from steppe.kube.services import ServiceRange
from steppe.oracle.claims import honoured
from steppe.oracle.network import promise
from steppe.service.granted import granted
from steppe.settings import Settings
from steppe.walk.walk import Walker
from tests.worlds import claimants, packets_of, sound_worlds


@given(sound_worlds())
def test_a_walk_through_the_tables_ends_where_the_network_model_promises(
    world: tuple[Settings, Cluster],
) -> None:
    chosen, cluster = world
    states, problems = compile_cluster(chosen, cluster)
    assert problems == ()
    walker = Walker(cluster, states)
    for packet in packets_of(cluster):
        end = walker.walk(packet).end
        promised = promise(cluster, packet)
        assert (end.kind, end.target) == (promised.kind, promised.target), packet
        if promised.source is not None:
            assert end.source == promised.source, packet


@given(sound_worlds(), st.lists(claimants(), max_size=3))
def test_what_younger_nodes_claim_takes_no_packet_off_its_way(
    world: tuple[Settings, Cluster], late: list[Node]
) -> None:
    chosen, sound = world
    ranges = (ServiceRange("kubernetes", (ip_network("10.96.0.0/16"),), "2025-01-01T00:00:00Z"),)
    cluster = cluster_of([*sound.nodes.values(), *late], sound.pods.values(), service_ranges=ranges)
    states, _ = compile_cluster(chosen, cluster)
    right, given_out = honoured(cluster), granted(cluster, chosen)[0]
    assert given_out.nodes == right.nodes
    walker = Walker(given_out, states)
    for packet in packets_of(sound):
        end, promised = walker.walk(packet).end, promise(right, packet)
        assert (end.kind, end.target) == (promised.kind, promised.target), packet
        assert promised == promise(sound, packet), "the older nodes keep all they have"


@given(sound_worlds())
def test_every_step_of_a_walk_names_objects_of_the_cluster(
    world: tuple[Settings, Cluster],
) -> None:
    chosen, cluster = world
    states, _ = compile_cluster(chosen, cluster)
    walker = Walker(cluster, states)
    known = {node.ref for node in cluster.nodes.values()}
    known |= {pod.ref for pod in cluster.pods.values()}
    for packet in packets_of(cluster):
        for step in walker.walk(packet).steps:
            assert step.because or step.stage == "underlay", step
            assert {cause.ref for cause in step.because} <= known
