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


UNREAD = POLICY.replace("name: p", "name: unread") + "spec: {podSelector: {}, ingress: nope}\n"
SHUT = "spec: {podSelector: {}, policyTypes: [Ingress]}\n"
OTHER = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: d}\n"


@pytest.mark.parametrize(
    ("change", "options", "code", "said"),
    [
        # Whether anybody is let through before hangs on the policy that cannot be read.
        (POLICY + SHUT, ("--fail-on", "deny"), 2, "PERHAPS NEWLY DENIED"),
        (POLICY.replace("name: p", "name: unread") + SHUT, (), 1, "PERHAPS NEWLY DENIED"),
        (UNREAD.partition("spec")[0] + SHUT, ("--fail-on", "deny"), 2, "not known → denied"),
        (POLICY + SHUT, ("--fail-on", "deny", "-o", "md"), 2, "1 perhaps newly denied"),
        (POLICY + SHUT, ("--fail-on", "deny", "-o", "json"), 2, '"perhaps": ['),
        # What is not known before and after, and what nobody touches, is no change.
        (OTHER, (), 0, "Nothing changes for any flow."),
        (POLICY.replace("d}", "other}") + SHUT, (), 0, "Nothing changes for any flow."),
    ],
)
def test_what_hangs_on_a_policy_of_the_base_that_is_refused_is_not_nothing(
    tmp_path: Path, change: str, options: tuple[str, ...], code: int, said: str
) -> None:
    base, changed = tmp_path / "base.yaml", tmp_path / "change.yaml"
    base.write_text(f"{BASE}---\n{UNREAD}")
    changed.write_text(change)
    words = ["diff", "--base", str(base), "-f", str(changed), *options]
    result = CliRunner().invoke(main, words)
    assert said in result.output
    assert result.exit_code == code, result.output
    hangs = "what this change does hangs on objects that are not known"
    assert (hangs in result.output) == (code == 2)
