"""What a pod sends by raw socket, and who hears of it: nobody, where policy forbids it.

`make test` has a few packets of each kind; `make attack` has all (STEPPE_ATTACK=full).
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.attack import oddities, shots
from tests.attack.conftest import FULL
from tests.attack.world import GUARDED, RECEIVERS, Field, heard

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_honest_packets_are_heard_by_those_who_may_hear_them(field: Field) -> None:
    """Without this, silence would say nothing."""
    ways = [("evil-a", name, 9) for name in RECEIVERS if name not in GUARDED]
    ways += [("friend-b", name, 9) for name in RECEIVERS if not name.startswith("narrow")]
    ways += [("evil-a", name, 53) for name in RECEIVERS if not name.startswith("echo")]
    plain = [field.plain(*ends, six, port) for *ends, port in ways for six in shots.FAMILIES]
    found = field.heard(plain)
    assert {shot: names for shot, names in found.items() if names != {shot.receiver}} == {}


ATTACKS = (
    *(shots.forged, shots.honest, shots.tunnelled, shots.by_service, shots.neighbourly),
    *(oddities.strange, oddities.detoured, oddities.announced, oddities.framed),
    oddities.about_others,
)


@pytest.mark.parametrize("attacks", ATTACKS)
def test_nobody_hears_what_policy_forbids(field: Field, attacks: Callable[..., Any]) -> None:
    assert heard(field, attacks(field, full=FULL)) == []
