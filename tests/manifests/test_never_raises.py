"""Whatever people write becomes Problems: manifests that are damaged anywhere are loaded."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steppe.manifests.cluster import loaded_from
from steppe.manifests.documents import Manifest
from steppe.manifests.yaml_text import documents_of, parts_of

REPORTS = Path(__file__).parents[1] / "data" / "reports"
ADMIN = """
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: a}
spec:
  priority: 3
  subject: {namespaces: {}}
  ingress:
  - action: Deny
    from: [{namespaces: {}}]
    ports: [{portNumber: {protocol: TCP, port: 80}}, {portRange: {start: 1, end: 2}}]
---
apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: c}
spec:
  tier: Admin
  priority: 3
  subject: {pods: {podSelector: {}}}
  egress:
  - action: Deny
    to: [{networks: [10.0.0.0/8]}]
    protocols: [{tcp: {destinationPort: {number: 80}}}]
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: s}
spec: {cidrs: [10.0.0.0/16]}
"""
VALUES: tuple[Any, ...] = (
    *(None, 0, -1, 2**70, "", [], {}, "x", True, 1.5, [None], [{}], {"a": None}, "80", [[]]),
    *({"": ""}, ["a", 1], "10.0.0.0/8", "é" * 300),
)
Place = tuple[Any, ...]


def written() -> list[Any]:
    texts = [path.read_bytes() for path in sorted(REPORTS.glob("*.yaml"))]
    parts = (part for text in (*texts, ADMIN.encode()) for part in parts_of(text))
    return [each.content for part in parts for each in documents_of(part.text)]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    entries = value.items() if isinstance(value, dict) else ()
    for key, inner in entries if not isinstance(value, list) else enumerate(value):
        yield from places(inner, (*place, key))


def damaged(document: Any, chance: random.Random) -> Any:
    """The document with a field that is changed, missing, or called otherwise."""
    found = copy.deepcopy(document)
    *above, last = chance.choice([*places(found)])
    around = found
    for key in above:
        around = around[key]
    what = chance.choice(("value", "value", "missing", "name"))
    if what == "value" or isinstance(around, list):
        around[last] = copy.deepcopy(chance.choice(VALUES))
    elif what == "missing":
        del around[last]
    else:
        around[f"{last}s"] = around.pop(last)
    return found


@pytest.mark.parametrize("seed", range(60))
def test_damaged_manifests_are_loaded(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same damage in every run
    chosen = chance.sample(written(), 12)
    found = loaded_from(Manifest(damaged(document, chance)) for document in chosen)
    why = {problem for each in found.refused.values() for problem in each.problems}
    assert why <= set(found.problems), "what is refused is told"
