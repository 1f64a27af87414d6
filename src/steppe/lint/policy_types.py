"""`policyTypes` that is missing, or that switches rules off.

"If this field is not specified, it will default based on the existence of ingress or egress rules;
policies that contain an egress section are assumed to affect egress, and all policies (whether or
not they contain an ingress section) are assumed to affect ingress. … If you want to write an
egress-only policy, you must explicitly specify policyTypes [ "Egress" ]. Likewise, if you want to
write a policy that specifies that no egress is allowed, you must specify a policyTypes value that
include "Egress"" (NetworkPolicySpec.policyTypes)
"""

from collections.abc import Iterator

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction, NetworkPolicy, Pods, network_policy_from
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, listed, named
from steppe.lint.trying import OUTSIDE, between, decision, packet_of, with_policy

_WORDS: dict[Direction, str] = {"ingress": "Ingress", "egress": "Egress"}


def policy_types(facts: Facts) -> Iterator[Finding]:
    """Policies whose `policyTypes` does not go with their rules."""
    for policy in facts.cluster.network_policies.values():
        written = facts.written(policy)
        if written is None:
            continue
        types = written.spec.policy_types or ()
        counts = {
            "ingress": len(written.spec.ingress or ()),
            "egress": len(written.spec.egress or ()),
        }
        cause = Cause(policy.ref, "spec.policyTypes")
        if types:
            for direction in _WORDS:
                if counts[direction] and direction not in policy.isolates:
                    yield Finding(
                        Cause(policy.ref, f"spec.{direction}"),
                        "rules-switched-off",
                        _switched_off(facts, policy, direction, counts[direction]),
                    )
        elif counts["egress"] and not counts["ingress"]:
            closed = _closed_by_default(facts, policy)
            if closed:
                yield Finding(cause, "missing-policy-types", closed)
        elif written.spec.egress is not None and not counts["egress"]:
            closing = _speaks(facts, policy, "egress", closes=True)
            stays = ", which stays open" if _open(facts, policy, "egress") else ""
            message = _EMPTY + stays + (_CLOSE if closing else "")
            yield Finding(Cause(policy.ref, "spec.egress"), "missing-policy-types", message)


_EMPTY = "is empty and policyTypes is missing, so this policy says nothing of egress"
_CLOSE = "; add policyTypes: [Ingress, Egress] to close it"


def _switched_off(facts: Facts, policy: NetworkPolicy, direction: Direction, count: int) -> str:
    only = " and ".join(_WORDS[each] for each in sorted(policy.isolates, reverse=True))
    rules = "1 rule" if count == 1 else f"{count} rules"
    open_ = _open(facts, policy, direction)
    stays = f", and {direction} of {listed(open_)} stays open" if open_ else ""
    return (
        f"its {rules} do{'es' if count == 1 else ''} nothing: policyTypes names {only} only{stays}"
        + ("; write policyTypes: [Ingress, Egress]" if _speaks(facts, policy, direction) else "")
    )


def _speaks(
    facts: Facts, policy: NetworkPolicy, direction: Direction, *, closes: bool = False
) -> bool:
    """Whether the policy decides about one of its pods in this direction once policyTypes names
    both; `closes`: whether it then denies.
    """
    written = facts.written(policy)
    if written is None:
        return False
    spec = msgspec.structs.replace(written.spec, policy_types=("Ingress", "Egress"))
    changed, _ = network_policy_from(msgspec.structs.replace(written, spec=spec))
    for pod in _selected(facts, policy):
        for own in pod.addresses:
            other = next(each for each in OUTSIDE if each.version == own.version)
            ends = (other, own) if direction == "ingress" else (own, other)
            said = decision(facts.cluster, packet_of(*ends), direction, with_policy(changed))
            by_it = policy.ref in {cause.ref for cause in said.because}
            if by_it and (said.said == "no" or not closes):
                return True
    return False


def _open(facts: Facts, policy: NetworkPolicy, direction: Direction) -> list[str]:
    """The pods of a policy that no policy isolates, for certain."""
    return sorted(
        named(pod.ref)
        for pod in _selected(facts, policy)
        if not facts.doubts.policies(pod, direction)
        and not any(direction in each.isolates for each in facts.cluster.policies_on(pod))
    )


def _selected(facts: Facts, policy: NetworkPolicy) -> list[Pod]:
    pods = facts.selected(Pods(pods=policy.pods, within=policy.namespace))
    return [pod for pod in pods if not pod.host_network]


def _closed_by_default(facts: Facts, policy: NetworkPolicy) -> str:
    """The sentence for pods that only this policy closes for ingress; "" if there are none."""
    edit = with_policy(msgspec.structs.replace(policy, isolates=frozenset({"egress"})))
    for pod in _selected(facts, policy):
        for other in facts.cluster.pods.values():
            if (
                facts.doubts.policies(pod, "ingress")
                or other.ref == pod.ref
                or other.host_network
                or other.node == pod.node == ""
            ):
                continue
            packet = between(other, pod, "TCP", 80)
            if packet is None:
                continue
            before = decision(facts.cluster, packet, "ingress")
            after = decision(facts.cluster, packet, "ingress", edit)
            if before.said == "no" and after.said == "yes":
                return (
                    "is missing: with egress rules alone the policy closes ingress as well, so "
                    f"nobody reaches {named(pod.ref)}; write policyTypes: [Egress] if only egress "
                    "is meant"
                )
            break
    return ""
