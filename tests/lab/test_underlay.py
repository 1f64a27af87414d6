"""A node whose uplink loses its addresses: its agent lives on, says so, and puts everything back.

Traffic between pods of the other nodes never notices. One lab, left by each test as it was found.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from steppe.agent.ask import AskError, ask
from steppe_lab.process import is_alive
from steppe_lab.record import Process, read_record
from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.lab.test_promises import audit, log_of, on_node, pod_ips
from tests.waiting import patience, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

NODE = "node-c"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("underlay")) as make:
        pods = echo_pods(("node-a", "node-b", NODE), 1)
        yield make("uplink", "--nodes", "3", pods=pods)


def status(lab: Lab) -> dict[str, Any]:
    return ask(lab.root / "nodes" / NODE / "agent.sock", "status")


def agent(lab: Lab) -> Process:
    (found,) = [p for p in read_record(lab.name).processes if p.name == f"agent/{NODE}"]
    return found


class Uplink:
    """What stands on the node's uplink, taken away and put back."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        shown = on_node(lab, NODE, "ip", "-j", "address", "show", "dev", "eth0", "scope", "global")
        (link,) = filter(None, json.loads(shown))
        self.addresses = [f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one]
        self.defaults = {
            family: json.loads(on_node(lab, NODE, "ip", "-j", family, "route", "show", "default"))
            for family in ("-4", "-6")
        }

    def flush(self) -> None:
        on_node(self._lab, NODE, "ip", "address", "flush", "dev", "eth0")
        for family in self.defaults:
            on_node(self._lab, NODE, "ip", family, "route", "flush", "default")

    def restore(self) -> None:
        for address in self.addresses:
            nodad = ("nodad",) if ":" in address else ()
            on_node(self._lab, NODE, "ip", "address", "add", address, "dev", "eth0", *nodad)
        for family, routes in self.defaults.items():
            for route in routes:
                via = ("via", route["gateway"], "dev", route["dev"])
                on_node(self._lab, NODE, "ip", family, "route", "add", "default", *via)


def answers(lab: Lab) -> bool:
    try:
        return bool(status(lab))
    except AskError:
        return False


def missed(lab: Lab) -> list[str]:
    """What status says of the uplink."""
    problems = status(lab)["problems"]
    return [p["message"] for p in problems if "the way to the other nodes" in p["message"]]


def is_whole(lab: Lab) -> bool:
    told = status(lab)
    return told["ready"] and not told["notInKernel"] and not told["problems"]


def is_reached(lab: Lab, pod: str) -> bool:
    """Whether another node's pod reaches this one at each of its addresses."""
    pings = (("ping", "-c", "1", "-W", "1", address) for address in pod_ips(lab, pod))
    return all(lab.steppe("exec", "echo-a-0", "--", *ping).returncode == 0 for ping in pings)


def pings(lab: Lab, count: int) -> list[subprocess.Popen[str]]:
    """Packets between pods of the other nodes, of each family, for a while."""
    argv = ("exec", "echo-a-0", "--", "ping", "-q", "-i", "0.005", "-c", str(count))
    return [
        subprocess.Popen(lab.argv(*argv, address), stdout=subprocess.PIPE, text=True)
        for address in pod_ips(lab, "echo-b-0")
    ]


def test_an_uplink_without_addresses_is_told_and_everything_is_put_back(lab: Lab) -> None:
    process, uplink, before = agent(lab), Uplink(lab), log_of(lab, NODE)
    traffic = pings(lab, 2000)
    try:
        uplink.flush()
        until(lambda: missed(lab), 10, "status says that the uplink has lost its addresses")
        told = status(lab)
        assert told["ready"]
        assert [row for row in told["notInKernel"] if "failed: " in row["state"]]
        assert "the last one known (eth0, MTU 1500) stays in force" in missed(lab)[0]
    finally:
        uplink.restore()
    until(lambda: is_whole(lab), 10, "all is as it shall be")
    assert audit(lab, NODE) == []
    assert is_reached(lab, "echo-c-0")
    for ping in traffic:
        said, _ = ping.communicate(timeout=patience(60))
        assert " 0% packet loss" in said, said
    assert is_alive(process)
    assert "Traceback" not in log_of(lab, NODE)[len(before) :]


def test_an_agent_starts_on_an_uplink_without_addresses(lab: Lab) -> None:
    uplink = Uplink(lab)
    uplink.flush()
    try:
        assert lab.steppe("restart", f"agent/{NODE}").returncode == 0
        process = agent(lab)
        until(lambda: answers(lab) and missed(lab), 15, "the new agent says what is wrong")
        until(lambda: status(lab)["ready"], 15, "pods can be attached")
    finally:
        uplink.restore()
    until(lambda: is_whole(lab), 15, "all is as it shall be")
    assert audit(lab, NODE) == []
    assert is_reached(lab, "echo-c-0")
    assert is_alive(process)
