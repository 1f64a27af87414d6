"""What lint finds, one mistake a case; and that it finds nothing where nothing is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from steppe.cli.main import main
from steppe.lint.finding import Finding
from steppe.lint.lint import lint
from steppe.lint.registry import CHECKS
from steppe.manifests.cluster import loaded_from
from steppe.manifests.documents import Manifest

WEB_AND_DB = """
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
---
kind: Deployment
metadata: {name: db, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{ports: [{name: sql, containerPort: 5432}]}]}
---
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: sql}]}
"""


def policy(spec: str, name: str = "p") -> str:
    """A NetworkPolicy; <DB> and <WEB> are short for the selectors of those pods."""
    for app in ("db", "web"):
        spec = spec.replace(f"<{app.upper()}>", f"podSelector: {{matchLabels: {{app: {app}}}}}")
    return f"kind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"


def findings(*texts: str) -> tuple[Finding, ...]:
    documents = [d for text in texts for d in yaml.safe_load_all(text)]
    return lint(loaded_from(Manifest(document) for document in documents))


def told(*texts: str) -> list[tuple[str, str]]:
    """Check and cause of each finding."""
    return [(found.check, str(found.cause)) for found in findings(*texts)]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    fine = policy(
        "{<DB>, ingress: [{from: [{podSelector: "
        "{matchLabels: {app: web}}}], ports: [{port: sql}]}]}"
    )
    assert not findings(WEB_AND_DB, fine)


POLICY = "NetworkPolicy/shop/p"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{podSelector: {matchLabels: {app: dv}}}", [("selects-nothing", "spec.podSelector")]),
        (
            "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: wep}}}]}]}",
            [("matches-nobody", "spec.ingress[0].from[0]")],
        ),
        (
            ("{podSelector: {}, policyTypes: [Egress], egress: [{to: "
            "[{namespaceSelector: {matchLabels: {a: b}}}], ports: [{port: 53, protocol: UDP}]}]}"),
            [("namespace-not-here", "spec.egress[0].to[0]")],
        ),
        (
            "{<DB>, ingress: [{ports: [{port: 5433}]}]}",
            [("port-not-declared", "spec.ingress[0].ports")],
        ),
        (
            "{<DB>, ingress: [{ports: [{port: http}]}]}",
            [("port-not-served", "spec.ingress[0].ports")],
        ),
        ("{<DB>, ingress: [{ports: [{port: 5000, endPort: 6000}]}]}", []),
        ("{<DB>, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}", []),
        (
            "{<WEB>, policyTypes: [Egress], egress: [{to: [{<DB>}], ports: [{port: 80}]}]}",
            [("dns-closed", "spec.egress"), ("service-port", "spec.egress[0].ports")],
        ),
        (
            "{<WEB>, ingress: [{}, {ports: [{port: 8080}]}]}",
            [("already-covered", "spec.ingress[1]")],
        ),
        (
            "{<WEB>, ingress: [{ports: [{port: http}]}, {ports: [{port: 8080}]}]}",
            [("already-covered", "spec.ingress[1]")],
        ),
        (
            "{<WEB>, ingress: [{ports: [{port: 8080}]}, {ports: [{port: 8080, protocol: UDP}]}]}",
            [],
        ),
    ],
)  # fmt: skip
def test_what_is_idle_in_a_policy(spec: str, expected: list[tuple[str, str]]) -> None:
    found = told(WEB_AND_DB, policy(spec))
    mine = [(check, cause) for check, cause in found if cause.startswith(POLICY)]
    assert mine == [(check, f"{POLICY} {field}") for check, field in expected]


def test_a_port_of_the_service_in_a_policy_is_explained() -> None:
    spec = "{<WEB>, policyTypes: [Egress], egress: [{to: [{<DB>}], ports: [{port: 80}]}]}"
    message = findings(WEB_AND_DB, policy(spec))[1].message
    assert "the port of Service shop/db, which leads to 5432 TCP" in message
    assert "write 5432" in message


def test_a_rule_that_another_policy_covers_names_it() -> None:
    wide = policy("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}", "wide")
    narrow = policy(
        "{<DB>, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        "narrow",
    )
    (found,) = findings(WEB_AND_DB, "---\n" + wide, narrow)
    assert str(found.cause) == "NetworkPolicy/shop/narrow spec.ingress[0]"
    assert "NetworkPolicy/shop/wide spec.ingress[0]" in found.message


def test_a_rule_for_more_pods_than_the_other_policy_selects_is_not_covered() -> None:
    wide = policy("{<DB>, ingress: [{}]}", "wide")
    narrow = policy("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}", "narrow")
    assert not findings(WEB_AND_DB, wide, narrow)


def test_a_rule_of_a_tier_that_an_earlier_one_decides_is_never_asked() -> None:
    rules = "[{action: Deny, from: [{namespaces: {}}]}, {action: Accept, from: [{namespaces: {}}]}]"
    text = (
        "kind: ClusterNetworkPolicy\nmetadata: {name: c}\n"
        f"spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: {rules}}}\n"
    )
    expected = ("already-covered", "ClusterNetworkPolicy/c spec.ingress[1]")
    assert expected in told(WEB_AND_DB, text)


def service(name: str, spec: str) -> str:
    return f"kind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"


OTHER_DB = WEB_AND_DB.split("---\n")[1].replace("name: db", "name: db2").replace("5432", "5433")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((service("s", "{selector: {app: x}, ports: [{port: 1}]}"),),
         [("no-endpoints", "spec.selector")]),
        ((service("s", "{clusterIP: None, selector: {app: x}, ports: [{port: 1}]}"),),
         [("no-endpoints", "spec.selector")]),
        ((service("s", "{ports: [{port: 1}]}"),), []),
        ((service("s", "{type: ExternalName, externalName: e.org, selector: {app: x}}"),), []),
        ((service("s", "{selector: {app: db}, ports: [{port: 80}]}"),),
         [("target-port-undeclared", "spec.ports[0].targetPort")]),
        ((service("s", "{selector: {app: db}, ports: [{port: 5432, protocol: UDP}]}"),), []),
        ((service("s", "{selector: {app: db}, ports: [{port: 80, targetPort: nope}]}"),),
         [("no-target-port", "spec.ports[0].targetPort")]),
        ((service("s", "{selector: {app: db}, ports: [{port: 80, targetPort: 5432}]}"),), []),
        ((OTHER_DB.replace("app: db", "app: db, v: two"),
          service("s", "{selector: {app: db}, ports: [{port: 80, targetPort: sql}]}")),
         [("ports-differ", "spec.ports[0].targetPort")]),
        ((OTHER_DB.replace("app: db", "app: db, v: two").replace("sql", "psql"),
          service("s", "{selector: {app: db}, ports: [{port: 80, targetPort: sql}]}")),
         [("ports-differ", "spec.ports[0].targetPort")]),
    ],
)  # fmt: skip
def test_where_services_lead(texts: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    found = told(WEB_AND_DB, *texts)
    mine = [(check, cause) for check, cause in found if cause.startswith("Service/shop/s ")]
    assert mine == [(check, f"Service/shop/s {field}") for check, field in expected]


DENY_DB = "{podSelector: {matchLabels: {app: db}}}"


def test_a_service_that_lets_nobody_in_is_told_with_what_keeps_them_out() -> None:
    (found,) = findings(WEB_AND_DB, policy(DENY_DB))
    assert (found.check, str(found.cause)) == ("all-denied", "Service/shop/db spec.ports[0]")
    assert "NetworkPolicy/shop/p spec.podSelector keeps them out" in found.message


def test_a_service_that_is_for_others_may_let_no_pod_in() -> None:
    outside = "{<DB>, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}"
    by_node_port = WEB_AND_DB.replace("spec: {selector", "spec: {type: NodePort, selector")
    assert [check for check, _ in told(WEB_AND_DB, policy(outside))] == ["all-denied"]
    assert [check for check, _ in told(by_node_port, policy(outside))] == ["masqueraded-clients"]


def test_a_service_that_works_for_some_endpoints_only_says_for_whom_and_how_often() -> None:
    one = (
        "{podSelector: {matchLabels: {statefulset.kubernetes.io/pod-name: db-0}},"
        " ingress: [{from: [{<DB>}]}]}"
    )
    stateful = WEB_AND_DB.replace(
        "kind: Deployment\nmetadata: {name: db", "kind: StatefulSet\nmetadata: {name: db"
    )
    found, named = findings(stateful, policy(one))
    assert named.check == "no-service-name"
    assert (found.check, str(found.cause)) == ("partly-denied", "Service/shop/db spec.ports[0]")
    assert "shop/web-0 and shop/web-1 reach 1 of 2 endpoints" in found.message


def node(name: str, mtu: int) -> dict[str, Any]:
    underlay = json.dumps({"link": "eth0", "mtu": mtu, "addresses": ["192.0.2.1/24"]})
    annotations = {"steppe.dev/underlay": underlay}
    return {
        "kind": "Node",
        "metadata": {"name": name, "annotations": annotations},
        "status": {"x": 1},
    }


def test_nodes_with_a_smaller_mtu_than_others_are_told() -> None:
    documents = [node("a", 1500), node("b", 1400), node("c", 1500)]
    (found,) = lint(loaded_from(map(Manifest, documents)))
    assert (found.check, found.cause.ref.name) == ("mtu-differs", "b")


def test_problems_are_findings_too() -> None:
    assert told(policy("{podSelector: {}, ingress: [{from: [{}]}]}"))[0][0] == "problem"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (WEB_AND_DB, 0, "nothing found"),
        (WEB_AND_DB + "---\n" + policy(DENY_DB), 1, "[all-denied]"),
        ("a: [", 2, "is no YAML"),
        ("a: {{ .Values.x }}", 2, "helm template"),
    ],
)
def test_the_command_says_what_it_found_by_its_exit_code(
    tmp_path: Path, text: str, code: int, said: str
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    result = CliRunner().invoke(main, ["lint", "-f", str(tmp_path)])
    assert result.exit_code == code
    assert said in result.output


def test_json_has_its_schema(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(WEB_AND_DB + "---\n" + policy(DENY_DB))
    result = CliRunner().invoke(main, ["lint", "-f", str(tmp_path), "-o", "json"])
    document = json.loads(result.stdout)
    assert document["schema"] == "steppe.lint/v1"
    (found,) = document["findings"]
    named = {"kind": "Service", "namespace": "shop", "name": "db", "group": ""}
    assert found["object"] == named
    assert (found["check"], found["field"]) == ("all-denied", "spec.ports[0]")


NODES = """
kind: Node
metadata: {name: a, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.11}]}
---
kind: Node
metadata: {name: b, creationTimestamp: "2026-02-01T00:00:00Z"}
spec: {podCIDRs: [10.244.1.7/32]}
status: {addresses: [{type: InternalIP, address: 192.0.2.12}]}
"""


def test_a_prefix_that_is_an_older_nodes_is_told() -> None:
    assert told(NODES) == [("not-its-own", "Node/b spec.podCIDRs[0]")]


def test_external_ips_are_told_and_so_is_an_address_that_is_a_nodes() -> None:
    service = (
        "kind: Service\nmetadata: {name: web, namespace: shop}\n"
        "spec: {clusterIP: 10.96.0.10, externalIPs: [IP], ports: [{port: 80}]}\n"
    )
    own, free = (service.replace("IP]", f"{ip}]") for ip in ("192.0.2.11", "203.0.113.9"))
    fine = NODES.replace("10.244.1.7/32", "10.244.2.0/24")
    assert told(fine, own) == [("not-its-own", "Service/shop/web spec.externalIPs[0]")]
    assert told(fine, free) == [("external-ips", "Service/shop/web spec.externalIPs")]


def run(tmp_path: Path, text: str, *options: str) -> Result:
    (tmp_path / "x.yaml").write_text(text)
    return CliRunner().invoke(main, ["lint", "-f", str(tmp_path / "x.yaml"), *options])


CLOSED = WEB_AND_DB + "---\n" + policy(DENY_DB)


def test_sarif_has_all_that_version_2_1_0_requires(tmp_path: Path) -> None:
    log = json.loads(run(tmp_path, CLOSED, "-o", "sarif").stdout)
    # sarifLog: version, runs; run: tool; tool: driver; toolComponent: name; reportingDescriptor:
    # id; result: message; message: text or id (SARIF 2.1.0, sections 3.13 to 3.27, 3.49).
    assert log["version"] == "2.1.0"
    (run_,) = log["runs"]
    driver = run_["tool"]["driver"]
    assert driver["name"] == "steppe"
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(rules) == len(set(rules))
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"error", "warning", "note"}
    (result,) = run_["results"]
    assert rules[result["ruleIndex"]] == result["ruleId"] == "all-denied"
    assert result["level"] == "warning"
    assert "no pod that is known here" in result["message"]["text"]
    (location,) = result["locations"]
    (logical,) = location["logicalLocations"]
    assert logical["fullyQualifiedName"] == "Service/shop/db spec.ports[0]"
    physical = location["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == str(tmp_path / "x.yaml")
    assert physical["region"]["startLine"] == 1 + CLOSED[: CLOSED.index("kind: Service")].count(
        "\n"
    )


def test_sarif_names_files_as_uris_and_none_for_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "my shop.yaml"
    items = [{"kind": "List", "apiVersion": "v1", "items": [*yaml.safe_load_all(CLOSED)]}]
    file.write_text(yaml.safe_dump_all(items))
    for name, places in ((str(file), [f"{tmp_path}/my%20shop.yaml"]), ("-", [])):
        words = ["lint", "-f", name, "-o", "sarif"]
        result = CliRunner().invoke(main, words, input=file.read_bytes())
        (found,) = json.loads(result.stdout)["runs"][0]["results"]
        known = [at["physicalLocation"] for at in found["locations"] if "physicalLocation" in at]
        assert [at["artifactLocation"]["uri"] for at in known] == places


def test_sarif_without_findings_has_an_empty_list_of_results(tmp_path: Path) -> None:
    result = run(tmp_path, WEB_AND_DB, "-o", "sarif")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["runs"][0]["results"] == []


def test_ignored_checks_are_left_out(tmp_path: Path) -> None:
    assert run(tmp_path, CLOSED).exit_code == 1
    ignored = run(tmp_path, CLOSED, "--ignore", "all-denied")
    assert (ignored.exit_code, ignored.output) == (0, "nothing found\n")


def test_an_unknown_check_cannot_be_ignored(tmp_path: Path) -> None:
    result = run(tmp_path, CLOSED, "--ignore", "all-denid")
    assert result.exit_code == 2
    assert "there is no check all-denid" in result.output


def test_notes_alone_do_not_fail_a_pipeline(tmp_path: Path) -> None:
    text = WEB_AND_DB + "---\n" + policy("{<DB>, ingress: [{ports: [{port: 5433}]}]}")
    result = run(tmp_path, text, "-o", "json", "--ignore", "all-denied")
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)["findings"]
    assert (found["check"], found["severity"]) == ("port-not-declared", "note")


def test_every_check_can_be_listed_and_has_its_place_in_the_docs() -> None:
    listed = CliRunner().invoke(main, ["lint", "--checks"]).stdout.splitlines()
    assert [line.split()[0] for line in listed] == [check.id for check in CHECKS]
    page = (Path(__file__).parents[2] / "docs" / "lint.md").read_text()
    for check in CHECKS:
        assert f"### {check.id}\n" in page, check.id
        assert f"`{check.severity}`" in page.split(f"### {check.id}\n")[1][:200], check.id
    assert page.count("\n### ") == len(CHECKS)
