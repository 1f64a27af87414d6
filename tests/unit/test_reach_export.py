"""`steppe reach -o csv`, `md` and `dot`: what other programs read."""

import csv
import io
import json
import re
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from steppe.cli.main import main
from steppe.reach.export import EXPORTS, as_csv, as_markdown
from steppe.reach.svg import Cell, Sign, matrix

SVG = "{http://www.w3.org/2000/svg}"
REPORTS = Path(__file__).parents[1] / "data" / "reports"
REPORT = REPORTS / "session-affinity-words.yaml"
EXAMPLES = Path(__file__).parents[2] / "examples"
UNREAD = """
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: d, labels: {app: b}}}
---
apiVersion: v1
kind: Service
metadata: {name: sb, namespace: d}
spec: {selector: {app: b}, type: NodePort, ports: [{port: 80, nodePort: 30080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: unread, namespace: d}
spec: {podSelector: {matchLabels: {app: b}}, ingress: nope}
"""


def reach(output: str, *words: str, of: Path = REPORT) -> str:
    result = CliRunner().invoke(main, ["reach", "-f", str(of), "-o", output, *words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def unread(tmp_path: Path) -> Path:
    file = tmp_path / "unread.yaml"
    file.write_text(UNREAD)
    return file


def test_csv_has_a_line_for_each_pair_and_each_answer_of_a_service() -> None:
    rows = list(csv.DictReader(io.StringIO(reach("csv"))))
    found = {(r["kind"], r["from"], r["to"]): r["ipv4"] for r in rows}
    assert found["flow", "d/c", "d/a"] == "all"
    assert found["flow", "d/c", "d/b"] == "none"
    assert found["service", "d/c", "svc/d/s:80/TCP"] == "partly: 1 of 2 endpoints"
    denied = next(r for r in rows if (r["from"], r["to"]) == ("d/c", "d/b"))
    assert denied["because"] == "NetworkPolicy/d/b spec.podSelector"


def test_csv_says_of_each_pair_what_json_says() -> None:
    document = json.loads(reach("json"))
    pairs = {
        (here, there)
        for flow in document["flows"]
        for sender in flow["from"]
        for here in document["groups"][sender]["members"]
        for there in document["groups"][flow["to"]]["members"]
    }
    rows = csv.DictReader(io.StringIO(reach("csv")))
    assert {(r["from"], r["to"]) for r in rows if r["kind"] == "flow"} == pairs


@pytest.mark.parametrize("output", EXPORTS)
@pytest.mark.parametrize("example", ["app.yaml", "webshop", "guestbook"])
def test_every_format_takes_the_examples_with_their_node_ports(output: str, example: str) -> None:
    assert "None" not in reach(output, of=EXAMPLES / example)


def test_csv_tells_the_way_into_a_service_once_and_by_its_family() -> None:
    rows = csv.DictReader(io.StringIO(reach("csv", of=EXAMPLES / "app.yaml")))
    found = [row for row in rows if (row["kind"], row["from"]) == ("service", "internet")]
    assert [(row["ipv4"], row["ipv6"], row["because"]) for row in found] == [
        ("allowed", "", "at node port 30080"),
        ("", "allowed", "at node port 30080"),
    ]


def test_what_is_not_known_is_no_denial_in_any_format(unread: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(reach("csv", of=unread))))
    found = {(r["kind"], r["from"], r["to"]): r["ipv4"] for r in rows}
    assert found["flow", "d/a", "d/b"] == "not known: all"
    assert found["service", "d/a", "svc/d/sb:80/TCP"] == "unknown"
    assert "| d/b (1 pod) | not known: all |" in reach("md", of=unread)
    dot = reach("dot", of=unread)
    assert '"d/a (1 pod)" -> "d/b (1 pod)" [label="not known: all", style=dotted];' in dot
    assert '"internet" -> "svc/d/sb:80/TCP" [style=dotted];' in dot


def test_a_member_whose_answer_is_not_its_groups_has_its_own_alone(unread: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(reach("csv", of=unread))))
    said = [(r["from"], r["ipv4"]) for r in rows if r["to"] == "svc/d/sb:80/TCP"]
    assert len({who for who, _ in said}) == len(said)
    assert ("d/b", "allowed") in said
    assert re.search(
        r"\| unknown \| d/a \(1 pod\), all nodes but node/node-\w \|", reach("md", of=unread)
    )


def test_csv_does_not_deny_what_no_policy_can() -> None:
    rows = list(csv.DictReader(io.StringIO(reach("csv"))))
    found = {(r["from"], r["to"]): (r["ipv4"], r["because"]) for r in rows if r["kind"] == "flow"}
    assert found["d/b", "d/b"] == ("all", "a pod reaches itself")
    assert found["node/node-a", "d/b"][1].endswith("; but a node reaches the pods that it runs")


def test_markdown_is_two_tables() -> None:
    text = reach("md")
    assert text.startswith("| To | Ports | From | Because |\n| --- | --- | --- | --- |\n")
    assert re.search(r"\| d/b .*\| none \|.*\| NetworkPolicy/d/b spec.podSelector \|", text)
    assert "| Service | Answer | From |" in text


def test_dot_has_edges_for_what_is_open_alone() -> None:
    text = reach("dot", "--from", "d/c")
    assert text.startswith("digraph reach {")
    assert '"d/c (1 pod)" -> "d/a (1 pod)" [label="all"];' in text
    assert '-> "d/b' not in text
    assert '"d/c (1 pod)" -> "svc/d/s:80/TCP" [style=dashed];' in text


HOSTILE = {
    "ports": [],
    "always": [],
    "groups": [
        {"kind": "pods", "name": "a|b", "members": ["=1+1"]},
        {"kind": "pods", "name": "c", "members": ["c"]},
    ],
    "flows": [{"from": [0], "to": 1, "ports": {"IPv4": []}, "unknown": [], "because": ["x,y"]}],
    "services": [],
}


def test_names_cannot_break_out_of_a_cell() -> None:
    (_, row) = csv.reader(as_csv(HOSTILE))
    assert row == ["flow", "'=1+1", "c", "none", "", "x,y"]
    assert "| a\\|b |" in "\n".join(as_markdown(HOSTILE))


@pytest.mark.parametrize("output", EXPORTS)
def test_every_format_is_offered(output: str) -> None:
    assert output in CliRunner().invoke(main, ["reach", "--help"]).output


@pytest.mark.parametrize(
    ("to", "meant"),
    [("a", ["d/a"]), ("svc/s", []), ("[ab]", ["d/a", "d/b"]), ("pod/b", ["d/b"])],
)
def test_short_names_are_relative_to_n(to: str, meant: list[str]) -> None:
    rows = csv.DictReader(io.StringIO(reach("csv", "-n", "d", "--from", "c", "--to", to)))
    found = list(rows)
    assert {row["from"] for row in found} == {"d/c"}
    assert sorted({row["to"] for row in found if row["kind"] == "flow"}) == meant


def test_a_namespace_that_is_not_there_is_said() -> None:
    words = ["reach", "-f", str(REPORT), "-n", "x", "--to", "a"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "there is no namespace x" in result.output


def test_svg_has_a_cell_for_each_pair_with_the_ports_and_the_cause() -> None:
    root = ET.fromstring(reach("svg"))  # noqa: S314
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert any(t.startswith("d/a, d/c (2 pods) → d/a, d/c (2 pods): all") for t in titles)
    (denied,) = (t for t in titles if t.startswith("d/a, d/c (2 pods) → d/b (1 pod):"))
    assert denied.endswith(": none\nNetworkPolicy/d/b spec.podSelector")
    assert any("svc/d/s:80/TCP: partly: 1 of 2 endpoints at" in t for t in titles)


def test_svg_shows_names_as_text_whatever_they_are() -> None:
    evil = "<script>alert(1)</script>&\"'\x00\x1b\ud800"
    cells = {(evil, "b"): Cell("all", evil), ("b", evil): Cell("unknown", "]]><x/>")}
    text = "\n".join(matrix(cells, evil))
    root = ET.fromstring(text)  # noqa: S314
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "rect", "text", "path", "g", "circle"),
    }
    assert any("<script>alert(1)</script>&\"'" in (e.text or "") for e in root.iter())


def test_svg_tells_signs_apart_without_colour() -> None:
    cells = {("a", str(n)): Cell(sign, "") for n, sign in enumerate(get_args(Sign))}
    text = "\n".join(matrix(cells, ""))
    plain = re.sub(r'(fill|stroke)="#\w+"', "", text)
    groups = re.findall(r"<g transform=[^>]*><title>[^<]*</title>(.*?)</g>", plain)
    assert len(set(groups)) == len(groups) == 4
