"""What a change does to flows of which something cannot be read: not known, and never denied."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from steppe.cli.main import main

PODS = """
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: x}]}
---
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: x, ports: [{containerPort: 5432}]}]}
---
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 5432}]}
"""
POLICY = """
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, SPEC}
"""


def policy(name: str, spec: str) -> str:
    return POLICY.replace("NAME", name).replace("SPEC", spec)


READ = policy("read", "policyTypes: [Ingress]")
UNREAD = policy("unread", "ingres: []")
"""An API server refuses this: so nobody knows what it was to let through."""
ELSEWHERE = UNREAD.replace("app: db", "app: nothing")


def diff(tmp_path: Path, before: str, after: str, *options: str) -> Result:
    base, changed = tmp_path / "base.yaml", tmp_path / "change.yaml"
    base.write_text(before)
    changed.write_text(after)
    words = ["diff", "--base", str(base), "-f", str(changed), "--whole", *options]
    return CliRunner().invoke(main, words, env={"COLUMNS": "250"}, catch_exceptions=False)


@pytest.mark.parametrize(
    ("before", "after", "codes", "said"),
    [
        # yes → not known: it may close.
        ("", UNREAD, (2, 2), "newly denied"),
        # not known → yes, and no → not known: it may open.
        (UNREAD, "", (0, 2), "newly allowed"),
        # A policy that is read closes behind the one that is not: both are not known.
        (UNREAD, UNREAD + READ, (2, 2), "newly allowed or denied"),
        # What cannot be read is the same before and after, and the change is elsewhere.
        (UNREAD, UNREAD, (2, 2), ""),
        (READ, READ, (0, 0), ""),
        ("", READ, (1, 0), ""),
        # No pod here has the label, so nothing hangs on it.
        (ELSEWHERE, ELSEWHERE + READ, (2, 2), ""),
    ],
)
def test_what_is_not_known_is_told_as_not_known(
    tmp_path: Path, before: str, after: str, codes: tuple[int, int], said: str
) -> None:
    """`codes`: with --fail-on deny, and with --fail-on allow."""
    result = diff(tmp_path, PODS + before, PODS + after, "--fail-on", "deny")
    assert ("NOT KNOWN" in result.stdout) == bool(said), result.stdout
    if said:
        assert "NEWLY DENIED" not in result.stdout
        row = next(line for line in result.stdout.splitlines() if "shop/db (1 pod)" in line)
        assert said in row
        assert "NetworkPolicy/shop/unread" in row
        assert "allowed → denied" not in result.stdout
    assert result.exit_code == codes[0], result.stdout
    assert diff(tmp_path, PODS + before, PODS + after, "--fail-on", "allow").exit_code == codes[1]


@pytest.mark.parametrize(("fail_on", "code"), [("deny", 0), ("allow", 1)])
def test_a_new_sender_closes_nothing_though_its_answers_are_not_known(
    tmp_path: Path, fail_on: str, code: int
) -> None:
    new = "---\nkind: Pod\nmetadata: {name: new, namespace: other}\n"
    base, changed = tmp_path / "base.yaml", tmp_path / "change.yaml"
    base.write_text(PODS + UNREAD)
    changed.write_text(new)
    words = ["diff", "--base", str(base), "-f", str(changed), "--fail-on", fail_on]
    result = CliRunner().invoke(main, words)
    assert "absent" not in result.stdout
    assert result.exit_code == code, result.output


def test_a_base_that_cannot_be_read_makes_only_what_hangs_on_it_unknown(tmp_path: Path) -> None:
    """The change itself is whole: a new policy for pods whose other policy cannot be read."""
    base, changed = tmp_path / "base.yaml", tmp_path / "change.yaml"
    base.write_text(PODS + UNREAD)
    changed.write_text(READ)
    words = ["diff", "--base", str(base), "-f", str(changed)]
    result = CliRunner().invoke(main, [*words, "-o", "json"], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    said = json.loads(result.stdout)
    assert (said["opens"], said["closes"]) == (False, False)
    assert (said["mayOpen"], said["mayClose"]) == (True, True)
    assert all("denied" not in flow for flow in said["flows"])
    hangs = [text for flow in said["flows"] for each in flow["unknown"] for text in each["hangsOn"]]
    assert any("NetworkPolicy/shop/unread" in text for text in hangs)
    assert {each["after"]["said"] for each in said["services"]} == {"unknown"}
    assert all("NetworkPolicy/shop/unread" in str(each["hangsOn"]) for each in said["services"])
    for output in ("md", "html"):
        text = CliRunner().invoke(main, [*words, "-o", output], catch_exceptions=False).stdout
        assert "? perhaps newly allowed or denied" in text
        assert "newly denied</td>" not in text
        assert "NetworkPolicy/shop/unread" in text
