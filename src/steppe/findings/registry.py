"""All judges. A new kind of finding is a module with a `judge`, and a line here."""

from collections.abc import Callable, Iterable

from steppe.findings import (
    astray,
    inside,
    links,
    mtu,
    neighbours,
    own_table,
    packet_rules,
    unread,
    xfrm,
)
from steppe.findings.finding import Finding
from steppe.findings.known import Known
from steppe.state.surroundings import Surroundings

JUDGES: tuple[Callable[[Surroundings, Known], Iterable[Finding]], ...] = (
    unread.judge,
    own_table.judge,
    links.judge,
    astray.judge,
    neighbours.judge,
    mtu.judge,
    packet_rules.judge,
    xfrm.judge,
    inside.judge,
)


def findings(around: Surroundings, known: Known) -> tuple[Finding, ...]:
    """Everything beside Steppe's tables that concerns flows of the cluster; the sure ones first."""
    found = dict.fromkeys(each for judge in JUDGES for each in judge(around, known))
    return tuple(sorted(found, key=lambda each: not each.sure))
