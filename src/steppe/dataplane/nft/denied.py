"""What the kernel notes of the packets that policies deny: how many, and samples of them.

`ingress_denied4` counts by the address of the pod that is guarded, for as long as it lasts and a
day longer. The log group tells of some packets a second, while someone listens (drivers/nflog.py).
"""

from collections.abc import Iterator

from steppe.dataplane.nft.service_chains import FAMILIES
from steppe.dataplane.nft.sets import policy_sets
from steppe.kube.policies import Direction
from steppe.state.nft import Count, Log, Rule

LOG_GROUP = 0x5354
"""Any number that no other program on a node listens to."""
LOGGED_PER_SECOND = 10
KEPT_SECONDS = 24 * 60 * 60
"""How long an address is counted for after its last denied packet."""


def denied_rules(direction: Direction, own: str) -> Iterator[Rule]:
    """The rules that a denied packet comes to last; `own` is the field of the pod's address.

    What is logged says by its prefix in which direction it was denied.
    """
    denied = policy_sets(direction).denied
    for version, protocol in FAMILIES:
        counted = Count(f"{protocol} {own}", denied.name(version), KEPT_SECONDS)
        yield Rule((), counted)
    yield Rule((), Log(direction, LOG_GROUP, LOGGED_PER_SECOND))
    yield Rule((), "drop", f"no {direction} policy lets it through")
