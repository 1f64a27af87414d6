"""A difference is reach(after) - reach(before): over small clusters, exhaustively."""

from ipaddress import ip_address

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from steppe.judge.judge import End
from steppe.judge.pieces import allowed_of
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.cluster import Cluster
from steppe.kube.doubt import Doubt, PoliciesInDoubt
from steppe.kube.objects import Node, Pod
from steppe.kube.policies import NetworkPolicy, Pods
from steppe.net.ports import NOTHING
from steppe.reach.difference import Difference, Gain
from steppe.reach.names import member_name
from steppe.reach.offer_changes import OfferChange
from steppe.reach.reach import Reach, reach_of
from steppe.reach.services import Offers, Outcome
from tests.policy_worlds import cluster_policies, labels, network_policies, worlds
from tests.property.test_reach import OUTSIDE, address_of, cluster_in, services_in, special

# The second two are in blocks that policies name, though no node has them.
BEYOND = (*OUTSIDE, ip_address("10.244.9.9"), ip_address("fd00:244:9::9"))
FEW = settings(max_examples=30, deadline=None)


@st.composite
def changed(draw: st.DrawFn, cluster: Cluster) -> Cluster:
    """The cluster after some objects have come, gone or changed."""
    pods, spaces = dict(cluster.pods), dict(cluster.namespaces)
    policies, tiers = dict(cluster.network_policies), dict(cluster.cluster_policies)
    name = draw(st.sampled_from(sorted(pods)))
    match draw(st.sampled_from(["pod", "no pod", "namespace", "policy", "no policy", "tier"])):
        case "pod":
            pods[name] = msgspec.structs.replace(pods[name], labels=draw(labels))
        case "no pod":
            del pods[name]
        case "namespace":
            space = draw(st.sampled_from(sorted(spaces)))
            spaces[space] = msgspec.structs.replace(spaces[space], labels=draw(labels))
        case "policy":
            policy = draw(network_policies("p0"))
            policies[policy.namespace, policy.name] = policy
        case "no policy":
            policies = {}
        case _:
            tier = draw(cluster_policies("c0"))
            tiers[tier.name] = tier
    return msgspec.structs.replace(
        cluster, pods=pods, namespaces=spaces, network_policies=policies, cluster_policies=tiers
    )


def allowed(reach: Reach, here: End, there: End, version: int):
    """What one state allows; nothing where an end is not there."""
    now = [present(reach.cluster, end) for end in (here, there)]
    return NOTHING if None in now else allowed_of(reach.between(*now, version))


def present(cluster: Cluster, end: End) -> End | None:
    return cluster.pods.get((end.namespace, end.name)) if isinstance(end, Pod) else end


def group_of(difference: Difference, end: End) -> int | None:
    """The joint group, by the name of a pod or node, or by an address outside."""
    if not isinstance(end, Pod | Node):
        return difference.after.group_at(end)
    names = {member_name(m): i for i, p in enumerate(difference.groups) for m in p.members}
    return names[member_name(end)]


@FEW
@given(worlds(), st.data(), st.booleans())
def test_a_difference_is_what_reach_says_after_without_what_it_said_before(
    world, data, backwards
) -> None:
    old = cluster_in(world)
    new = data.draw(changed(old))
    if backwards:
        old, new = new, old
    difference = Difference(old, new)
    before, after = reach_of(old), reach_of(new)
    changes = list(difference.flows())
    everybody = [*{**old.pods, **new.pods}.values(), *old.nodes.values(), *BEYOND]
    for here in everybody:
        for there in everybody:
            if special(here, there) or not (isinstance(here, Pod) or isinstance(there, Pod)):
                continue
            receiver, sender = (group_of(difference, end) for end in (there, here))
            known = [c for c in changes if c.receiver == receiver and c.senders >> sender & 1]
            assert len(known) <= 1
            for version in (4, 6):
                if not all(address_of(end, version) for end in (here, there)):
                    continue
                was, will = (allowed(reach, here, there, version) for reach in (before, after))
                gain = (known[0].v4 if version == 4 else known[0].v6) if known else None
                assert (gain.opened if gain else NOTHING) == will - was
                assert (gain.closed if gain else NOTHING) == was - will


UNREAD = ObjectRef("NetworkPolicy", "x", "unread", "networking.k8s.io")
DOUBT = Doubt(Cause(UNREAD), "cannot be read", PoliciesInDoubt(Pods(within="x")))


@FEW
@given(worlds(), st.data(), st.sampled_from([(True, True), (True, False), (False, True)]))
def test_whatever_an_unread_policy_says_a_difference_has_told_it(world, data, unread) -> None:
    """What surely opens does so whatever the policy says, and what may is told to be so."""
    old = cluster_in(world)
    new = data.draw(st.one_of(changed(old), st.just(old)))
    pair = [
        with_doubt(each, in_doubt=known) for each, known in zip((old, new), unread, strict=True)
    ]
    difference = Difference(*pair)
    changes = list(difference.flows())
    real = msgspec.structs.replace(data.draw(network_policies("unread")), namespace="x")
    before, after = (
        reach_of(with_policy(each, real) if known else each)
        for each, known in zip((old, new), unread, strict=True)
    )
    everybody = [*{**old.pods, **new.pods}.values(), *BEYOND]
    for here in everybody:
        for there in everybody:
            if special(here, there) or not (isinstance(here, Pod) or isinstance(there, Pod)):
                continue
            receiver, sender = (group_of(difference, end) for end in (there, here))
            known = [c for c in changes if c.receiver == receiver and c.senders >> sender & 1]
            for version in (4, 6):
                if not all(address_of(end, version) for end in (here, there)):
                    continue
                was, will = (allowed(reach, here, there, version) for reach in (before, after))
                gain = (known[0].v4 if version == 4 else known[0].v6) if known else Gain()
                assert (will - was) - (gain.opened | gain.may_open) == NOTHING
                assert (was - will) - (gain.closed | gain.may_close) == NOTHING
                assert gain.opened - (will - was) == NOTHING
                assert gain.closed - (was - will) == NOTHING


def with_doubt(cluster: Cluster, *, in_doubt: bool) -> Cluster:
    return msgspec.structs.replace(cluster, doubts=(DOUBT,) if in_doubt else ())


def with_policy(cluster: Cluster, policy: NetworkPolicy) -> Cluster:
    policies = {**cluster.network_policies, (policy.namespace, policy.name): policy}
    return msgspec.structs.replace(cluster, network_policies=policies)


@FEW
@given(worlds())
def test_no_change_is_no_difference(world) -> None:
    cluster = cluster_in(world)
    difference = Difference(cluster, cluster)
    assert list(difference.flows()) == []
    assert list(difference.offers()) == []


@FEW
@given(worlds(), st.data())
def test_back_and_forth_are_opposites(world, data) -> None:
    old = services_in(cluster_in(world), data)
    new = data.draw(changed(old))
    there, back = Difference(old, new), Difference(new, old)
    forward = flat(there)
    assert forward == {(*ends, closed, opened) for *ends, opened, closed in flat(back)}


def flat(difference: Difference):
    names = [[member_name(m) for m in group.members] for group in difference.groups]
    found = set()
    for change in difference.flows():
        for number, senders in enumerate(names):
            if change.senders >> number & 1:
                for here in senders:
                    for there in names[change.receiver]:
                        for gain in ((4, change.v4), (6, change.v6)):
                            version, known = gain
                            if known:
                                found.add((here, there, version, known.opened, known.closed))
    return found


@FEW
@given(worlds(), st.data())
def test_services_change_for_those_who_fare_otherwise(world, data) -> None:
    old = services_in(cluster_in(world), data)
    new = data.draw(changed(old))
    new = msgspec.structs.replace(new, services=dict(list(new.services.items())[:1]))
    difference = Difference(old, new)
    changes = list(difference.offers())
    fared = [rows_of(reach_of(cluster)) for cluster in (old, new)]
    for name, place in fared[0].keys() | fared[1].keys():
        was, will = (side.get((name, place), Outcome("absent")) for side in fared)
        found = [c for c in changes if concerns(difference, c, name, place)]
        if was == will or was.said == will.said != "partly":
            assert found == []
        else:
            assert [(c.before, c.after) for c in found] == [(was, will)]


def rows_of(reach: Reach):
    """Outcome by sender and place, as classes of one state alone say it."""
    offers = Offers(reach)
    found = {}
    for offer in offers.all:
        service = f"{offer.service.namespace}/{offer.service.name}"
        place = (service, offer.port.protocol, offer.port.port, offer.address.version)
        for row in offers.rows(offer):
            for member in offers.members(row):
                found[member_name(member), place] = row.outcome
    return found


def concerns(difference, change: OfferChange, name, place) -> bool:
    if (change.service, change.protocol, change.port, change.version) != place or change.way:
        return False
    for number, group in enumerate(difference.groups):
        for member in group.members:
            if member_name(member) == name and change.senders >> number & 1:
                node = getattr(member, "node", None) or member.name
                here = not change.nodes or node in change.nodes
                return here and name not in change.but and name in (change.only or {name})
    return False
