"""Packets that tell how large a packet a path takes, and whether a sender is told if one is larger.

A path that loses larger packets without a word is a black hole: connections open, and stop at the
first full segment (RFC 2923, section 2.1; RFC 4821, section 1). So between each pair of places
three sizes are sent, none of which may be fragmented:

    the path's MTU              arrives
    one byte more               "packet too big" comes back, or the sender's own link refuses it
    more than a VLAN tag more   the same: a veth device takes up to four bytes more than its MTU
                                (__is_skb_forwardable in the kernel's net/core/dev.c)

What is larger and arrives all the same harms nobody.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from steppe.kube.cluster import Cluster
from steppe.verify.judge import Prediction, Seen
from steppe.verify.plan import Check

MORE = (1, 8)
_LEAST = 256
"""A path with a smaller MTU than this could not take the probe itself, in all families."""
_PREFERRED = ("UDP", "ICMP", "TCP")


def sized(
    cluster: Cluster,
    planned: Sequence[tuple[Check, Sequence[Prediction]]],
    mtu: Callable[[Check], int],
    *,
    every: bool = False,
) -> Iterator[tuple[Check, Sequence[Prediction]]]:
    """Packets of three sizes for each pair of places and each family, with what must happen to
    them as to the small packet that each is made from.

    Of all planned packets of a pair one is taken that must arrive and be seen there; of `every`,
    one also from and to each pod. `mtu` says how many bytes its path takes, 0 if that is not known:
    then none is sent.
    """
    best: dict[object, tuple[Check, Sequence[Prediction]]] = {}
    for check, predictions in planned:
        if _suits(check, predictions):
            for pair in _pairs(cluster, check, every=every):
                key = (pair, check.packet.source.version)
                known = best.get(key)
                if known is None or _rank(check) < _rank(known[0]):
                    best[key] = check, predictions
    chosen = dict(best.values())
    for check, predictions in chosen.items():
        limit = mtu(check)
        if limit < _LEAST:
            continue
        yield msgspec.structs.replace(check, size=limit), predictions
        for more in MORE:
            yield msgspec.structs.replace(check, size=limit + more, fits=False), predictions


def _pairs(cluster: Cluster, check: Check, *, every: bool) -> Iterator[tuple[str, str]]:
    here, there = _place(cluster, check.source), _place(cluster, check.target)
    yield here, there
    if every:
        yield check.source, there
        yield here, check.target


def _suits(check: Check, predictions: Sequence[Prediction]) -> bool:
    """Whether the packet goes straight to one end, where it must arrive and is seen."""
    straight = all(each.address == check.packet.destination for each in predictions)
    sure = all(each.fate == "delivered" and each.receiver for each in predictions)
    return straight and sure and bool(predictions) and check.packet.protocol in _PREFERRED


def _rank(check: Check) -> int:
    return _PREFERRED.index(check.packet.protocol)


def _place(cluster: Cluster, name: str) -> str:
    """A pod's node; any other end is a place of its own."""
    namespace, _, pod = name.partition("/")
    known = cluster.pods.get((namespace, pod))
    return f"a pod on {known.node}" if known is not None else name


def wrong_size(check: Check, predictions: Sequence[Prediction], seen: Seen) -> bool:
    """Whether a packet of this size did not do what it must; of small ones nothing is said here.

    Answers do not count: they may have another size, and another path.
    """
    receivers = {prediction.receiver for prediction in predictions}
    arrived = any(each.receiver in receivers for each in seen.arrived)
    return not arrived if check.fits else not (arrived or seen.too_big)


def said_of_size(check: Check, receiver: str) -> str:
    """What must happen to a packet of this size, as text."""
    if check.fits:
        return f"arrives at {receiver}, for the path takes {check.size} bytes"
    return "is too big, and its sender is told so"


def said_seen_size(check: Check, seen: Seen) -> str:
    """What happened to a packet of this size, as text."""
    if seen.too_big:
        said = f"only {seen.room} bytes fit" if seen.room else "it is too big"
        return f"did not arrive; its sender was told that {said}"
    what = "a black hole for packets of this size" if not check.fits else "its sender was not told"
    return f"vanished: {what}"
