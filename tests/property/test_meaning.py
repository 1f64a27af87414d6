"""The main test: the tables, walked, do what the network model promises."""

from hypothesis import given

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import Cluster
from steppe.oracle.network import promise
from steppe.settings import Settings
from steppe.walk.walk import Walker
from tests.worlds import packets_of, sound_worlds


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
