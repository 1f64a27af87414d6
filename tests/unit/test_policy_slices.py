"""Long work on policies goes on in slices: none is long, and nothing is handed out half done."""

from ipaddress import ip_address

import pytest

from steppe.agent.node.reconciler import Reconciler
from steppe.compile.incremental import NodeCompiler
from steppe.compile.slices import counted
from steppe.dataplane.nft.policy_memory import namespace_claims
from steppe.dataplane.nft.sets import policy_sets
from steppe.kube.objects import Pod, Workload
from steppe.kube.policies import Namespace
from steppe.state.nft import Element
from steppe.state.node import Key, values
from tests.unit.test_policy_cost import ANY_POD, policy, ports, world
from tests.work import steps

OF_ONE_APP = {"from": [{"podSelector": {"matchLabels": {"app": "one"}}, **ANY_POD}]}
OF_OTHERS = {"from": [ANY_POD], "ports": [{"port": 80}]}
NEW = Pod("there", "new", addresses=(ip_address("10.244.3.9"),), labels={"app": "a1"})
NEW_KEY = policy_sets("ingress").peer.key(NEW.addresses[0])
(NAMESPACE_KEY,) = (claim.key for claim in namespace_claims("here"))
"""That the namespace has policies is told at once."""
LATE = Workload("stlate", "here", "late", "node-a", (ip_address("10.244.1.99"),))
ELSEWHERE = Workload("stelse", "there", "else", "node-a", (ip_address("10.244.1.98"),))


@pytest.fixture
def compiler() -> NodeCompiler:
    made = world()
    made.policies.work_in_slices(lambda: None, counted(1))
    return made


def finish(compiler: NodeCompiler) -> frozenset[Key]:
    touched: frozenset[Key] = frozenset()
    while compiler.policies.waiting:
        assert not touched
        touched = compiler.policies.more()
    return touched


def test_keys_are_handed_out_together_when_the_work_is_done(compiler: NodeCompiler) -> None:
    told = compiler.policies.set_policy(policy(OF_OTHERS))
    assert {key.table for key in told} == {"elements"}
    assert len(told) == 1, "that the namespace has policies, and nothing else"
    assert compiler.policies.waiting
    touched = finish(compiler)
    assert len(touched) > 50
    assert not compiler.policies.pending


def test_a_new_peer_of_a_rule_that_is_being_changed_waits_for_it() -> None:
    """The kernel has the rule's old ports still: the new peer would get through to those."""
    compiler = world()
    compiler.policies.work_in_slices(lambda: None, counted(100))
    compiler.policies.set_policy(policy(OF_ONE_APP))
    finish(compiler)
    compiler.policies.set_policy(policy(OF_OTHERS))
    touched = compiler.policies.set_pod(NEW)
    assert NEW_KEY in compiler.state, "the pod's own work is short, and done"
    assert NEW_KEY not in touched
    assert NEW_KEY in compiler.policies.pending
    assert NEW_KEY in finish(compiler)
    assert NEW_KEY in compiler.state


def test_a_pod_is_not_known_before_its_policies_are_worked_off(compiler: NodeCompiler) -> None:
    compiler.policies.set_pod(Pod("here", "late", addresses=LATE.addresses))
    compiler.policies.set_pod(Pod("there", "else", addresses=ELSEWHERE.addresses))
    finish(compiler)
    compiler.policies.set_policy(policy(OF_OTHERS))
    compiler.set_workload(LATE)
    compiler.set_workload(ELSEWHERE)
    assert not compiler.policies.knows(LATE)
    finish(compiler)
    assert compiler.policies.knows(LATE)


def test_a_pod_under_no_policy_does_not_wait_for_those_of_others() -> None:
    compiler = world()
    compiler.policies.work_in_slices(lambda: None)
    compiler.policies.set_pod(Pod("there", "else", addresses=ELSEWHERE.addresses))
    compiler.policies.set_policy(policy({"from": [ANY_POD], "ports": ports(30)}))
    assert compiler.policies.waiting
    compiler.set_workload(ELSEWHERE)
    assert compiler.policies.waiting
    assert compiler.policies.knows(ELSEWHERE)


def test_a_pod_under_no_policy_is_known_at_every_moment_of_work_for_others() -> None:
    """Its own change is short: it does not take over what a long one has still to do."""
    compiler = world()
    compiler.policies.work_in_slices(lambda: None, counted(100))
    compiler.policies.set_pod(Pod("there", "else", addresses=ELSEWHERE.addresses))
    own = [
        {"from": [{"podSelector": {"matchLabels": {"app": f"a{n}"}}, **ANY_POD}]} for n in range(50)
    ]
    compiler.policies.set_policy(policy(*own))
    turns = 0
    while compiler.policies.waiting:
        compiler.set_workload(ELSEWHERE)
        assert compiler.policies.knows(ELSEWHERE), f"slice {turns}"
        compiler.remove_workload(ELSEWHERE.link)
        compiler.policies.more()
        turns += 1
    assert turns > 10


def test_a_new_peer_waits_for_rulings_that_a_namespaces_labels_have_begun() -> None:
    """It has the number of peers that were told before it, whose rulings are not in the kernel."""
    compiler = world()
    compiler.policies.set_policy(
        policy({"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]})
    )
    compiler.policies.work_in_slices(lambda: None, counted(100))
    compiler.policies.set_namespace(Namespace("there", {"team": "red"}))
    assert compiler.policies.waiting
    assert NEW_KEY not in compiler.policies.set_pod(NEW)
    assert NEW_KEY in finish(compiler)


@pytest.mark.parametrize("rules", [20, 200])
def test_no_slice_is_long_however_large_the_policy(rules: int) -> None:
    compiler = world()
    compiler.policies.work_in_slices(lambda: None)
    made = policy(*({"from": [ANY_POD], "ports": [port]} for port in ports(rules)))
    compiler.policies.set_policy(made)
    slices: list[int] = []
    while compiler.policies.waiting:
        slices.append(steps(compiler.policies.more))
    assert slices
    assert max(slices) < 60_000


def test_neither_a_full_pass_nor_an_audit_takes_half_of_a_change_for_what_shall_be() -> None:
    compiler = world()
    compiler.policies.work_in_slices(lambda: None, counted(100))
    it = Reconciler(compiler)
    it.replace_actual(values(compiler.state))
    compiler.policies.set_policy(policy(OF_OTHERS))
    it.replace_actual({**it.actual, NAMESPACE_KEY: Element()})
    while compiler.policies.waiting:
        it.replace_actual(dict(it.actual))
        assert not it.drift(it.actual)
        assert not it.plan().changes
        touched = compiler.policies.more()
    it.touch(touched)
    assert len(it.plan().changes) > 50
