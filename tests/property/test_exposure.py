"""Exposure says of pods that are not there what the judge says once they are."""

from ipaddress import ip_address

import msgspec
from hypothesis import given, settings

from steppe.judge.judge import End, judge_of
from steppe.judge.pieces import allowed_of
from steppe.kube.objects import Node, Pod
from steppe.net.ports import NOTHING
from steppe.reach.exposure import exposure_of
from steppe.reach.imagined import imagined
from steppe.reach.matrix import bits
from tests.policy_worlds import worlds
from tests.property.test_reach import cluster_in

FEW = settings(max_examples=40, deadline=None)
PLACES = (
    (ip_address("10.244.1.77"), ip_address("fd00:244:1::77")),
    (ip_address("10.9.9.9"), ip_address("fd77::9")),
)


@FEW
@given(worlds())
def test_a_new_pod_gets_what_is_said_wherever_it_comes_to_be(world) -> None:
    cluster = cluster_in(world)
    known, exposure = imagined(cluster), exposure_of(cluster)
    rows = list(exposure.rows())
    for addresses in PLACES:
        pods = {
            name: msgspec.structs.replace(pod, addresses=addresses)
            for name, pod in known.cluster.pods.items()
            if name in known.names
        }
        for name, pod in pods.items():
            there = judge_of(
                msgspec.structs.replace(
                    cluster,
                    pods={**cluster.pods, name: pod},
                    namespaces=known.cluster.namespaces,
                )
            )
            group = exposure.reach.group_of_pod[name]
            for direction in ("ingress", "egress"):
                mine = [r for r in rows if r.group == group and r.direction == direction]
                for row in mine:
                    for other in (e for n in bits(row.others) for e in ends(exposure, n)):
                        for version in (4, 6):
                            pair = (other, pod) if direction == "ingress" else (pod, other)
                            actual = allowed_of(there.between(*pair, version))
                            least = row.flow.row.version(version) or NOTHING
                            assert not least - actual
                            assert not actual - (least | row.flow.row.unknown)


def ends(exposure, number: int) -> list[End]:
    return [m for m in exposure.reach.groups[number].members if isinstance(m, Pod | Node)]


@FEW
@given(worlds())
def test_every_pod_has_a_row_with_every_kind_of_new_pods_in_both_directions(world) -> None:
    exposure = exposure_of(cluster_in(world))
    rows = list(exposure.rows())
    pods = [n for n in bits(exposure.reach.of_kind("pods")) if not exposure.new >> n & 1]
    for group in bits(exposure.new):
        for direction in ("ingress", "egress"):
            mine = [r for r in rows if r.group == group and r.direction == direction]
            told = {n for row in mine for n in bits(row.others)}
            assert told >= set(pods)


@FEW
@given(worlds())
def test_pods_are_unguarded_where_no_policy_that_takes_them_has_a_say(world) -> None:
    cluster = cluster_in(world)
    found = {(each.pod.name, each.direction) for each in exposure_of(cluster).unguarded()}
    for pod in cluster.pods.values():
        space = cluster.namespaces[pod.namespace]
        for direction in ("ingress", "egress"):
            isolating = any(
                p.namespace == pod.namespace
                and p.pods.matches(pod.labels)
                and direction in p.isolates
                for p in cluster.network_policies.values()
            )
            tiers = any(
                p.rules(direction)
                and p.subject.namespaces.matches(space.labels)
                and p.subject.pods.matches(pod.labels)
                for p in cluster.cluster_policies.values()
            )
            assert ((pod.name, direction) in found) == (not isolating and not tiers)
