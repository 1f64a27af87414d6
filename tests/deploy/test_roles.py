"""The roles give agents and controller what their code uses: nothing is missing, nothing more."""

import ast
from typing import Any

import pytest

from steppe.client.reports import NAMESPACE
from tests.deploy import api_use
from tests.deploy.api_use import PROGRAMS, Program, UnknownUseError, Use, uses
from tests.deploy.manifest import of_kind

ROLE_KINDS = ("ClusterRole", "Role")
LEASE = ("coordination.k8s.io", "leases")


def rules_for(account: str) -> list[dict[str, Any]]:
    """The rules of all roles that are bound to a service account."""
    found = []
    for binding in of_kind("ClusterRoleBinding") + of_kind("RoleBinding"):
        if [s["name"] for s in binding["subjects"]] == [account]:
            (role,) = of_kind(binding["roleRef"]["kind"], binding["roleRef"]["name"])
            found += role["rules"]
    return found


def granted(rules: list[dict[str, Any]]) -> list[Use]:
    return [
        Use(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_role_gives_what_the_code_uses_and_nothing_more(program: str) -> None:
    given = granted(rules_for(f"steppe-{program}"))
    assert sorted(given) == sorted(uses(PROGRAMS[program]))


def test_what_is_found_in_the_code_is_what_its_authors_know_of() -> None:
    """A spot check of the search itself: it must not find nothing."""
    found = uses(PROGRAMS["controller"])
    assert {Use("", "nodes", "patch"), Use(*LEASE, "update"), Use("", "nodes", "watch")} <= found
    assert Use("", "pods", "list") not in found
    agent = uses(PROGRAMS["agent"])
    assert Use("policy.networking.k8s.io", "clusternetworkpolicies", "watch") in agent
    assert {use.verb for use in agent if use.plural == "leases"} == {"create", "patch"}


def test_every_method_of_the_client_has_its_verb() -> None:
    assert api_use.client_methods() == set(api_use.VERBS)


@pytest.mark.parametrize(
    ("program", "names"), [("agent", {"resource"}), ("controller", {"NODES", "resource"})]
)
def test_what_is_followed_comes_from_the_places_that_are_searched(
    program: str, names: set[str]
) -> None:
    """The agent's feeds are a registry, the controller names its only resource; `resource` is what
    the client's own store hands on."""
    assert api_use.followed(PROGRAMS[program].start) == names


def test_a_call_whose_resource_nobody_knows_is_an_error() -> None:
    program = Program("steppe.controller.__main__", {})
    with pytest.raises(UnknownUseError, match="which resource is meant"):
        uses(program)


def test_a_call_by_another_name_of_the_client_is_seen() -> None:
    tree = ast.parse("self._client.delete(PODS, 'a')\nclient.get(NODES)\nstore.get(NODES)")
    assert [call.func.attr for call in api_use.client_calls(tree)] == ["delete", "get"]


def test_nobody_may_do_everything_or_read_secrets() -> None:
    for kind in ROLE_KINDS:
        for role in of_kind(kind):
            for rule in role["rules"]:
                words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
                assert not words & {"*", "secrets", "escalate", "bind", "impersonate"}


def test_agents_write_leases_in_a_namespace_that_holds_no_others() -> None:
    (role,) = of_kind("Role", "steppe-agent")
    (binding,) = of_kind("RoleBinding", "steppe-agent")
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["name"] == NAMESPACE
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == NAMESPACE
    for role in of_kind("ClusterRole"):
        assert all("leases" not in rule["resources"] for rule in role["rules"])


def test_only_one_lease_can_be_read_or_changed() -> None:
    (role,) = of_kind("Role", "steppe-controller")
    assert role["metadata"]["namespace"] == "kube-system"
    limited = {v: r.get("resourceNames") for r in role["rules"] for v in r["verbs"]}
    # "You cannot restrict create … requests by their resource name" (Kubernetes, Using RBAC)
    names = ["steppe-controller"]
    assert limited == {"create": None, "get": names, "update": names}
