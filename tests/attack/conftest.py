"""The lab that is attacked, one for each fabric, and the labs' own fixtures."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.attack.world import Field, pods
from tests.lab.conftest import _no_stale_labs, make_labs

__all__ = ("_no_stale_labs",)

FULL = os.environ.get("STEPPE_ATTACK") == "full"
FABRICS = ("direct", "vxlan", "auto") if FULL else ("vxlan",)


@pytest.fixture(scope="session", params=FABRICS)
def field(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _no_stale_labs: None,
) -> Iterator[Field]:
    with make_labs(tmp_path_factory.mktemp("attack")) as make:
        fabric = ("--nodes", "2", "--fabric", request.param)
        lab = make(f"a{request.param[:4]}", *fabric, pods=pods())  # a name has 20 letters
        with contextlib.closing(Field(lab)) as made:
            yield made
