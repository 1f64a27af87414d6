"""Sends real packets in a lab and compares the results with what the API promises.

For those that go wrong it is then asked which entries of the kernels' tables stop them
(steppe/verify/stops.py). What no entry explains is sent once more, and traced through the rules of
all programs (probe/traced.py).
"""

from collections.abc import Callable, Container, Sequence
from functools import cached_property

import msgspec

from steppe.kube.cluster import Cluster
from steppe.manifests.cluster import Loaded
from steppe.net.address import IPAddress, parse_address
from steppe.net.packet import Packet
from steppe.net.ports import PortSet
from steppe.reach.groups import own_network
from steppe.verify.judge import (
    Arrived,
    Prediction,
    Predictor,
    Seen,
    mismatch,
    said_of,
    said_seen,
)
from steppe.verify.plan import Check, Scope, checks
from steppe.verify.sizes import said_of_size, said_seen_size, sized, wrong_size
from steppe_lab.probe.endpoints import namespaces_by_uid
from steppe_lab.probe.shots import Outcome, Shot, Wires
from steppe_lab.probe.traced import Dropped, Traces
from steppe_lab.record import Record, paths
from steppe_lab.topology.model import describe

Say = Callable[[int, int], None]
"""Called with the number of packets sent so far and the total."""


class Wrong(msgspec.Struct, frozen=True):
    """A packet that did not do what it should."""

    check: Check
    predictions: Sequence[Prediction]
    seen: Seen

    @property
    def should(self) -> str:
        """What the packet should do, as text."""
        if self.check.size:
            return said_of_size(self.check, self.predictions[0].receiver)
        return said_of(self.predictions)

    @property
    def did(self) -> str:
        """What it did, as text."""
        return said_seen_size(self.check, self.seen) if self.check.size else said_seen(self.seen)


class Report(msgspec.Struct, frozen=True):
    """How many packets were sent, those that went wrong, and the pods that took no part."""

    sent: int
    wrong: tuple[Wrong, ...]
    skipped: tuple[str, ...]
    sizes: int = 0


class ObservedEnd(msgspec.Struct, frozen=True):
    """A network namespace in which packets are observed, and the pod, node or host that it is."""

    netns: str
    name: str
    addresses: tuple[IPAddress, ...]


class ObservedEnds(msgspec.Struct, frozen=True, dict=True):
    """All observed ends of a lab, the pods without a namespace, and the scope of the checks."""

    known: tuple[ObservedEnd, ...]
    skipped: tuple[str, ...]
    scope: Scope

    @cached_property
    def netns(self) -> dict[IPAddress, str]:
        """The namespace of each address."""
        return {address: end.netns for end in self.known for address in end.addresses}


def observed_ends_of(record: Record, cluster: Cluster) -> ObservedEnds:
    """The observed ends of a lab."""
    options = record.options
    topology = describe(options.name, options.nodes, options.family, options.topology)
    outside = tuple(map(parse_address, topology.outside.addresses))
    known = [ObservedEnd(topology.outside.netns, "outside", outside)]
    for host in topology.nodes:
        addresses = tuple(map(parse_address, host.addresses))
        known.append(ObservedEnd(host.netns, f"node/{host.name}", addresses))
    namespaces = namespaces_by_uid(paths(options.name).root)
    pods, skipped = [], []
    for pod in own_network(cluster.pods.values()):
        name = f"{pod.namespace}/{pod.name}"
        if pod.uid in namespaces:
            pods.append((pod.namespace, pod.name))
            known.append(ObservedEnd(namespaces[pod.uid], name, pod.addresses))
        else:
            skipped.append(name)
    nodes = frozenset(host.name for host in topology.nodes)
    return ObservedEnds(tuple(known), tuple(skipped), Scope(frozenset(pods), nodes, outside))


def verify_lab(
    loaded: Loaded,
    ends: ObservedEnds,
    wanted: PortSet,
    say: Say,
    *,
    every: bool = False,
    rate: float = 1000,
    mtu: Callable[[Check], int] = lambda _: 0,
) -> Report:
    """Send the packets, and compare what is observed with the predictions.

    `mtu`: how many bytes the path of a packet takes; 0 if that is not known.
    """
    cluster, settings = loaded.cluster, loaded.settings
    names = {address: end.name for end in ends.known for address in end.addresses}
    predictor = Predictor(cluster, names, settings)
    small = [
        (check, predictor.predictions(check))
        for check in checks(cluster, ends.scope, wanted, every=every, settings=settings)
    ]
    planned = [*small, *sized(cluster, small, mtu, every=every)]
    seen = _seen(ends, planned, rate, lambda sent: say(sent, len(planned)))
    found = [Wrong(*each, then) for each, then in zip(planned, seen, strict=True)]
    lost = {(each.check.source, each.check.packet) for each in found if _is_wrong(each)}
    wrong = tuple(each for each in found if _is_wrong(each) or _is_wrong_size(each, lost))
    return Report(len(planned), wrong, ends.skipped, len(planned) - len(small))


def _is_wrong(each: Wrong) -> bool:
    return not each.check.size and mismatch(each.predictions, each.seen)


def _is_wrong_size(each: Wrong, lost: Container[tuple[str, Packet]]) -> bool:
    """Whether its size is what is wrong: the small packet to there does what it should."""
    check = each.check
    is_lost = (check.source, check.packet) in lost
    return bool(check.size) and not is_lost and wrong_size(check, each.predictions, each.seen)


def traced(ends: ObservedEnds, wrong: Sequence[Wrong], rate: float) -> list[Dropped | None]:
    """Send these packets again; for each, where the kernels' rules saw it end, if they saw it."""
    names = {end.netns: end.name for end in ends.known}
    shots = [_shot(ends, each.check, each.predictions) for each in wrong]
    found: list[Dropped | None] = []
    with Wires() as wires, Traces(names, wires.next_number, len(shots)) as traces:
        for sock in traces.sockets:
            wires.hear(sock, traces.take)
        _watch(wires, ends, [each.check for each in wrong])
        first = wires.next_number
        wires.shoot(shots, rate)
        for number in range(first, first + len(shots)):
            last = traces.dropped(number)
            found.append(last and msgspec.structs.replace(last, netns=names[last.netns]))
    return found


def _seen(
    ends: ObservedEnds,
    planned: Sequence[tuple[Check, Sequence[Prediction]]],
    rate: float,
    say: Callable[[int], None],
) -> list[Seen]:
    with Wires() as wires:
        _watch(wires, ends, [check for check, _ in planned])
        outcomes = wires.shoot([_shot(ends, *each) for each in planned], rate, say)
    names = {end.netns: end.name for end in ends.known}
    return [_as_seen(outcome, names) for outcome in outcomes]


def _watch(wires: Wires, ends: ObservedEnds, planned: Sequence[Check]) -> None:
    protocols = tuple(dict.fromkeys(check.packet.protocol for check in planned))
    versions = tuple(dict.fromkeys(check.packet.source.version for check in planned))
    for end in ends.known:
        wires.watch(end.netns, protocols, versions)


def _shot(ends: ObservedEnds, check: Check, predictions: Sequence[Prediction]) -> Shot:
    hoped = all(prediction.fate in ("delivered", "refused") for prediction in predictions)
    return Shot(ends.netns[check.packet.source], check.packet, hoped, check.size)


def _as_seen(outcome: Outcome, names: dict[str, str]) -> Seen:
    arrived = tuple(Arrived(names[a.netns], a.port, a.source) for a in outcome.arrivals)
    return Seen(arrived, outcome.answered, outcome.refused, outcome.too_big, outcome.room)
