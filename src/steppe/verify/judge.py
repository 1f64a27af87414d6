"""Predicts what must happen to a packet by the API's text, and compares it with what was seen.

Predictions come from the oracle alone: if they came from tables, wrong tables would not be noticed.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from steppe.kube.cluster import Cluster
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.oracle.network import promise
from steppe.oracle.promised_path import Fate, Oracle, PromisedPath
from steppe.settings import Settings
from steppe.verify.plan import Check

_NAMED = 3
DEFAULTS = Settings()


class Prediction(msgspec.Struct, frozen=True):
    """One permitted result for a packet; at a receiver without a name nothing can be observed.

    `source` is the sender's address as the receiver sees it; None if nothing is promised about it.
    """

    fate: Fate
    receiver: str
    address: IPAddress
    port: int
    source: IPAddress | None = None


class Arrived(msgspec.Struct, frozen=True):
    """Where a packet was seen to arrive."""

    receiver: str
    port: int
    source: str


class Seen(msgspec.Struct, frozen=True):
    """What was observed of a packet.

    `too_big`: a kernel said that it is; `room`: the bytes that would fit, 0 if that was not said.
    """

    arrived: tuple[Arrived, ...] = ()
    answered: bool = False
    refused: bool = False
    too_big: bool = False
    room: int = 0


class Predictor:
    """Predictions of the oracle for packets in one cluster."""

    def __init__(
        self, cluster: Cluster, names: Mapping[IPAddress, str], settings: Settings = DEFAULTS
    ) -> None:
        """`names` has the ends that are observed, by each of their addresses."""
        self._oracle = Oracle(
            cluster,
            settings.node_port_addresses,
            pod_ranges=settings.pod_ranges,
            external_ips=settings.external_ips,
        )
        self._cluster = self._oracle.cluster
        self._names = names

    def predictions(self, check: Check) -> tuple[Prediction, ...]:
        """All permitted results for the packet: one of them must be observed."""
        return tuple(self._prediction(check, path) for path in self._oracle.paths(check.packet))

    def _prediction(self, check: Check, path: PromisedPath) -> Prediction:
        end = path.received
        receiver = self._names.get(end.destination, "")
        source = self._source(check.packet, path)
        # A pod that reaches itself through a Service sees one of its node's addresses.
        source = None if receiver == check.source else source
        return Prediction(path.fate, receiver, end.destination, end.destination_port, source)

    def _source(self, sent: Packet, path: PromisedPath) -> IPAddress | None:
        """The sender's address as the receiver sees it: a node's if a node translated it."""
        return promise(self._cluster, path.received).source or sent.source


def mismatch(predictions: Iterable[Prediction], seen: Seen) -> bool:
    """Whether no prediction agrees with what was seen."""
    known = tuple(predictions)
    if not seen.arrived:
        return not any(_is_silent(prediction, seen) for prediction in known)
    return not all(
        any(_is_as_predicted(prediction, each, seen) for prediction in known)
        for each in seen.arrived
    )


def _is_as_predicted(prediction: Prediction, arrived: Arrived, seen: Seen) -> bool:
    """Whether the packet arrived as predicted; a refusal by the receiver itself is an answer."""
    return (
        prediction.fate == "delivered"
        and (seen.answered or seen.refused)
        and (arrived.receiver, arrived.port) == (prediction.receiver, prediction.port)
        and (prediction.source is None or arrived.source == str(prediction.source))
    )


def _is_silent(prediction: Prediction, seen: Seen) -> bool:
    """Whether a packet that arrived nowhere fits this prediction."""
    if prediction.fate == "delivered":
        return not prediction.receiver and (seen.answered or seen.refused)
    return seen.refused == (prediction.fate == "refused") and not seen.answered


def said_of(predictions: Iterable[Prediction]) -> str:
    """The predictions as text."""
    known = tuple(predictions)
    texts = [f"is {prediction.fate}" for prediction in known if prediction.fate != "delivered"]
    ends: dict[tuple[str, str], list[str]] = {}
    for prediction in known:
        if prediction.fate == "delivered":
            port = f" port {prediction.port}" if prediction.port else ""
            source = f" as from {prediction.source}" if prediction.source else ""
            ends.setdefault((port, source), []).append(
                prediction.receiver or str(prediction.address)
            )
    for (port, source), receivers in ends.items():
        texts.append(f"arrives at {_one_of(receivers)}{port}{source}")
    return " or ".join(sorted(dict.fromkeys(texts)))


def _one_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    more = ", …" if len(names) > _NAMED else ""
    return f"one of {len(names)} ({', '.join(names[:_NAMED])}{more})"


def said_seen(seen: Seen) -> str:
    """What was seen, as text."""
    end = "was answered" if seen.answered else "was refused" if seen.refused else "got no answer"
    if not seen.arrived:
        return f"arrived nowhere and {end}"
    arrivals = (
        f"{each.receiver}{f' port {each.port}' if each.port else ''} as from {each.source}"
        for each in seen.arrived
    )
    return f"arrived at {' and at '.join(arrivals)} and {end}"
