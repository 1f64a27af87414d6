"""A node speaks for its own pods only: what comes in its tunnel is held against its prefixes."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from steppe.client.errors import ApiError
from steppe.client.resources import NODES
from tests.attack import frames
from tests.attack.frames import UDP
from tests.attack.shots import FAMILIES, VNI
from tests.attack.world import Field, Shot, heard
from tests.lab.test_nodes_again import stopped
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
OTHER = "node-z"
OTHERS = {False: "10.244.200.7", True: "fd00:10:244:c8::7"}
"""Pods of a third node, which is known and not there."""
PREFIXES = ("10.244.200.0/24", "fd00:10:244:c8::/64")
ADDRESSES = ("192.0.2.99", "2001:db8:0:1::99")


@pytest.fixture(scope="module")
def third(field: Field) -> Iterator[None]:
    if not field.has_tunnels:
        pytest.skip("this fabric has no tunnels")
    node: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": OTHER},
        "spec": {"podCIDR": PREFIXES[0], "podCIDRs": [*PREFIXES]},
        "status": {"addresses": [{"type": "InternalIP", "address": each} for each in ADDRESSES]},
    }
    # Nobody is to give a node that is not there other prefixes, or to take it away.
    with stopped(field.world.lab, "controller-manager", "controller"):
        field.world.api(lambda client: client.create(NODES, node))
        field.world.api(
            lambda client: client.patch(
                NODES, OTHER, {"status": node["status"]}, subresource="status"
            )
        )
        until(lambda: PREFIXES[1].partition("/")[0] in _inner(field), 30, "node-a knows it")
        yield
        with contextlib.suppress(ApiError):
            field.world.api(lambda client: client.delete(NODES, OTHER))


def _inner(field: Field) -> str:
    listed = ("nft", "list", "set", "inet", "steppe", "tunnel_inner6")
    done = field.world.lab.steppe("exec", "node/node-a", "--", *listed)
    return done.stdout


def tunnelled(field: Field, claimed: str, outer: bool, inner: bool, port: int = 40000) -> Shot:
    """From node-b's own address, with a packet inside that is said to be of `claimed`."""
    ends = field.address("node-b", outer), field.address("node-a", outer)
    to = field.address("open-a", inner)

    def build(mark: bytes) -> Iterable[bytes]:
        packet = frames.ip(claimed, to, UDP, frames.udp(claimed, to, mark, 9))
        body = frames.vxlan(packet, VNI, field.tunnel_macs["node-a"])
        return [frames.ip(*ends, UDP, frames.udp(*ends, body, 4789, port))]

    return Shot(f"VXLAN, inside {claimed}", "node-b", "open-a", build)


@pytest.mark.usefixtures("third")
def test_a_node_is_heard_with_its_own_pods_packets_and_not_with_anothers(field: Field) -> None:
    # Its tunnel ends at its IPv4 address, so nobody's device takes IPv6 outside.
    own = [tunnelled(field, field.address("friend-b", six), False, six) for six in FAMILIES]
    own += [tunnelled(field, field.address("node-b", six), False, six) for six in FAMILIES]
    assert list(field.heard(own).values()) == [{"open-a"}] * len(own)
    forged = [
        tunnelled(field, claimed, outer, six)
        for outer in FAMILIES
        for six in FAMILIES
        for claimed in (
            OTHERS[six],
            ADDRESSES[six],
            field.address("friend-a", six),
            field.address("node-a", six),
            field.address("outside", six),
        )
    ]
    assert heard(field, forged) == []
