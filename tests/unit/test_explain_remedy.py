"""What `steppe explain` says would open a flow: it does, and it lets in no more than it must."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from steppe.explain.explain import Explainer
from steppe.explain.fix import changed_objects, to_apply
from steppe.explain.model import Change, Explanation
from steppe.manifests.cluster import Loaded, loaded_from
from steppe.manifests.documents import Manifest

EXAMPLES = Path(__file__).parents[2] / "examples"
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}


def example(name: str) -> Loaded:
    files = sorted((EXAMPLES / name).glob("*.yaml"))
    return loaded(
        *(document for file in files for document in yaml.safe_load_all(file.read_text()))
    )


def loaded(*documents: Any) -> Loaded:
    return loaded_from(map(Manifest, documents))


def explained(world: Loaded, source: str, destination: str, port: str = "") -> Explanation:
    explainer = Explainer(world.cluster)
    flow, _ = explainer.flow(source, destination, port)
    return explainer.explain(flow)


def after(world: Loaded, change: Change) -> Loaded:
    """The world with a change made to its objects, as an API server would have them."""
    made = {ref: to_apply(each) for ref, each in changed_objects(world.objects, change).items()}
    return loaded(*(world.objects | made).values())


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "a", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }


def policy(name: str, selector: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"podSelector": {"matchLabels": selector}, **spec},
    }


CLOSED = policy("closed", {}, policyTypes=["Ingress", "Egress"])


@pytest.mark.parametrize("name", ["webshop", "guestbook"])
def test_patches_of_the_examples_open_what_they_say_and_nothing_to_a_stranger(name: str) -> None:
    world = example(name)
    stranger = pod("stranger", app="stranger")
    first = [each for each in world.cluster.pods.values() if each.name.endswith("-0")]
    for sender in first:
        for receiver in first[:6]:
            ends = (f"{sender.namespace}/{sender.name}", f"{receiver.namespace}/{receiver.name}")
            said = explained(world, *ends, "7777")
            assert said.kind == "allowed" or said.changes, said.verdict
            for change in said.changes:
                # With somebody else there as well, who must get nothing of it.
                space = {"metadata": stranger["metadata"] | {"namespace": receiver.namespace}}
                then = after(world, change)
                then = loaded(*then.objects.values(), stranger | space)
                assert explained(then, *ends, "7777").kind == "allowed", change.text
                if any(not path.ingress.allowed for case in said.cases for path in case.paths):
                    by = explained(then, f"{receiver.namespace}/stranger", ends[1], "7777")
                    assert by.kind == "denied", change.text


def test_a_pod_that_only_a_policy_for_all_isolates_gets_a_policy_of_its_own() -> None:
    anywhere = policy("dns", {}, policyTypes=["Egress"], egress=[{"ports": [{"port": 53}]}])
    world = loaded(SPACE, pod("web", app="web"), pod("db", app="db", role="main"), CLOSED, anywhere)
    said = explained(world, "a/web", "a/db", "5432")
    (change,) = said.changes
    made = changed_objects(world.objects, change)
    assert {ref.name for ref in made} == {"allow-web-to-db", "allow-db-from-web"}
    (egress,) = (to_apply(each) for ref, each in made.items() if ref.name == "allow-web-to-db")
    assert egress["spec"] == {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Egress"],
        "egress": [
            {
                "to": [{"podSelector": {"matchLabels": {"app": "db", "role": "main"}}}],
                "ports": [{"protocol": "TCP", "port": 5432}],
            }
        ],
    }


def test_the_policy_of_the_pod_itself_is_edited_rather_than_one_for_all() -> None:
    own = policy("db", {"app": "db"}, ingress=[{"from": [{"podSelector": {}}]}])
    own["spec"]["ingress"][0]["ports"] = [{"port": 80}]
    world = loaded(SPACE, pod("web", app="web"), pod("db", app="db"), own)
    (change,) = explained(world, "a/web", "a/db", "5432").changes
    # Not a port more in the rule for all pods of the namespace, which would be shorter.
    assert change.text.startswith("add a rule to NetworkPolicy a/db spec.ingress: from podSelector")


def test_a_rule_for_the_same_peer_gets_a_port_more() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    own = policy("db", {"app": "db"}, ingress=[{"from": [peer], "ports": [{"port": 80}]}])
    world = loaded(SPACE, pod("web", app="web"), pod("db", app="db"), own)
    first, *_ = explained(world, "a/web", "a/db", "5432").changes
    assert first.text == "add to NetworkPolicy a/db spec.ingress[0].ports: TCP 5432"


def test_a_pod_without_labels_is_let_in_by_the_policy_that_there_is() -> None:
    world = loaded(SPACE, pod("web", app="web"), pod("db"), policy("in", {}))
    (change,) = explained(world, "a/web", "a/db", "5432").changes
    assert "add a rule to NetworkPolicy a/in" in change.text
    assert explained(after(world, change), "a/web", "a/db", "5432").kind == "allowed"


def test_the_labels_of_one_release_name_no_workload() -> None:
    labels = {"app": "web", "pod-template-hash": "6d4f5b7c9", "app.kubernetes.io/version": "1.2"}
    world = loaded(SPACE, pod("web", **labels), pod("db", app="db"), policy("in", {}))
    (change,) = explained(world, "a/web", "a/db", "5432").changes
    assert change.text.endswith("ingress from podSelector app=web, on TCP 5432")


def test_labels_that_come_from_the_node_name_no_workload() -> None:
    zone = {"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r"}
    web = pod("web", app="web", **zone, **{"kubernetes.io/hostname": "node-a"})
    (change,) = explained(
        loaded(SPACE, web, pod("db", app="db"), policy("in", {})), "a/web", "a/db", "5432"
    ).changes
    assert change.text.endswith("ingress from podSelector app=web, on TCP 5432")


def test_a_new_policy_takes_no_name_that_there_is() -> None:
    taken = policy("allow-db-from-web", {"app": "other"})
    world = loaded(SPACE, pod("web", app="web"), pod("db", app="db"), policy("in", {}), taken)
    (change,) = explained(world, "a/web", "a/db", "5432").changes
    assert [patch.object.name for patch in change.patches] == ["allow-db-from-web-2"]


def test_an_administrators_deny_gets_an_accept_in_front() -> None:
    deny = {
        "apiVersion": "policy.networking.k8s.io/v1beta1",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "shut"},
        "spec": {
            "tier": "Admin",
            "priority": 5,
            "subject": {"namespaces": {}},
            "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}],
        },
    }
    world = loaded(SPACE, pod("web", app="web"), pod("db", app="db"), deny)
    (change,) = explained(world, "a/web", "a/db", "5432").changes
    then = after(world, change)
    assert then.problems == ()
    assert explained(then, "a/web", "a/db", "5432").kind == "allowed"
    assert explained(then, "a/web", "a/db", "80").kind == "denied"
