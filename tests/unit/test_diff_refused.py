"""Changes that an API server refuses: told, and never counted as a change of nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from steppe.cli.main import main

BASE = """
apiVersion: v1
kind: Service
metadata: {name: s, namespace: d}
spec: {clusterIP: 10.96.5.5, selector: {app: s}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: s, namespace: d, labels: {app: s}}
spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: odd, namespace: other}
spec: {podselector: {}}
"""
NODE_PORT = BASE.partition("---")[0].replace("spec: {", "spec: {type: NodePort, ")
POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: d}\n"
)


@pytest.mark.parametrize(
    ("change", "options", "code", "said"),
    [
        (BASE.replace("10.96.5.5", "10.96.5.6"), (), 2, "clusterIPs[0]: an API server refuses it"),
        (POLICY + "spec: {podSelector: {}, ingres: []}\n", (), 2, "did you mean ingress?"),
        (POLICY + "spec: {podSelector: {}}\n", (), 1, "NEWLY DENIED"),
        # What was at fault before is told, and is no fault of the change.
        (NODE_PORT, (), 1, "podselector"),
        # Deleting what was refused takes nothing away and is no error.
        (POLICY.replace("d}", "other}").replace("name: p", "name: odd"), ("--delete",), 0, ""),
    ],
)
def test_a_change_that_is_refused_is_bad_input(
    tmp_path: Path, change: str, options: tuple[str, ...], code: int, said: str
) -> None:
    base, changed = tmp_path / "base.yaml", tmp_path / "change.yaml"
    base.write_text(BASE)
    changed.write_text(change)
    words = ["diff", "--base", str(base), "-f", str(changed), *options]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, result.output
    assert said in result.output
    assert ("not all of the change is taken" in result.output) == (code == 2)
