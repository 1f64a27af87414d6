"""Walks over tables that are not as they shall be: each fault ends the packet where it stands."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from steppe.compile.node import compile_cluster
from steppe.fabric.vxlan import DEVICE
from steppe.kube.cluster import cluster_of
from steppe.net.packet import Packet
from steppe.settings import Settings
from steppe.state.claim import Entry
from steppe.state.link import LinkKey
from steppe.state.node import Key
from steppe.state.sysctl import Sysctl, SysctlKey
from steppe.state.workload import link_name
from steppe.walk.walk import Walker
from tests.worlds import node_at, pod_on

NODES = [node_at(0), node_at(1)]
CLIENT, SERVER = pod_on(NODES[0], 1), pod_on(NODES[1], 1)
CLUSTER = cluster_of(NODES, [CLIENT, SERVER])
POD_LINK = LinkKey(link_name(SERVER.uid))


def reason(node: str, key: Key, changed: Callable[[Any], Any], version: int) -> str:
    states, _ = compile_cluster(Settings(fabric="vxlan"), CLUSTER)
    state = dict(states[node])
    entry = state[key]
    state[key] = Entry(changed(entry.value), entry.because)
    walker = Walker(CLUSTER, {**states, node: state})
    index = 0 if version == 4 else 1
    end = walker.walk(Packet(CLIENT.addresses[index], SERVER.addresses[index])).end
    assert end.kind == "dropped"
    return end.reason


def off(value: Sysctl) -> Sysctl:
    del value
    return Sysctl("0")


def down(value: Any) -> Any:
    return msgspec.structs.replace(value, up=False)


@pytest.mark.parametrize(
    ("node", "key", "changed", "version", "said"),
    [
        ("node-a", SysctlKey("net/ipv4/ip_forward"), off, 4, "node-a does not forward"),
        ("node-b", SysctlKey("net/ipv6/conf/all/forwarding"), off, 6, "node-b does not forward"),
        ("node-a", LinkKey(DEVICE), down, 4, "steppe-vxlan of node-a is down"),
        ("node-b", POD_LINK, down, 6, f"{POD_LINK.name} of node-b is down"),
    ],
)
def test_a_fault_ends_the_packet(
    node: str, key: Key, changed: Callable[[Any], Any], version: int, said: str
) -> None:
    assert said in reason(node, key, changed, version)
