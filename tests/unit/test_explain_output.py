"""The formats of `steppe explain -o`."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from steppe.cli.explain import FORMATS
from steppe.cli.explain_output import OUTPUTS
from steppe.cli.main import main

REPORTS = Path(__file__).parents[1] / "data" / "reports"


def run(report: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["explain", "-f", str(REPORTS / f"{report}.yaml"), *words])


def test_every_format_is_offered() -> None:
    assert tuple(OUTPUTS) == FORMATS


@pytest.mark.parametrize("output", FORMATS)
def test_the_exit_code_is_the_same_in_every_format(output: str) -> None:
    assert run("session-affinity-words", "d/c", "svc/d/s", "-o", output).exit_code == 1
    assert run("session-affinity-words", "d/c", "d/a", "-o", output).exit_code == 0


def test_yaml_is_the_document_that_json_is() -> None:
    words = ("d/c", "svc/d/s", "-o")
    one = json.loads(run("session-affinity-words", *words, "json").stdout)
    assert yaml.safe_load(run("session-affinity-words", *words, "yaml").stdout) == one


def test_dot_has_an_edge_for_each_endpoint_with_what_denies_it() -> None:
    text = run("session-affinity-words", "d/c", "svc/d/s", "-o", "dot").stdout
    assert text.startswith("digraph explain {")
    edges = re.findall(r'"([^"]+)" -> "([^"]+)"', text)
    assert edges == [("d/c", "svc/d/s"), ("svc/d/s", "d/a"), ("svc/d/s", "d/b")]
    assert 'label="allowed TCP 8080"' in text
    assert 'label="denied TCP 8080\\nNetworkPolicy d/b"' in text


HANGS = """
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: d}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: 'sa"d', namespace: d}
spec: {podSelector: {}, ingress: nope}
"""


def test_what_is_not_known_is_neither_allowed_nor_denied_in_any_picture(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(HANGS)
    words = ["explain", "-f", str(tmp_path), "d/a", "d/b", "--port", "80", "--family", "ipv4", "-o"]
    dot, html = (CliRunner().invoke(main, [*words, output]) for output in ("dot", "html"))
    assert dot.exit_code == html.exit_code == 2
    (edge,) = (line.strip() for line in dot.stdout.splitlines() if "->" in line)
    assert edge == (
        '"d/a" -> "d/b" [color="#8a6100", style=dotted, '
        'label="not known TCP 80\\nNetworkPolicy d/sa\\"d"];'
    )
    assert "? not known: It is not known whether d/a reaches d/b" in html.stdout
    assert "What follows is by what is known." in html.stdout


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_whole_and_says_the_verdict_first() -> None:
    read = _Tags()
    read.feed(run("session-affinity-words", "d/c", "svc/d/s", "-o", "html").stdout)
    assert not read.open
    said = [text.strip() for text in read.text if text.strip()]
    assert any(text.startswith("◐ partly: d/c reaches svc/d/s") for text in said[:4])
    assert any("add a rule to NetworkPolicy d/b" in text for text in said)


def test_the_page_escapes_what_the_cluster_says(tmp_path: Path) -> None:
    pod = (
        "kind: Pod\nmetadata: {name: a, namespace: d}\nspec: {containers: [{name: c, image: x, "
        "ports: [{containerPort: 80}]}]}\n"
    )
    (tmp_path / "x.yaml").write_text(pod + "---\nkind: <script>alert(1)</script>NetworkPolicy\n")
    words = ["explain", "-f", str(tmp_path), "d/a", "d/a", "-o", "html"]
    assert "<script>" not in CliRunner().invoke(main, words).stdout


UNREAD = """
kind: Pod
metadata: {name: web, namespace: shop}
spec: {containers: [{name: c, image: x}]}
---
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: x}]}
---
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: odd, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, ingres: []}
"""


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("to", ["shop/db:5432", "svc/shop/db"])
def test_no_format_says_denied_where_it_is_not_known(tmp_path: Path, output: str, to: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(UNREAD)
    words = ["explain", "-f", str(path), "shop/web", to, "-o", output]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "not known" in result.stdout
    assert "shop/odd" in result.stdout
    for text in ("fate: denied", '"fate": "denied"', ": denied</h3>", 'label="denied'):
        assert text not in result.stdout
