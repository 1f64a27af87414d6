"""An agent finds the kernel of a version without guards: they come into force under traffic."""

import json
import os
import signal
from collections.abc import Iterator

import pytest

from steppe.state.workload import POD_GROUP
from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.lab.test_nodes_again import Stream
from tests.lab.test_promises import audit, pod_ips
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
NODE = "node-a"
AGENT = f"agent/{NODE}"
GUARDS = (
    *("edges", "arriving", "forward", "from-pod", "from-tunnel"),
    *("tunnels", "tunnels-forwarded", "pod-errors"),
)
SETS = ("own4", "own6", "tunnel_from4", "tunnel_from6", "tunnel_inner4", "tunnel_inner6")
UNGUARDED = "\n".join(
    (
        *(f"flush chain inet steppe {name}" for name in GUARDS),
        *(f"delete chain inet steppe {name}" for name in GUARDS if name != "forward"),
        *(f"delete set inet steppe {name}" for name in SETS if "from" not in name),
        *(f"delete map inet steppe {name}" for name in SETS if "from" in name),
        "delete set inet steppe tunnel_end",
        "delete set inet steppe tunnel_udp",
        "delete set inet steppe tunnel_proto",
    )
)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("upgrade")) as make:
        pods = echo_pods((NODE, "node-b"), 2)
        yield make("upgr", "--nodes", "2", "--fabric", "vxlan", pods=pods)


def on_node(lab: Lab, *argv: str) -> str:
    done = lab.steppe("exec", f"node/{NODE}", "--", *argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pod_links(lab: Lab, group: int) -> list[str]:
    listed = json.loads(on_node(lab, "ip", "-j", "link", "show", "group", str(group)))
    return [each["ifname"] for each in listed if each.get("link_netnsid") is not None]


def test_no_packet_is_lost_as_the_guards_come_into_force(lab: Lab) -> None:
    links = pod_links(lab, POD_GROUP)
    assert len(links) == 2
    to = [ip for name in ("echo-a-1", "echo-b-0") for ip in pod_ips(lab, name)]
    stream = Stream(lab, "echo-a-0", to)
    back = Stream(lab, "echo-b-1", pod_ips(lab, "echo-a-1"))
    (pid,) = (each["pid"] for each in lab.record()["processes"] if each["name"] == AGENT)
    os.kill(pid, signal.SIGSTOP)
    on_node(lab, "nft", UNGUARDED)
    for link in links:
        on_node(lab, "ip", "link", "set", link, "group", "default")
        on_node(lab, "sysctl", "-qw", f"net.ipv4.conf.{link}.arp_ignore=0")
    os.kill(pid, signal.SIGKILL)
    assert lab.steppe("restart", AGENT).returncode == 0
    until(lambda: len(pod_links(lab, POD_GROUP)) == 2, 30, "the links are in their group")
    until(lambda: not audit(lab, NODE), 30, "the kernel is as it should be")
    for found in (stream.ended(), back.ended()):
        assert all(sent > 100 for sent, _ in found.values())
        assert {address: lost for address, (_, lost) in found.items() if lost} == {}
