"""Small inputs behind public reports, each with the answers that are right for it.

`tests/data/reports/*.yaml` say in their heads where the question came up and what is `expected`.
Here each expectation is a row: a command as its user types it, the exit codes that are right, what
the output must say, and what it must never say. FAILING names the rows that are not right yet: each
fails if it comes right, so whoever mends one deletes its line.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from steppe.cli.main import main

REPORTS = Path(__file__).parents[1] / "data" / "reports"


class Row(NamedTuple):
    """`command` without -f; `codes` are right; `says` and `never` are regular expressions."""

    report: str
    command: str
    codes: tuple[int, ...]
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.report}: {self.command}"


ROWS = (
    Row(
        "daemonset-name-offline",
        "explain ds/d/agent d/sts",
        (0,),
        ("reaches", "d/agent is d/agent-node-a, the first of its 2 pods"),
    ),
    Row(
        "daemonset-name-offline",
        "explain d/agent d/sts",
        (0,),
        ("reaches", "d/agent is d/agent-node-a, the first of its 2 pods"),
    ),
    Row("daemonset-name-offline", "explain sts/d/sts d/agent --port 80", (0,), ("reaches",)),
    Row("daemonset-name-offline", "explain rs/d/rs d/sts", (0,), ("reaches",)),
    Row("daemonset-name-offline", "explain job/d/jb d/sts", (0,), ("reaches",)),
    Row("dns-closed", "lint", (1,), ("app-out.*DNS",)),
    Row("dns-closed", "explain sh/app db.sh.svc", (0,), ("reaches", "DNS.*app-out")),
    Row("endpoints-mirrored", "explain e/c svc/e/ext:5432", (0,), ("reaches", "198.51.100.10")),
    Row("endpoints-mirrored", "explain e/c svc/e/exts:5432", (0,), ("reaches", "198.51.100.10")),
    Row("endpoints-mirrored", "explain e/c svc/e/typo:5432", (1,), ("cannot reach",)),
    Row("endpoints-mirrored", "explain e/c svc/e/portname:5432", (1,), ("cannot reach",)),
    Row(
        "endpoints-mirrored",
        "lint",
        (1,),
        ("kubernetes.io/service-name", "portname.*port.*name"),
    ),
    Row(
        "explain-masqueraded-sender",
        "explain 198.51.100.10 svc/i/s",
        (1,),
        (
            r"(node's address|address of node|node/node-\w).*192\.0\.2\.1\d",
            "externalTrafficPolicy: Local",
        ),
        (r"none of (its|their) rules takes 198\.51\.100\.10 ",),
    ),
    Row("explain-masqueraded-sender", "explain 198.51.100.10 svc/i/loc", (0,), ("reaches",)),
    Row("explain-masqueraded-sender", "lint", (1,), ("externalTrafficPolicy",)),
    Row("host-port", "explain 198.51.100.10 node/node-b:8088", (0, 1, 2), ("hostPort",)),
    Row("host-port", "explain internet e/hp", (0, 1, 2), ("hostPort",)),
    Row("host-port", "lint", (1,), ("hostPort",)),
    Row(
        "ipblock-meets-invented-address",
        "explain test/a test/b",
        (1, 2),
        (r"10\.42\.0\.0/16",),
        ("^test/a (cannot reach|reaches) test/b",),
    ),
    Row("ipblock-meets-invented-address", "lint", (0, 1), (), ("let somebody in",)),
    Row(
        "ipblock-of-cluster-ip",
        "lint",
        (1,),
        (r"10\.96\.0\.10.*Service/? ?kube-system/kube-dns.*name the pods",),
        ("remove the Service",),
    ),
    Row(
        "ipblock-of-cluster-ip",
        "explain app/c svc/kube-system/kube-dns",
        # The pods' network may be outside 10.0.0.0/8, and then spec.egress[2] takes it.
        (1, 2),
        ("cannot reach|not known", r"10\.96\.0\.10.*(address of|cluster IP)"),
    ),
    Row("kustomize-patch", "explain k/c svc/k/web", (0,), ("reaches",)),
    Row("null-fields", "lint", (0,), ("nothing found",), ("not readable",)),
    Row("null-fields", "explain lh/c svc/lh/ui", (0,), ("reaches", "8000"), ("not readable",)),
    Row(
        "operator-made-pods",
        "lint",
        (0, 1),
        ("Prometheus", "Rollout"),
        ("correct it or remove it", "correct the selector"),
    ),
    Row(
        "operator-made-pods",
        "explain mon/c svc/mon/ro",
        (1, 2),
        ("Rollout",),
        ("^mon/c (cannot reach|reaches)",),
    ),
    Row(
        "peers-or-and",
        "lint",
        (1,),
        (r"prod/not-testing.*from\[1\]", r"dev/or-not-and.*from\[1\].*prod"),
        ("remove the peer",),
    ),
    Row(
        "peers-or-and",
        "explain testing/t prod/p",
        (0,),
        ("reaches", r"spec\.ingress\[0\]\.from\[1\]"),
    ),
    Row(
        "reach-outside-to-service",
        "reach --from internet --to svc/default/web",
        (0,),
        ("svc/default/web:80/TCP.*allowed.*internet",),
        ("share no address family",),
    ),
    Row(
        "reach-outside-to-service",
        "reach --from internet --to svc/default/np",
        (0,),
        ("svc/default/np:80/TCP.*allowed.*internet",),
    ),
    Row(
        "reach-outside-to-service",
        "reach --from 198.18.0.1 --to svc/default/lbip",
        (0,),
        ("svc/default/lbip:80/TCP.*denied.*[Ss]ourceRanges.*198.18.0.1",),
        (" allowed ",),
    ),
    Row(
        "reach-outside-to-service",
        "reach --from 203.0.113.9 --to svc/default/lbip",
        (0,),
        (r"svc/default/lbip:80/TCP.*allowed.*203\.0\.113\.9",),
    ),
    Row(
        "reach-outside-to-service",
        "reach",
        (0,),
        (
            r"svc/default/web:80/TCP +allowed[^\n]*(internet|everyone)",
            r"svc/default/np:80/TCP +allowed[^\n]*(internet|everyone)",
        ),
    ),
    Row(
        "reach-own-node-through-service",
        "reach --from node/n1 --to svc/d/db",
        (0,),
        ("svc/d/db:5432/TCP +allowed +node/n1",),
        (" denied ",),
    ),
    Row(
        "reach-own-node-through-service",
        "reach --from d/db --to svc/d/db",
        (0,),
        ("svc/d/db:5432/TCP +allowed +d/db",),
        (" denied ",),
    ),
    Row("reach-own-node-through-service", "explain node/n1 svc/d/db", (0,), ("reaches",)),
    Row("reach-own-node-through-service", "explain d/db svc/d/db", (0,), ("reaches",)),
    Row("same-node-port-offline", "lint", (1,), ("x/two.*30080.*already", "10.96.77.7")),
    Row(
        "same-node-port-offline",
        "explain internet svc/x/two",
        (1, 2),
        ("already",),
        ("reaches svc/x/two",),
    ),
    Row(
        "session-affinity-words",
        "explain d/c svc/d/s",
        (1,),
        ("ClientIP|session affinity", "same endpoint", "3 hours|10800"),
        ("of the time",),
    ),
    Row("session-affinity-words", "lint", (1,), ("same endpoint",), ("part of the time",)),
    Row(
        "special-addresses",
        "explain d/c1 127.0.0.1:80",
        (0, 2),
        ("the pod itself|d/c1 itself|loopback",),
        ("is outside",),
    ),
    Row(
        "special-addresses",
        "explain node/n2 127.0.0.1:30080",
        (1, 2),
        ("loopback",),
        ("is outside",),
    ),
    Row("special-addresses", "explain d/c1 ::1 --port 80", (0, 2), ("itself|loopback",)),
    Row(
        "unreadable-policy",
        "explain d/c d/s",
        (1, 2),
        (r"^[^.]*d/typo",),
        ("^d/c reaches d/s on TCP 80\\.",),
    ),
    Row(
        "unreadable-policy",
        "lint",
        (1,),
        (r"d/tos.*spec\.egress\[0\].*from", "d/typo", "d/indent"),
    ),
    Row("yaml-equals-sign", "lint", (0,), ("nothing found",)),
)

ASSERTED = (
    ("reach-outside-to-service", "internet", "svc/default/web", "allowed", 0),
    ("reach-outside-to-service", "internet", "svc/default/np", "allowed", 0),
    ("reach-outside-to-service", "198.18.0.1", "svc/default/lbip", "denied", 0),
    ("reach-outside-to-service", "198.18.0.1", "svc/default/lbip", "allowed", 1),
    ("reach-outside-to-service", "203.0.113.9", "svc/default/lbip", "allowed", 0),
    ("reach-outside-to-service", "203.0.113.9", "svc/default/lbip", "denied", 1),
    ("reach-own-node-through-service", "node/n1", "svc/d/db:5432", "allowed", 0),
    ("reach-own-node-through-service", "d/db", "svc/d/db:5432", "allowed", 0),
    ("reach-own-node-through-service", "node/n1", "svc/d/db:5432", "denied", 1),
    ("unreadable-policy", "d/c", "d/s", "allowed", 2),
    ("unreadable-policy", "d/c", "d/s", "denied", 2),
    ("operator-made-pods", "mon/c", "svc/mon/ro", "denied", 2),
    ("ipblock-meets-invented-address", "test/a", "test/b", "denied", 2),
)
"""A report, from, to, what is expected, and the exit code of `reach --assert`."""

CHANGED_RANGES = "reach-outside-to-service: diff of source ranges"
PATCHED = "kustomize-patch: a folder"

FAILING = """
"""
"""The names of what is not right yet, one a line: delete a line when its row comes right."""


def asserted_name(report: str, sender: str, receiver: str, expect: str) -> str:
    return f"{report}: assert {sender} {receiver} {expect}"


def _failing() -> frozenset[str]:
    return frozenset(line.strip() for line in FAILING.strip().splitlines())


def not_yet(name: str) -> pytest.MarkDecorator:
    """Marks a test that must fail (strictly) while FAILING names it."""
    return pytest.mark.xfail(name in _failing(), reason="listed in FAILING", strict=True)


def _marked(name: str, value: object) -> object:
    return pytest.param(value, id=name, marks=not_yet(name))


def _rows() -> Iterator[object]:
    return (_marked(row.name, row) for row in ROWS)


def _asserted() -> Iterator[object]:
    return (_marked(asserted_name(*each[:4]), each) for each in ASSERTED)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")


def _run(report: str, *words: str) -> tuple[int, str]:
    command, *others = words
    file = str(REPORTS / f"{report}.yaml")
    result = CliRunner().invoke(main, [command, "-f", file, *others])
    return result.exit_code, result.output


@pytest.mark.parametrize("row", [*_rows()])
def test_a_report_is_answered_rightly(row: Row) -> None:
    code, output = _run(row.report, *row.command.split())
    assert "Traceback" not in output
    assert code in row.codes, output
    for pattern in row.says:
        assert re.search(pattern, output, re.DOTALL), (pattern, output)
    for pattern in row.never:
        assert not re.search(pattern, output), (pattern, output)


@pytest.mark.parametrize("row", [*_asserted()])
def test_an_expectation_about_a_report_is_judged_rightly(
    tmp_path: Path, row: tuple[str, str, str, str, int]
) -> None:
    report, sender, receiver, expect, code = row
    expected = tmp_path / "expected.yaml"
    expected.write_text(f"[{{from: '{sender}', to: '{receiver}', expect: {expect}}}]\n")
    found, output = _run(report, "reach", "--assert", str(expected))
    assert found == code, output


@not_yet(CHANGED_RANGES)
def test_a_change_of_source_ranges_is_told(tmp_path: Path) -> None:
    base = REPORTS / "reach-outside-to-service.yaml"
    change = tmp_path / "change.yaml"
    change.write_text(base.read_text().replace("[203.0.113.0/24]", "[198.18.0.0/16]"))
    words = ["diff", "--base", str(base), "-f", str(change)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1, result.output
    told = [line for line in result.output.splitlines() if "svc/default/lbip" in line]
    assert any("203.0.113.0/24" in line and "denied" in line for line in told), result.output
    assert any("198.18.0.0/16" in line and "allowed" in line for line in told), result.output


@not_yet(PATCHED)
def test_a_kustomization_is_named_and_its_patch_is_no_object(tmp_path: Path) -> None:
    base, patch = (REPORTS / "kustomize-patch.yaml").read_text().split("# prod/scale.yaml\n")
    prod = tmp_path / "prod"
    prod.mkdir()
    (tmp_path / "all.yaml").write_text(base.removesuffix("---\n"))
    (tmp_path / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (prod / "scale.yaml").write_text(patch)
    (prod / "kustomization.yaml").write_text("resources: [..]\npatches: [{path: scale.yaml}]\n")
    result = CliRunner().invoke(main, ["explain", "-f", str(tmp_path), "k/c", "svc/k/web"])
    assert "kustom" in result.output
    assert "not readable" not in result.output
    assert result.exit_code == 0, result.output


def test_every_report_is_in_the_table() -> None:
    files = {path.stem for path in REPORTS.glob("*.yaml")}
    assert files == {row.report for row in ROWS}
    known = {row.name for row in ROWS} | {asserted_name(*each[:4]) for each in ASSERTED}
    known |= {CHANGED_RANGES, PATCHED}
    assert _failing() <= known
