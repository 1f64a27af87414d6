"""Policies that select no pod, or only pods to which no policy applies."""

from collections.abc import Iterator

from steppe.kube.cause import Cause
from steppe.kube.cluster_policies import ClusterNetworkPolicy
from steppe.kube.policies import NetworkPolicy, Pods
from steppe.kube.selectors import EVERYTHING, Selector
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, listed

Policy = NetworkPolicy | ClusterNetworkPolicy


def policies_of(facts: Facts) -> tuple[Policy, ...]:
    """The policies of both kinds."""
    cluster = facts.cluster
    return (*cluster.network_policies.values(), *cluster.cluster_policies.values())


def subject_of(policy: Policy) -> tuple[Pods, str]:
    """The pods that a policy is for, and the field that says so."""
    if isinstance(policy, NetworkPolicy):
        return Pods(pods=policy.pods, within=policy.namespace), "spec.podSelector"
    return policy.subject, "spec.subject"


def idle_policies(facts: Facts) -> Iterator[Finding]:
    """Policies that do nothing, as far as the pods are known."""
    for policy in policies_of(facts):
        subject, field = subject_of(policy)
        pods = facts.selected(subject)
        if any(not pod.host_network for pod in pods):
            continue
        cause = Cause(policy.ref, field)
        if pods:
            yield Finding(cause, "selects-host-network", _on_host(subject))
        elif not subject.pods.requirements:
            continue  # "all pods of a namespace that has none yet" is how namespaces are closed
        elif found := _elsewhere(facts, policy):
            yield Finding(cause, "other-namespace", found)
        elif _is_known(facts, subject):
            message = f"selects no pod ({as_text(subject)}), so it does nothing; "
            yield Finding(cause, "selects-nothing", message + _cure(facts, subject))
        elif isinstance(policy, NetworkPolicy):
            message = (
                f"what it selects ({as_text(subject)}) was not looked at: "
                f"{facts.unknown_pods(policy.namespace)}"
            )
            yield Finding(cause, "not-compared", message)


def _on_host(subject: Pods) -> str:
    return (
        f"selects only pods on their host's network ({as_text(subject)}), and policies do not "
        "apply to those; guard the nodes themselves"
    )


def _is_known(facts: Facts, subject: Pods) -> bool:
    if subject.within:
        return facts.is_whole(subject.within)
    return facts.live and all(facts.is_whole(s.name) for s in facts.spaces(subject.namespaces))


def _elsewhere(facts: Facts, policy: Policy) -> str:
    """The sentence for a policy whose pods are all in other namespaces; "" for any other."""
    if not isinstance(policy, NetworkPolicy) or facts.loaded.pods_unknown(policy.namespace):
        return ""
    pods = facts.selected(Pods(pods=policy.pods))
    spaces = sorted({pod.namespace for pod in pods if not pod.host_network})
    if not spaces:
        return ""
    where = f"metadata.namespace: {spaces[0]}" if len(spaces) == 1 else "one policy in each"
    return (
        f"selects no pod in its namespace, {policy.namespace}: a NetworkPolicy is for pods of its "
        f"own namespace, and pods with {policy.pods} are in {listed(spaces)}; write {where}"
    )


def _cure(facts: Facts, subject: Pods) -> str:
    """What to do, with the labels that pods there have under the same keys."""
    keys = {each.key for each in subject.pods.requirements}
    spaces = [subject.within] if subject.within else [s.name for s in facts.spaces(EVERYTHING)]
    have = sorted(
        {
            f"{key}={value}"
            for space in spaces
            for pod in facts.pods_in(space)
            for key, value in pod.labels.items()
            if key in keys
        }
    )
    there = f" (pods there have {listed(have)})" if have else ""
    return f"correct the selector{there}"


def as_text(pods: Pods) -> str:
    """The selectors as text: `app=web in namespace shop`."""
    if pods.within:
        return f"{labels_text(pods.pods)} in namespace {pods.within}"
    if pods.namespaces == EVERYTHING:
        return f"{labels_text(pods.pods)} in any namespace"
    return f"{labels_text(pods.pods)} in namespaces with {pods.namespaces}"


def labels_text(selector: Selector) -> str:
    """A selector as text; `any pod` for one without requirements."""
    return str(selector) if selector.requirements else "any pod"
