"""Public demo manifests, written down from their documentation, get no finding that is not true."""

from pathlib import Path

import pytest
import yaml

from steppe.lint.lint import lint
from steppe.manifests.cluster import loaded_from
from steppe.manifests.documents import Manifest

DEMOS = Path(__file__).parents[1] / "data" / "demos"
EXPECTED = {
    "kubernetes-io": [("not-compared", "NetworkPolicy/documented/test-network-policy")],
    "monitoring": [
        ("selects-host-network", "NetworkPolicy/monitoring/node-exporter"),
        ("not-compared", "NetworkPolicy/monitoring/prometheus-k8s"),
        ("not-compared", "Service/monitoring/alertmanager-main"),
        ("not-compared", "Service/monitoring/prometheus-k8s"),
    ],
    "shop": [
        ("namespace-not-here", "NetworkPolicy/boutique/from-ingress-controller"),
        ("namespace-not-here", "NetworkPolicy/boutique/monitoring"),
    ],
}
"""What is found in each: every line was looked at, and is true."""


@pytest.mark.parametrize("demo", sorted(EXPECTED))
def test_a_demo_gets_true_findings_alone(demo: str) -> None:
    documents = yaml.safe_load_all((DEMOS / f"{demo}.yaml").read_text())
    found = lint(loaded_from(Manifest(document) for document in documents))
    assert [(each.check, str(each.cause.ref)) for each in found] == EXPECTED[demo], found
