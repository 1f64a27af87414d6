"""Sends real packets in a lab and compares the results with what the API promises."""

from collections.abc import Callable, Sequence

import msgspec

from steppe.kube.cluster import Cluster
from steppe.manifests.cluster import Loaded
from steppe.net.address import IPAddress, parse_address
from steppe.net.ports import PortSet
from steppe.reach.groups import own_network
from steppe.verify.judge import Arrived, Prediction, Predictor, Seen, mismatch
from steppe.verify.plan import Check, Scope, checks
from steppe_lab.probe.endpoints import namespaces_by_uid
from steppe_lab.probe.shots import Outcome, Shot, Wires
from steppe_lab.record import Record, paths
from steppe_lab.topology.model import describe

Say = Callable[[int, int], None]
"""Called with the number of packets sent so far and the total."""


class Wrong(msgspec.Struct, frozen=True):
    """A packet that did not do what it should."""

    check: Check
    predictions: tuple[Prediction, ...]
    seen: Seen


class Report(msgspec.Struct, frozen=True):
    """How many packets were sent, those that went wrong, and the pods that took no part."""

    sent: int
    wrong: tuple[Wrong, ...]
    skipped: tuple[str, ...]


class ObservedEnd(msgspec.Struct, frozen=True):
    """A network namespace in which packets are observed, and the pod, node or host that it is."""

    netns: str
    name: str
    addresses: tuple[IPAddress, ...]


class ObservedEnds(msgspec.Struct, frozen=True):
    """All observed ends of a lab, the pods without a namespace, and the scope of the checks."""

    known: tuple[ObservedEnd, ...]
    skipped: tuple[str, ...]
    scope: Scope


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
) -> Report:
    """Send the packets, and compare what is observed with the predictions."""
    cluster, settings = loaded.cluster, loaded.settings
    planned = tuple(checks(cluster, ends.scope, wanted, every=every, settings=settings))
    names = {address: end.name for end in ends.known for address in end.addresses}
    predictor = Predictor(cluster, names, settings)
    predictions = [predictor.predictions(check) for check in planned]
    seen = _seen(ends, planned, predictions, rate, lambda sent: say(sent, len(planned)))
    found = zip(planned, predictions, seen, strict=True)
    wrong = tuple(Wrong(*each) for each in found if mismatch(each[1], each[2]))
    return Report(len(planned), wrong, ends.skipped)


def _seen(
    ends: ObservedEnds,
    planned: Sequence[Check],
    predictions: Sequence[Sequence[Prediction]],
    rate: float,
    say: Callable[[int], None],
) -> list[Seen]:
    netns = {address: end.netns for end in ends.known for address in end.addresses}
    protocols = tuple(dict.fromkeys(check.packet.protocol for check in planned))
    versions = tuple(dict.fromkeys(check.packet.source.version for check in planned))
    shots = [
        Shot(
            netns[check.packet.source],
            check.packet,
            hoped=all(prediction.fate in ("delivered", "refused") for prediction in mine),
        )
        for check, mine in zip(planned, predictions, strict=True)
    ]
    with Wires() as wires:
        for end in ends.known:
            wires.watch(end.netns, protocols, versions)
        outcomes = wires.shoot(shots, rate, say)
    names = {end.netns: end.name for end in ends.known}
    return [_as_seen(outcome, names) for outcome in outcomes]


def _as_seen(outcome: Outcome, names: dict[str, str]) -> Seen:
    arrived = tuple(Arrived(names[a.netns], a.port, a.source) for a in outcome.arrivals)
    return Seen(arrived, outcome.answered, outcome.refused)
