"""A network for each fabric, under each family of underlay."""

import os
from collections.abc import Iterator

import pytest

from steppe.drivers.requirements.attempt import in_namespace
from steppe.drivers.requirements.model import State
from steppe.fabric.registry import FABRICS
from tests.fabrics.network import Fabric, Network

ALL = os.environ.get("STEPPE_FABRICS") == "all"
"""Whether a fabric that the kernel lacks is a failure: in the VM it has every one."""

FABRIC_ROWS = (
    Fabric("direct", 4, 0),
    Fabric("bgp", 4, 0),
    Fabric("vxlan", 4, 50),
    Fabric("vxlan", 6, 70),
    Fabric("auto", 4, 50),
    Fabric("ipip", 4, 20, own=40),
    Fabric("ipip", 6, 40),
    Fabric("auto-ipip", 4, 20, own=40),
    Fabric("gre", 4, 24),
    Fabric("gre", 6, 44),
    Fabric("auto-gre", 4, 24),
    Fabric("geneve", 4, 50),
    Fabric("geneve", 6, 70),
    Fabric("auto-geneve", 4, 50),
)


def _has(fabric: Fabric) -> bool:
    """Whether this kernel has the kind of device that the fabric makes over this underlay."""
    wanted = {
        ("ipip", 6): "ip6tnl",
        ("gre", 4): "gre",
        ("gre", 6): "ip6gre",
    }
    kind = wanted.get((fabric.name.removeprefix("auto-"), fabric.underlay))
    needs = [n for n in FABRICS[fabric.name].needs if kind in (None, n.device)]
    tried = (("ip", "link", "add", "x0", "type", need.device, *need.words) for need in needs)
    return all(in_namespace(*command).state is State.OK for command in tried)


@pytest.fixture(scope="session", params=FABRIC_ROWS, ids=str)
def net(request: pytest.FixtureRequest) -> Iterator[Network]:
    fabric: Fabric = request.param
    if not _has(fabric):
        message = f"this kernel has no device for {fabric}"
        if ALL:
            pytest.fail(message)
        pytest.skip(message)
    with Network(fabric) as made:
        yield made


@pytest.fixture
def healed(net: Network) -> Iterator[Network]:
    """The network, which is put right again after the test."""
    yield net
    net.program(net.cluster)
