"""`steppe explain` as it is typed: exit codes, sentences instead of tracebacks, and JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from steppe.cli.main import main

CLUSTER = Path(__file__).parents[1] / "golden" / "explain" / "cluster.yaml"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["explain", "-f", str(CLUSTER), *words])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("shop/web-1", "shop/db-0"), 0),
        (("shop/job", "shop/db-0"), 1),
        (("shop/web-1", "svc/shop/db"), 1),
        (("shop/web-1", "shop/db-7"), 2),
        (("shop/web-1", "shop/job"), 2),
        (("shop/web-1",), 2),
        (("shop/web-1", "shop/db-0", "--protocol", "gre"), 2),
        (("shop/web-1", "shop/db-0", "--actual"), 2),
        (("shop/web-1", "svc/shop/db", "--family", "ipv6"), 2),
    ],
)
def test_the_exit_code_is_the_answer(words: tuple[str, ...], code: int) -> None:
    result = run(*words)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if code == 2:
        assert "Error: " in result.output


def test_the_verdict_comes_first() -> None:
    assert run("shop/web-1", "shop/db-0").output.startswith("shop/web-1 reaches shop/db-0 on TCP")


def test_json_says_the_same() -> None:
    found = json.loads(run("shop/web-1", "svc/shop/db", "-o", "json").stdout)
    assert (found["schema"], found["verdict"], found["basis"]) == (
        "steppe.explain/v1",
        "partly",
        "promises",
    )
    assert [path["share"] for path in found["cases"][0]["paths"]] == ["1/2", "1/2"]
    assert found["problems"] == found["gaps"] == []


def test_faults_of_the_objects_on_the_way_are_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\n"
        "metadata: {name: odd, namespace: shop}\n"
        "spec: {podSelector: {}, ingress: [{from: [{}]}]}\n"
    )
    result = CliRunner().invoke(
        main, ["explain", "-f", str(CLUSTER), "-f", str(bad), "shop/job", "shop/web-1", "--port=80"]
    )
    assert result.exit_code == 2
    assert "must specify a peer" in " ".join(result.output.split())


def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["explain", "-f", str(CLUSTER), "shop/web-1", "shop/db-0"]
    assert "\x1b[" in CliRunner().invoke(main, words, color=True).output
    assert "\x1b[" not in CliRunner().invoke(main, [*words, "--plain"], color=True).output
    assert "\x1b[" not in CliRunner().invoke(main, words).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in CliRunner().invoke(main, words, color=True).output


def test_of_many_endpoints_the_first_few_are_listed(tmp_path: Path) -> None:
    labels = "{app: many}"
    many = tmp_path / "many.yaml"
    many.write_text(
        "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: many, namespace: shop}\n"
        f"spec: {{replicas: 30, selector: {{matchLabels: {labels}}}, template: {{metadata: "
        f"{{labels: {labels}}}, spec: {{containers: [{{name: c, image: i}}]}}}}}}\n"
        "---\nkind: Service\napiVersion: v1\nmetadata: {name: many, namespace: shop}\n"
        f"spec: {{selector: {labels}, ports: [{{port: 80}}]}}\n"
    )
    words = ["explain", "-f", str(CLUSTER), "-f", str(many), "shop/job", "svc/shop/many"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert result.output.count("of the time") == 8
    assert "22 more are allowed" in result.output


def test_a_fix_is_what_kubectl_applies(tmp_path: Path) -> None:
    result = run("shop/job", "shop/db-0", "--fix")
    assert result.exit_code == 1
    fix = tmp_path / "fix.yaml"
    fix.write_text(result.stdout)
    words = ["explain", "-f", str(CLUSTER), "-f", str(fix), "shop/job", "shop/db-0"]
    assert CliRunner().invoke(main, words).exit_code == 0


def test_where_nothing_has_to_change_the_fix_is_a_comment() -> None:
    result = run("shop/web-1", "shop/db-0", "--fix")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout) is None
    assert run("shop/job", "svc/shop/idle", "--fix").exit_code == 2


def test_manifests_are_explained_without_loading_what_tables_and_clusters_need() -> None:
    """A cold start is mostly imports: this keeps it short where no clock can be relied on."""
    code = (
        "import sys; from steppe.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m in ('aiohttp', 'asyncio', 'steppe.compile')])"
    )
    words = ["explain", "-f", str(CLUSTER), "shop/web-1", "shop/db-0"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
