"""The rules for packets that policies deny: they are counted, and samples of them are logged.

`ingress_denied4` counts by the address of the guarded pod; a counter expires one day after its last
packet. The log group delivers some packets a second while it has a listener (drivers/nflog.py).
"""

from collections.abc import Iterator

from steppe.dataplane.nft.service_chains import FAMILIES
from steppe.dataplane.nft.sets import policy_sets
from steppe.kube.policies import Direction
from steppe.state.nft import Count, Log, Rule

LOG_GROUP = 0x5354
"""The log group: a number that no other program on a node should use."""
LOGGED_PER_SECOND = 10
KEPT_SECONDS = 24 * 60 * 60
"""Seconds after the last denied packet until an address's counter expires."""


def denied_rules(direction: Direction, own: str) -> Iterator[Rule]:
    """The last rules for a denied packet: count, log, drop. `own` is the field of the pod's
    address.

    The prefix of a logged packet is the direction in which it was denied.
    """
    denied = policy_sets(direction).denied
    for version, protocol in FAMILIES:
        counted = Count(f"{protocol} {own}", denied.name(version), KEPT_SECONDS)
        yield Rule((), counted)
    yield Rule((), Log(direction, LOG_GROUP, LOGGED_PER_SECOND))
    yield Rule((), "drop", f"no {direction} policy lets it through")
