"""Exposure: what pods that are not there yet would reach and be reached by, and which workloads no
policy guards.

    exposure = exposure_of(cluster)
    exposure.rows()        by kinds of new pods: what lets them in and out
    exposure.unguarded()   pods that policies leave open, by direction
"""

from collections.abc import Collection, Iterator

import msgspec

from steppe.judge.classes import DIRECTIONS
from steppe.judge.judge import DEFAULTS, judge_of
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction
from steppe.net.ports import EVERYTHING, PortSet
from steppe.reach.flows import Flow, flows_to
from steppe.reach.groups import Group, classed_members, groups_of, own_network
from steppe.reach.imagined import Imagined, imagined
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import member_name
from steppe.reach.reach import Reach
from steppe.settings import Settings


class Exposed(msgspec.Struct, frozen=True):
    """New pods of one kind, and flows with others: `who` would get from them, or they from `who`.

    `flow.receiver` and the senders are groups of `Exposure.reach`.
    """

    group: int
    direction: Direction
    flow: Flow
    others: Mask


class Unguarded(msgspec.Struct, frozen=True):
    """Pods that no policy guards in a direction; `doubts`: policies that cannot be read may."""

    pod: Pod
    direction: Direction
    doubts: tuple[Cause, ...] = ()


class Exposure:
    """The answer for one cluster.

    Invariant: new pods are in groups of their own, never with pods that are there.
    """

    def __init__(
        self, known: Imagined, wanted: PortSet, settings: Settings, focus: Collection[str] = ()
    ) -> None:
        """`focus`: of those that are there, only these members; () for all."""
        self._known, self._focus = known, focus
        judge = judge_of(known.cluster, settings)
        members = classed_members(judge.cluster, judge.classes)
        groups = groups_of(
            members,
            lambda m: (
                isinstance(m, Pod) and (m.namespace, m.name) in known.names,
                member_name(m) in focus,
            ),
        )
        self.reach = Reach(judge, groups, wanted)
        self.new: Mask = sum(1 << n for n, g in enumerate(self.reach.groups) if self._is_new(g))

    def rows(self) -> Iterator[Exposed]:
        """All flows of new pods with pods that are there, nodes, and addresses outside; those that
        are denied too.
        """
        there = self.reach.everyone & ~self.new
        if self._focus:
            there = sum(1 << n for n, g in enumerate(self.reach.groups) if self._is_asked(g))
        for number in bits(self.new):
            for flow in flows_to(self.reach, number, there):
                yield Exposed(number, "ingress", flow, flow.senders)
        for receiver in bits(there):
            for flow in flows_to(self.reach, receiver, self.new):
                for number in bits(flow.senders):
                    yield Exposed(number, "egress", flow, 1 << receiver)

    def unguarded(self) -> Iterator[Unguarded]:
        """The pods that are there and that no policy guards, by direction."""
        judge = self.reach.judge
        for pod in sorted(own_network(judge.cluster.pods.values()), key=lambda each: each.ref):
            if (pod.namespace, pod.name) in self._known.names:
                continue
            if self._focus and member_name(pod) not in self._focus:
                continue
            policy_class = judge.class_of(pod)
            for direction in DIRECTIONS:
                number = policy_class.egress if direction == "egress" else policy_class.ingress
                guard = judge.classes.guards[direction].values[number]
                doubts = tuple(d.cause for d in judge.doubts.policies(pod, direction))
                if not set(guard.because) - set(doubts):
                    yield Unguarded(pod, direction, doubts)

    def names(self, group: int) -> tuple[str, ...]:
        """What the new pods of a group are called."""
        pods = self.reach.groups[group].pods
        return tuple(self._known.names[pod.namespace, pod.name] for pod in pods)

    def _is_asked(self, group: Group) -> bool:
        return member_name(group.members[0]) in self._focus

    def _is_new(self, group: Group) -> bool:
        pods = group.pods
        return bool(pods) and (pods[0].namespace, pods[0].name) in self._known.names


def exposure_of(
    cluster: Cluster,
    wanted: PortSet = EVERYTHING,
    settings: Settings = DEFAULTS,
    focus: Collection[str] = (),
) -> Exposure:
    """The exposure of a cluster, restricted to the wanted ports, and to some of its members."""
    return Exposure(imagined(cluster), wanted, settings, focus)
