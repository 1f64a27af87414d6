"""Sets of policies against every packet of small clusters: each answer is what the judge says."""

from collections.abc import Iterator

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.compare.conflicts import conflicts
from steppe.compare.redundant import redundancies
from steppe.compare.relation import Contained, related, related_later
from steppe.judge.judge import End, Judge, judge_of
from steppe.judge.pieces import allowed_of
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster import Cluster
from steppe.kube.doubt import AddressInDoubt, Doubt
from steppe.kube.objects import Pod
from steppe.net.ports import PortSet
from steppe.reach.imagined import imagined, selectors_of
from tests.policy_worlds import OUTSIDE, cluster_policies, network_policies, worlds
from tests.property.test_reach import cluster_in

FEW = settings(max_examples=60, deadline=None)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Cluster, Cluster]:
    """A cluster with two sets of policies that have some in common."""
    one = cluster_in(draw(worlds()))
    policies, tiers = dict(one.network_policies), dict(one.cluster_policies)
    match draw(st.sampled_from(["less", "more", "other", "tier", "none", "same"])):
        case "less":
            policies = dict(list(policies.items())[1:])
        case "more":
            policy = draw(network_policies("q"))
            policies[policy.namespace, policy.name] = policy
        case "other":
            policy = draw(network_policies("p0"))
            policies = {(policy.namespace, policy.name): policy}
        case "tier":
            tier = draw(cluster_policies("c0"))
            tiers[tier.key] = tier
        case "none":
            policies, tiers = {}, {}
    return one, with_policies(one, policies, tiers)


def with_policies(cluster: Cluster, policies: dict, tiers: dict) -> Cluster:
    return msgspec.structs.replace(cluster, network_policies=policies, cluster_policies=tiers)


def ends(judge: Judge) -> list[End]:
    known = judge.cluster
    return [*known.pods.values(), *known.nodes.values(), *OUTSIDE]


def flows(judge: Judge) -> Iterator[tuple[End, End, int, PortSet]]:
    """What every two ends may send each other, with a pod at one end at least."""
    for here in ends(judge):
        for there in ends(judge):
            if isinstance(here, Pod) or isinstance(there, Pod):
                for version in (4, 6):
                    pieces = judge.between(here, there, version)
                    if pieces:
                        yield here, there, version, allowed_of(pieces)


def contained(one: Judge, other: Judge) -> bool:
    return not any(
        mine - theirs for (*_, mine), (*_, theirs) in zip(flows(one), flows(other), strict=True)
    )


def is_proof(found: Contained, judges: tuple[Judge, Judge], allowing: int) -> bool:
    """Whether the judge lets the witness through under this set alone, and the answer says so."""
    proof = found.witness
    if proof is None:
        return False
    wanted = [number == allowing for number in (0, 1)]
    said = [ruling.said == "yes" for ruling in proof.rulings]
    return said == wanted == [asked(judge, proof) for judge in judges]


@FEW
@given(pairs())
def test_a_set_is_contained_in_another_if_it_allows_no_flow_that_the_other_does_not(both) -> None:
    one, other = map(judge_of, both)
    found = related(both)
    for known, allowing in ((found.one_in_other, 0), (found.other_in_one, 1)):
        mine, theirs = (one, other) if allowing == 0 else (other, one)
        # Prefixes of ends outside may differ where none of these ends is, so a "no" is proven by
        # its witness and a "yes" by all flows.
        if known.said == "yes":
            assert contained(mine, theirs)
        else:
            assert known.said == "no"
            assert is_proof(known, (one, other), allowing)
        if not contained(mine, theirs):
            assert known.said == "no"


@FEW
@given(worlds())
def test_removing_what_is_redundant_changes_no_flow_and_removing_the_rest_does(world) -> None:
    cluster = cluster_in(world)
    for found in redundancies(cluster):
        less = without(cluster, found.cause)
        both = (cluster, less)
        if related(both).same == "yes":
            # Nothing changes for the pods that are there: new ones decide.
            assert found.said == related_later(both).same
            selectors = selectors_of(cluster)
            both = tuple(imagined(each, selectors).cluster for each in both)
        else:
            assert found.said == "no"
        if found.said == "no":
            assert found.witness is not None
            with_it, without_it = found.witness.rulings
            assert with_it.said != without_it.said
            assert [answers(judge_of(each), found.witness) for each in both] == [
                ruling.said == "yes" for ruling in found.witness.rulings
            ]


def asked(judge: Judge, proof) -> bool:
    here, there = judge.end_at(proof.source), judge.end_at(proof.destination)
    allowed = allowed_of(judge.between(here, there, proof.source.version))
    return allowed.holds(proof.protocol, proof.port)


def answers(judge: Judge, proof) -> bool:
    """As `asked`, by the names of pods: new ones share an address."""
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in judge.cluster.pods.values()}
    ends = ((proof.sender, proof.source), (proof.receiver, proof.destination))
    here, there = (pods.get(name) or judge.end_at(address) for name, address in ends)
    allowed = allowed_of(judge.between(here, there, proof.source.version))
    return allowed.holds(proof.protocol, proof.port)


def without(cluster: Cluster, cause: Cause) -> Cluster:
    """The cluster without a policy, or without one of its rules."""
    policies, tiers = dict(cluster.network_policies), dict(cluster.cluster_policies)
    held: dict = policies if cause.ref.kind == "NetworkPolicy" else tiers
    (key,) = [key for key, policy in held.items() if policy.ref == cause.ref]
    policy = held.pop(key)
    if cause.field != "spec":
        held[key] = msgspec.structs.replace(
            policy,
            ingress=tuple(r for r in policy.ingress if r.field != cause.field),
            egress=tuple(r for r in policy.egress if r.field != cause.field),
        )
    return with_policies(cluster, policies, tiers)


def alone(cluster: Cluster, ref: ObjectRef) -> Judge:
    """A judge under one ClusterNetworkPolicy, or under all NetworkPolicies."""
    if ref.kind == "NetworkPolicy":
        return judge_of(with_policies(cluster, dict(cluster.network_policies), {}))
    only = {key: p for key, p in cluster.cluster_policies.items() if p.ref == ref}
    return judge_of(with_policies(cluster, {}, only))


@FEW
@given(worlds())
def test_policies_conflict_where_one_alone_allows_what_the_other_alone_denies(world) -> None:
    cluster = cluster_in(world)
    for found in conflicts(cluster):
        proof = found.witness
        assert not asked(alone(cluster, found.denies.ref), proof)
        assert found.allows.ref != found.denies.ref
        assert found.allows.ref.kind != "NetworkPolicy" or found.denies.ref.kind != "NetworkPolicy"
        if found.wins == "denies":
            assert not asked(judge_of(cluster), proof)
        if found.open_order:
            assert found.wins == ""


@FEW
@given(pairs(), st.data())
def test_what_is_said_of_pods_without_a_known_address_holds_wherever_they_are(both, data) -> None:
    name = data.draw(st.sampled_from(sorted(both[0].pods)))
    pod = both[0].pods[name]
    doubt = Doubt(Cause(pod.ref, "status.podIPs"), "not known", AddressInDoubt(*name))
    one, other = (msgspec.structs.replace(each, doubts=(doubt,)) for each in both)
    found, known = related((one, other)), related(both)
    for mine, sure in (
        (found.one_in_other, known.one_in_other),
        (found.other_in_one, known.other_in_one),
    ):
        # Where it is now is one of the places where it may be.
        assert mine.said in ("unknown", sure.said)
        if both[0] == both[1]:
            assert mine.said == "yes"
