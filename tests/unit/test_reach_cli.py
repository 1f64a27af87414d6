"""`steppe reach` as it is typed: what it says, how it exits, and what it makes of bad input."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from steppe.cli.main import main

SHOP = Path(__file__).with_name("shop.yaml")
LOST = """
apiVersion: v1
kind: Pod
metadata: {name: "</script><script>alert(1)</script>", namespace: shop}
spec: {nodeName: node-a}
"""


def run(*args: object) -> Result:
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


def reach(*args: object) -> Result:
    return run("reach", "-f", SHOP, *args)


def rows(text: str) -> list[list[str]]:
    """The cells of a table, which two spaces or more keep apart; those left empty are carried."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def test_the_table_tells_each_receiver_who_reaches_it_and_why():
    result = reach("--to", "shop/db")
    assert result.exit_code == 0
    told = rows(result.output)
    assert told[0] == ["TO", "PORTS", "FROM", "BECAUSE"]
    assert told[1:4] == [
        [
            "shop/db (2 pods)",
            "TCP 5432",
            "shop/api (2 pods)",
            "NetworkPolicy/shop/db spec.ingress[0]",
        ],
        ["TCP 9187", "monitoring/prometheus (1 pod)", "NetworkPolicy/shop/db spec.ingress[1]"],
        [
            "nothing",
            "everyone else",
            "isolated by NetworkPolicy/shop/db, NetworkPolicy/shop/default-deny",
        ],
    ]


def test_whoever_is_asked_for_is_told_apart_from_those_alike():
    result = reach("--to", "shop/db-0", "--from", "shop/api-1", "--port", "5432")
    assert rows(result.output)[1][:3] == [
        "shop/db (1 of 2 pods)",
        "TCP 5432",
        "shop/api (1 of 2 pods)",
    ]


def test_a_port_behind_a_name_is_the_port_that_is_asked_for():
    behind = reach("--to", "shop/db:9187", "--from", "monitoring/*")
    assert "TCP 9187" in behind.output
    assert "nothing" in reach("--to", "shop/db:5432", "--from", "monitoring/*").output


def test_services_are_as_open_as_their_endpoints():
    told = rows(reach("--to", "svc/shop/db").output)
    assert told[1] == ["svc/shop/db:5432/TCP", "allowed", "shop/api (2 pods)"]
    assert told[2][0] == "denied"


def test_a_services_address_is_the_service():
    by_address = reach("--to", "10.96.46.101", "--from", "shop/api").output
    assert by_address == reach("--to", "svc/shop/db", "--from", "shop/api").output
    assert "svc/shop/db:5432/TCP" in by_address


def test_ends_without_a_family_in_common_are_told_so():
    result = reach("--from", "203.0.113.0/25", "--to", "2001:db8:ffff::1")
    assert "share no address family" in result.output


def test_wide_names_every_pair():
    lines = reach("--from", "shop/db", "--to", "shop/db", "-o", "wide").output.splitlines()
    found = {tuple(re.split(r"\s{2,}", line)[:3]) for line in lines}
    assert found == {
        ("shop/db-0", "shop/db-0", "everything"),
        ("shop/db-0", "shop/db-1", "nothing"),
        ("shop/db-1", "shop/db-0", "nothing"),
        ("shop/db-1", "shop/db-1", "everything"),
    }


def test_a_node_reaches_its_own_pods_whatever_policies_say():
    lines = reach("--from", "node/*", "--to", "shop/db", "-o", "wide").output
    assert lines.count("it is its own node") == 2


def test_json_says_the_same_by_number():
    said = json.loads(reach("-o", "json").output)
    assert said["schema"] == "steppe.reach/v1"
    number = {group["name"]: index for index, group in enumerate(said["groups"])}
    (flow,) = [
        flow
        for flow in said["flows"]
        if flow["to"] == number["shop/db (2 pods)"] and number["shop/api (2 pods)"] in flow["from"]
    ]
    port = {"protocol": "TCP", "first": 5432, "last": 5432}
    assert flow["ports"] == {"IPv4": [port], "IPv6": [port]}
    assert flow["because"] == ["NetworkPolicy/shop/db spec.ingress[0]"]
    assert "Pod/shop/db-0" in said["invented"]


def test_the_page_needs_nothing_from_elsewhere_and_names_cannot_break_out_of_it(tmp_path):
    odd = tmp_path / "odd.yaml"
    odd.write_text(LOST)
    text = run("reach", "-f", SHOP, "-f", odd, "-o", "html").stdout
    assert not re.search(r"(src|href)=|https?:|@import|url\(", text)
    assert text.count("<script") == text.count("</script>") == 2
    (data,) = re.findall(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)
    (problem,) = json.loads(data)["problems"]
    assert "Pod/shop/</script><script>alert(1)</script>" in problem


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--from", "shop/wbe"), "did you mean shop/web"),
        (("--to", "node/nowhere"), "there is no node nowhere"),
        (("--to", "svc/shop/wbe:80"), "did you mean svc/shop/web"),
        (("--from", "svc/shop/web"), "a Service does not send"),
        (("--port", "http"), "is no port such as 80"),
        (("--port", "70000"), "is not between 1 and 65535"),
        (("--port", "80-70"), "begins after its end"),
        (("--from", "10.0.0.0/99"), "'10.0.0.0/99' is no CIDR such as 10.0.0.0/8"),
        (("--to", "shop/db:sql"), "is no port such as 80"),
        (("--assert", "/nowhere.yaml"), "No such file"),
        (("--assert", SHOP, "--port", "80"), "--assert goes without"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence_and_exit_code_2(args, said):
    result = reach(*args)
    assert result.exit_code == 2
    assert said in result.output


def held_against(tmp_path: Path, text: str, *args: object) -> Result:
    path = tmp_path / "flows.yaml"
    path.write_text(text)
    return reach("--assert", path, *args)


def test_expectations_that_are_met_exit_0(tmp_path):
    result = held_against(
        tmp_path,
        """
        - {from: shop/web-*, to: "svc/shop/db:5432", expect: denied}
        - {from: shop/api, to: svc/shop/db, expect: allowed}
        - {from: deploy/shop/api, to: "shop/db:5432", expect: allowed}
        - {from: internet, to: shop/db, expect: denied}
        - {from: shop/db, to: 203.0.113.9, port: 443, expect: allowed}
        - {from: shop/db-0, to: shop/db-0, expect: denied}
        - {from: "*", to: shop/db, port: 53/udp, expect: denied}
        """,
    )
    assert result.exit_code == 0, result.output
    assert "7 of 7 expectations met" in result.output


@pytest.mark.parametrize(
    ("flow", "found", "because"),
    [
        (
            '{from: shop/web, to: "shop/db:5432", expect: allowed}',
            "shop/web-0 → shop/db-0: nothing allowed",
            "isolated by NetworkPolicy/shop/db, NetworkPolicy/shop/default-deny",
        ),
        (
            "{from: internet, to: shop/web, expect: denied}",
            "internet → shop/web-0: TCP 80 allowed",
            "NetworkPolicy/shop/web spec.ingress[0]",
        ),
        (
            "{from: shop/*, to: svc/shop/api, expect: allowed}",
            "shop/db-0 → svc/shop/api:8080 at 10.96.23.197: denied, 0 of 2 endpoints",
            "isolated by NetworkPolicy/shop/db",
        ),
        (
            "{from: node/*, to: shop/db, expect: denied}",
            "everything allowed to its own pods, always",
            "no policy is in the way",
        ),
    ],
)
def test_expectations_that_are_not_met_exit_1_with_the_causes(tmp_path, flow, found, because):
    result = held_against(tmp_path, f"- {flow}\n")
    assert result.exit_code == 1
    assert found in result.output
    assert because in result.output


def test_expectations_answer_programs_too(tmp_path):
    flow = '- {from: shop/web, to: "shop/db:5432", expect: allowed}'
    said = json.loads(held_against(tmp_path, flow, "-o", "json").output)
    (result,) = said["results"]
    assert result["met"] is False
    assert result["failures"][0]["from"] == "shop/web-0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a list of flows is wanted"),
        ("from: a", "a list of flows is wanted"),
        ("- just text", "flows.yaml:1: not a flow"),
        ("- from: a\n  to: b\n", "flows.yaml:1: expect is missing"),
        ("- from: a\n  to: b\n  expect: maybe\n", "not allowed or denied"),
        ("- from: a\n  too: b\n", "flows.yaml:2: 'too' is none of"),
        (
            "- {from: shop/web, to: shop/nobody, expect: denied}",
            "flows.yaml:1: there is no pod shop/nobody",
        ),
        ("- {from: [a], to: b, expect: denied}", "from is one text, not a list or a mapping"),
        ("- {[a]: b}", "flows.yaml:1: a list or a mapping is none of"),
        ("- {from: a, from: b, to: c, expect: denied}", "from is given twice"),
        ("- {from: a, to: b", "is not YAML"),
        ("- {from: svc/shop/db, to: shop/web, expect: denied}", "a Service does not send"),
        ("- {from: shop/web, to: svc/shop/db, port: 1, expect: denied}", "behind its name"),
    ],
)
def test_a_bad_file_of_expectations_is_a_sentence_with_the_line(tmp_path, text, said):
    result = held_against(tmp_path, text)
    assert result.exit_code == 2
    assert said in result.output
