"""`steppe diff -o md` and `html`: a change as a comment on it, and as a page."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from steppe.cli.main import main
from steppe.reach.diff_export import EXPORTS, as_html

BASE = """
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
CHANGE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: close, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}
"""


def diff(tmp_path: Path, output: str, change: str = CHANGE) -> tuple[int, str]:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "change.yaml").write_text(change)
    words = ["--base", str(tmp_path / "base.yaml"), "-f", str(tmp_path / "change.yaml")]
    result = CliRunner().invoke(main, ["diff", *words, "-o", output])
    return result.exit_code, result.stdout


def test_markdown_tells_what_closes_and_why(tmp_path: Path) -> None:
    code, text = diff(tmp_path, "md")
    assert code == 1
    head, _, first, *_ = text.splitlines()
    assert head.startswith("**What changes: ")
    assert "newly denied" in head
    assert first == "| Change | From | To | Ports | Because |"
    row = next(line for line in text.splitlines() if line.startswith("| ✘ newly denied"))
    assert "shop/db" in row
    assert "NetworkPolicy/shop/close" in row
    assert "| all |" in row
    assert "| svc/shop/db:5432/TCP" in text


def test_html_says_the_same(tmp_path: Path) -> None:
    code, text = diff(tmp_path, "html")
    assert code == 1
    assert "<td>✘ newly denied</td>" in text
    assert "NetworkPolicy/shop/close" in text
    assert text.count("<table>") == text.count("</table>") == 2


@pytest.mark.parametrize("output", EXPORTS)
def test_a_change_without_effect_says_so(tmp_path: Path, output: str) -> None:
    namespace = "kind: Namespace\nmetadata: {name: empty}\n"
    assert "Nothing changes for any flow." in diff(tmp_path, output, namespace)[1]


def test_names_are_escaped() -> None:
    document = {
        "groups": [{"name": "<b>"}],
        "flows": [{"from": [0], "to": 0, "denied": {"ports": {}, "because": "<i>"}}],
        "services": [],
    }
    text = "".join(as_html(document))
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "<i>" not in text
