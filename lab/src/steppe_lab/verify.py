"""Real packets in a lab, held against what the API promises of them."""

from collections.abc import Callable, Sequence

import msgspec

from steppe.kube.cluster import Cluster
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
"""Told how many packets are sent, of how many."""


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


class Place(msgspec.Struct, frozen=True):
    """A namespace whose packets are seen, and who it is."""

    netns: str
    name: str
    addresses: tuple[IPAddress, ...]


class Places(msgspec.Struct, frozen=True):
    """All of a lab's, the pods without one, and what that leaves to be checked."""

    known: tuple[Place, ...]
    skipped: tuple[str, ...]
    scope: Scope


def places_of(record: Record, cluster: Cluster) -> Places:
    """Where everyone of a lab is."""
    options = record.options
    topology = describe(options.name, options.nodes, options.family, options.topology)
    outside = tuple(map(parse_address, topology.outside.addresses))
    known = [Place(topology.outside.netns, "outside", outside)]
    for host in topology.nodes:
        addresses = tuple(map(parse_address, host.addresses))
        known.append(Place(host.netns, f"node/{host.name}", addresses))
    namespaces = namespaces_by_uid(paths(options.name).root)
    pods, skipped = [], []
    for pod in own_network(cluster.pods.values()):
        name = f"{pod.namespace}/{pod.name}"
        if pod.uid in namespaces:
            pods.append((pod.namespace, pod.name))
            known.append(Place(namespaces[pod.uid], name, pod.addresses))
        else:
            skipped.append(name)
    nodes = frozenset(host.name for host in topology.nodes)
    return Places(tuple(known), tuple(skipped), Scope(frozenset(pods), nodes, outside))


def verify_lab(
    cluster: Cluster,
    places: Places,
    wanted: PortSet,
    say: Say,
    *,
    every: bool = False,
    rate: float = 1000,
) -> Report:
    """Send what there is to send, and judge it."""
    planned = tuple(checks(cluster, places.scope, wanted, every=every))
    names = {address: place.name for place in places.known for address in place.addresses}
    predictor = Predictor(cluster, names)
    predictions = [predictor.predictions(check) for check in planned]
    seen = _seen(places, planned, predictions, rate, lambda sent: say(sent, len(planned)))
    found = zip(planned, predictions, seen, strict=True)
    wrong = tuple(Wrong(*each) for each in found if mismatch(each[1], each[2]))
    return Report(len(planned), wrong, places.skipped)


def _seen(
    places: Places,
    planned: Sequence[Check],
    predictions: Sequence[Sequence[Prediction]],
    rate: float,
    say: Callable[[int], None],
) -> list[Seen]:
    netns = {address: place.netns for place in places.known for address in place.addresses}
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
        for place in places.known:
            wires.watch(place.netns, protocols, versions)
        outcomes = wires.shoot(shots, rate, say)
    names = {place.netns: place.name for place in places.known}
    return [_as_seen(outcome, names) for outcome in outcomes]


def _as_seen(outcome: Outcome, names: dict[str, str]) -> Seen:
    arrived = tuple(Arrived(names[a.netns], a.port, a.source) for a in outcome.arrivals)
    return Seen(arrived, outcome.answered, outcome.refused)
