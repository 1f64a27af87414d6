"""Tables as JSON: what is written reads back, for every key that clusters compile to."""

import json

from hypothesis import given, settings

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import Cluster
from steppe.settings import Settings
from steppe.state.document import Held, concerns, held_document, held_from
from steppe.state.nft import ElementKey
from tests.property.test_explain import clusters


@settings(max_examples=15, deadline=None)
@given(clusters())
def test_what_is_written_reads_back(cluster: Cluster) -> None:
    states, _ = compile_cluster(Settings(fabric="vxlan"), cluster)
    for state in states.values():
        for key, entry in state.items():
            for actual in (entry.value, None):
                held = Held(key, actual, entry.value, entry.because)
                assert held_from(json.loads(json.dumps(held_document(held)))) == held


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
