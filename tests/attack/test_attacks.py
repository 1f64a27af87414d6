"""What a pod sends by raw socket, and who hears of it: nobody, where policy forbids it.

`make test` has a few packets of each kind; `make attack` has all (STEPPE_ATTACK=full).
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.attack import shots
from tests.attack.world import RECEIVERS, Field, Shot, pods
from tests.lab.conftest import make_labs

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
FULL = os.environ.get("STEPPE_ATTACK") == "full"
FABRICS = ("direct", "vxlan", "auto") if FULL else ("vxlan",)


@pytest.fixture(scope="module", params=FABRICS)
def field(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _no_stale_labs: None,
) -> Iterator[Field]:
    with make_labs(tmp_path_factory.mktemp("attack")) as make:
        fabric = ("--nodes", "2", "--fabric", request.param)
        yield Field(make(f"a{request.param[:4]}", *fabric, pods=pods()))  # a name has 20 letters


def heard(field: Field, found: Iterator[Shot]) -> list[str]:
    return [
        f"{', '.join(sorted(names))}: {shot.name}, from {shot.sender} to {shot.receiver}"
        for shot, names in field.heard(found).items()
        if names
    ]


def test_honest_packets_are_heard_by_those_who_may_hear_them(field: Field) -> None:
    """Without this, silence would say nothing."""
    open_to = [name for name in RECEIVERS if not name.startswith("echo")]
    plain = [field.plain("evil-a", name, six) for name in open_to for six in shots.FAMILIES]
    plain += [field.plain("friend-b", name, six) for name in RECEIVERS for six in shots.FAMILIES]
    found = field.heard(plain)
    assert {shot: names for shot, names in found.items() if names != {shot.receiver}} == {}


@pytest.mark.parametrize(
    "attacks", [shots.forged, shots.honest, shots.tunnelled, shots.by_service, shots.neighbourly]
)
def test_nobody_hears_what_policy_forbids(field: Field, attacks: Callable[..., Any]) -> None:
    assert heard(field, attacks(field, full=FULL)) == []
