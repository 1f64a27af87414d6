"""`steppe compare` as it is typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from steppe.cli.main import main

SHOP = Path(__file__).with_name("shop.yaml")
TIER = (
    "{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, "
    "metadata: {name: %s}, spec: {tier: %s, priority: %s, subject: {namespaces: {}}, "
    "ingress: [{action: %s, from: [{namespaces: {}}]}]}}"
)
ROLLOUT = (
    "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: r, namespace: shop}, "
    "spec: {template: {metadata: {labels: {a: b}}}}}"
)


def policy(name: str, spec: str, pods: str = "{matchLabels: {app: web}}") -> str:
    meta = f"metadata: {{namespace: shop, name: {name}}}"
    return (
        f"{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, {meta}, "
        f"spec: {{podSelector: {pods}, {spec}}}}}"
    )


def block(name: str, *prefixes: str) -> str:
    peers = ", ".join(f"{{ipBlock: {{cidr: {prefix}}}}}" for prefix in prefixes)
    return policy(name, f"ingress: [{{from: [{peers}]}}]", pods="{}")


DENY = policy("deny", "policyTypes: [Ingress]", pods="{}")
OPEN_80 = policy("web", "ingress: [{ports: [{port: 80}]}]")
OPEN_HTTP = policy("http", "ingress: [{ports: [{port: http}]}]")
OPEN_ALL = policy("all", "ingress: [{}]")
BROKEN = policy("broken", "ingress: [{ports: [{port: 0}]}]")
TWICE = policy("two", "ingress: [{ports: [{port: 80}]}, {ports: [{port: http}]}]")
PRIVATE = block("private", "10.1.0.0/16")
HALVES = block("halves", "10.1.0.0/17", "10.1.128.0/17")
HALF = block("half", "10.1.0.0/17")


def compare(tmp_path: Path, sets: list[list[str]], *args: str, cluster: Path = SHOP) -> Result:
    names = []
    for number, each in enumerate(sets):
        path = tmp_path / f"set{number}.yaml"
        path.write_text("\n---\n".join(each))
        names.append(str(path))
    words = ["compare", *names, "-f", str(cluster), *args]
    return CliRunner().invoke(main, words, catch_exceptions=False)


@pytest.mark.parametrize(
    ("one", "other", "same", "contained"),
    [
        ([DENY, OPEN_80], [DENY, OPEN_80], "yes", ("yes", "yes")),
        ([DENY, OPEN_80], [OPEN_80, DENY, OPEN_HTTP], "yes", ("yes", "yes")),
        ([DENY], [DENY, OPEN_80], "no", ("yes", "no")),
        ([DENY, OPEN_ALL], [DENY, OPEN_80], "no", ("no", "yes")),
        ([OPEN_80], [DENY], "no", ("no", "yes")),
        ([], [DENY], "no", ("no", "yes")),
        # The pods' addresses are invented, but wherever they are, these are the same.
        ([PRIVATE], [PRIVATE], "yes", ("yes", "yes")),
        ([PRIVATE], [HALVES], "yes", ("yes", "yes")),
        # And here an address outside proves it.
        ([PRIVATE], [HALF], "no", ("no", "yes")),
        # What cannot be read is never a yes.
        ([DENY, BROKEN], [DENY, BROKEN], "unknown", ("unknown", "unknown")),
    ],
)
def test_two_sets_are_compared_flow_by_flow(tmp_path, one, other, same, contained):
    result = compare(tmp_path, [one, other], "-o", "json")
    said = json.loads(result.stdout)
    assert said["same"] == same
    assert tuple(part["answer"] for part in said["contained"]) == contained
    for index, part in enumerate(said["contained"]):
        if part["answer"] == "no":
            allowed = [each["allowed"] for each in part["witness"]["answers"]]
            assert allowed == [index == 0, index == 1]
    assert result.exit_code == {"yes": 0, "no": 1, "unknown": 2}[same]


def test_the_exit_code_answers_what_was_asked(tmp_path):
    both = [[DENY], [DENY, OPEN_80]]
    assert compare(tmp_path, both).exit_code == 1
    assert compare(tmp_path, both, "--ask", "contained").exit_code == 0
    assert compare(tmp_path, both[::-1], "--ask", "contained").exit_code == 1
    assert compare(tmp_path, both, "--ask", "redundant").exit_code == 2
    assert compare(tmp_path, both[:1], "--ask", "same").exit_code == 2


@pytest.mark.parametrize(
    ("policies", "redundant"),
    [
        ([DENY, OPEN_80], set()),
        ([DENY, OPEN_80, OPEN_ALL], {("web", None)}),
        # Each by itself: either may go, but not both.
        (
            [OPEN_ALL, OPEN_ALL.replace("name: all", "name: again")],
            {("all", None), ("again", None)},
        ),
        ([DENY, TWICE], {("two", "spec.ingress[0]"), ("two", "spec.ingress[1]")}),
    ],
)
def test_what_changes_no_flow_is_redundant(tmp_path, policies, redundant):
    result = compare(tmp_path, [policies], "--ask", "redundant", "-o", "json")
    said = json.loads(result.stdout)["redundant"]
    yes = [each for each in said if each["answer"] == "yes"]
    assert {(each["object"].rpartition("/")[2], each["field"]) for each in yes} == redundant
    assert all(each["witness"] for each in said if each["answer"] == "no")
    assert result.exit_code == (1 if redundant else 0)


def test_a_rule_for_pods_that_are_not_there_is_not_redundant(tmp_path):
    dns = (
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, "
        "podSelector: {matchLabels: {k8s-app: kube-dns}}}"
    )
    ports = "[{port: 53, protocol: UDP}]"
    spec = f"policyTypes: [Egress], egress: [{{to: [{dns}], ports: {ports}}}]"
    result = compare(tmp_path, [[policy("dns", spec)]], "--ask", "redundant", "-o", "json")
    said = json.loads(result.stdout)["redundant"]
    assert [(e["field"], e["answer"]) for e in said] == [(None, "no"), ("spec.egress[0]", "no")]
    assert said[1]["witness"]["to"] == "kube-system/a new pod with k8s-app=kube-dns"
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("policies", "conflicting"),
    [
        ([DENY, OPEN_80], []),
        (
            [DENY, OPEN_80, TIER % ("shut", "Admin", 1, "Deny")],
            [("NetworkPolicy/shop/web", "ClusterNetworkPolicy/shut", "denies", False)],
        ),
        (
            [DENY, TIER % ("open", "Admin", 1, "Accept")],
            [("ClusterNetworkPolicy/open", "NetworkPolicy/shop/deny", "allows", False)],
        ),
        (
            [TIER % ("open", "Admin", 1, "Accept"), TIER % ("shut", "Admin", 2, "Deny")],
            [("ClusterNetworkPolicy/open", "ClusterNetworkPolicy/shut", "allows", False)],
        ),
        # The API leaves the order of equal priorities open.
        (
            [TIER % ("open", "Admin", 1, "Accept"), TIER % ("shut", "Admin", 1, "Deny")],
            [("ClusterNetworkPolicy/open", "ClusterNetworkPolicy/shut", None, True)],
        ),
        ([TIER % ("pass", "Admin", 1, "Pass"), TIER % ("shut", "Admin", 2, "Deny")], []),
    ],
)
def test_what_one_allows_and_another_denies_is_a_conflict(tmp_path, policies, conflicting):
    result = compare(tmp_path, [policies], "--ask", "conflicting", "-o", "json")
    said = json.loads(result.stdout)["conflicting"]
    found = [
        (e["allows"].partition(" ")[0], e["denies"].partition(" ")[0], e["wins"], e["openOrder"])
        for e in said
    ]
    assert found == conflicting
    assert result.exit_code == (1 if conflicting else 0)


def test_pods_that_are_not_known_make_no_yes(tmp_path):
    world = tmp_path / "world.yaml"
    world.write_text(SHOP.read_text() + "\n---\n" + ROLLOUT)
    result = compare(tmp_path, [[DENY], [DENY]], cluster=world)
    assert result.exit_code == 2
    assert result.stdout.startswith("It is not known whether")
    assert "Rollout" in result.stdout


def test_without_a_cluster_the_workloads_are_those_of_the_sets(tmp_path):
    result = CliRunner().invoke(main, ["compare", str(SHOP), str(SHOP)])
    assert result.exit_code == 0
    (tmp_path / "none.yaml").write_text(DENY)
    none = CliRunner().invoke(main, ["compare", str(tmp_path / "none.yaml")])
    assert none.exit_code == 2
    assert "give the workloads with -f" in none.output
