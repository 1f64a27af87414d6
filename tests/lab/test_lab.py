"""Whole labs: brought up by the command line, probed with real packets, and gone without trace."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from steppe_lab import process
from steppe_lab.down import down
from tests.lab.conftest import PREFIX, echo_pods, steppe
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def _traces(lab: str) -> dict[str, object]:
    """Everything of a lab that could be left on a machine."""
    # Not a plain prefix: another lab's name may start alike.
    ours = re.compile(rf"\bst-{lab}-(fabric|outside|node-\w+|pod-\w+)( |$)|/{lab}/")
    return {
        "namespaces": [name for name in _listed("/run/netns") if ours.search(name)],
        "processes": [pid for pid in _pids() if process.lab_of(pid) == lab],
        "mounts": [mount for mount in _mounts() if ours.search(mount)],
        "files": [n for n in _listed("/run/steppe/labs") if n in (lab, f"{lab}.lock")],
    }


NOTHING: dict[str, object] = {"namespaces": [], "processes": [], "mounts": [], "files": []}


def _listed(folder: str) -> list[str]:
    return [entry.name for entry in Path(folder).iterdir()] if Path(folder).is_dir() else []


def _pids() -> list[int]:
    return [int(name) for name in _listed("/proc") if name.isdigit()]


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _machine() -> str:
    """Links, addresses, routes and rules of the machine's own namespace."""
    commands = (["-br", "address"], ["route", "show", "table", "all"], ["rule"])
    return "".join(
        subprocess.run(["ip", *each], capture_output=True, text=True, check=True).stdout
        for each in commands
    )


@pytest.mark.parametrize(
    ("fabric", "topology", "family", "nodes"),
    [
        ("direct", "flat", "dual", 2),
        ("vxlan", "flat", "dual", 2),
        ("auto", "racks", "dual", 3),
        ("auto", "racks", "ipv4", 2),
        ("auto", "racks", "ipv6", 2),
    ],
)
def test_every_pair_is_reached_and_seen_with_the_right_source(
    make_lab, fabric, topology, family, nodes
) -> None:
    names = tuple(f"node-{letter}" for letter in "abc"[:nodes])
    lab = make_lab(
        "probe",
        *("--nodes", str(nodes), "--family", family),
        *("--fabric", fabric, "--topology", topology),
        pods=echo_pods(names, 2),
    )
    done = lab.steppe("probe", "-o", "json")
    report = json.loads(done.stdout)
    assert [each for each in report["results"] if each["error"]] == []
    assert done.returncode == 0
    relations = {(each["relation"], each["family"]) for each in report["results"]}
    families = {"dual": ("ipv4", "ipv6")}.get(family, (family,))
    assert relations == {
        (relation, each)
        for relation in ("pod → pod", "pod → node", "node → pod", "pod → outside")
        for each in families
    }
    assert report["skipped"] == []


def test_nothing_is_left_behind_not_even_after_kill_minus_nine(make_lab) -> None:
    machine = _machine()
    lab = make_lab("kill", "--nodes", "2", pods=echo_pods(("node-a",), 1))
    assert _machine() == machine
    for pid in _pids():
        if process.lab_of(pid) == lab.name:
            os.kill(pid, signal.SIGKILL)
    (lab.root / "lab.json").unlink()
    done = lab.steppe("down")
    assert done.returncode == 0, done.stderr
    assert _traces(lab.name) == NOTHING
    assert _machine() == machine
    assert "was not up" in lab.steppe("down").stdout


@pytest.mark.usefixtures("make_lab")
def test_down_cleans_up_after_an_up_that_was_killed() -> None:
    name = f"{PREFIX}-half"
    command = [sys.executable, "-P", "-c", "from steppe.cli.main import main; main()"]
    up = subprocess.Popen([*command, "lab", "up", "--name", name], stderr=subprocess.DEVNULL)
    try:
        log = Path(f"/run/steppe/labs/{name}/log/kubelet.log")
        until(log.exists, 20, "the components are being started")
    finally:
        up.kill()
        up.wait()
    assert _traces(name) != NOTHING
    assert steppe("down", "--name", name).returncode == 0
    assert _traces(name) == NOTHING


def test_a_lab_on_another_api_server(make_lab, tmp_path) -> None:
    data = tmp_path / "api"
    argv = [sys.executable, "-P", "-m", "steppe_lab.apiserver", "--data", str(data)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            admin = data / "admin.kubeconfig"
            until(admin.exists, 20, "the API server answers")
            lab = make_lab(
                "api", "--nodes", "1", "--api", str(admin), pods=echo_pods(("node-a",), 2)
            )
            assert "api" not in {each["name"] for each in lab.record()["processes"]}
            assert lab.steppe("probe").returncode == 0
            assert lab.steppe("down").returncode == 0
            assert server.poll() is None
        finally:
            server.terminate()


def test_two_labs_live_side_by_side(make_lab) -> None:
    one = make_lab("one", "--nodes", "1", pods=echo_pods(("node-a",), 1))
    two = make_lab("one-b", "--nodes", "1", pods=echo_pods(("node-a",), 1))
    assert one.steppe("down").returncode == 0
    assert _traces(one.name) == NOTHING
    assert two.steppe("status").returncode == 0
    assert two.steppe("probe").returncode == 0


def test_status_exec_and_restart(make_lab) -> None:
    lab = make_lab("use", "--nodes", "1", pods=echo_pods(("node-a",), 1))
    status = json.loads(lab.steppe("status", "-o", "json").stdout)
    assert [node["ready"] for node in status["nodes"]] == [True]
    assert status["nodes"][0]["pods"] == 1
    assert {each["name"] for each in status["processes"]} == {
        *("api", "relay", "kubelet", "controller", "controller-manager", "dns", "agent/node-a")
    }
    ip = lab.kubectl("get", "pod", "echo-a-0", "-o", "jsonpath={.status.podIP}")
    assert ip in lab.steppe("exec", "echo-a-0", "--", "ip", "-4", "address").stdout
    assert "192.0.2.11" in lab.steppe("exec", "node/node-a", "--", "ip", "-4", "address").stdout
    assert "198.51.100.10" in lab.steppe("exec", "outside", "ip", "address").stdout
    assert "no node" in lab.steppe("exec", "node/nowhere", "true").stderr
    assert lab.steppe("exec", "outside", "--", "sh", "-c", "exit 7").returncode == 7
    for name in ("api", "relay", "dns", "agent/node-a"):
        assert lab.steppe("restart", name).returncode == 0
        # It answers, at once and without another try.
        assert "node-a" in lab.kubectl("get", "nodes")
        assert lab.command("show", "routes").returncode == 0
    until(lambda: lab.steppe("status").returncode == 0, 20, "all is well after a restart")
    assert lab.steppe("probe").returncode == 0


def test_a_node_that_was_called_unknown_says_that_it_is_ready(make_lab) -> None:
    lab = make_lab("late", "--nodes", "1")
    path = "{.status.conditions[?(@.type=='Ready')].status}"

    def ready() -> str:
        return lab.kubectl("get", "node", "node-a", "-o", f"jsonpath={path}")

    assert ready() == "True"
    unknown = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    lab.kubectl("patch", "node", "node-a", "--subresource=status", "-p", json.dumps(unknown))
    assert ready() == "Unknown"
    until(lambda: ready() == "True", 20, "the kubelet corrects it")


def test_a_failing_probe_is_shown_and_is_exit_code_1(make_lab) -> None:
    lab = make_lab("fail", "--nodes", "1", pods=echo_pods(("node-a",), 2))
    chain = "{ type filter hook input priority 0; }"
    rules = ("table inet t", f"chain inet t in {chain}", "rule inet t in udp dport 7 drop")
    block = ("nft", "; ".join(f"add {rule}" for rule in rules))
    assert lab.steppe("exec", "echo-a-0", "--", *block).returncode == 0
    done = lab.steppe("probe", "--family", "ipv6")
    assert done.returncode == 1
    assert "default/echo-a-1  default/echo-a-0  ipv6      udp/7   no answer" in done.stdout


def test_a_second_up_of_one_name_is_refused_and_harms_nothing(make_lab) -> None:
    lab = make_lab("twice", "--nodes", "1")
    again = lab.steppe("up", "--nodes", "1")
    assert again.returncode == 1
    assert "is up" in again.stderr
    assert lab.steppe("status").returncode == 0


def test_a_component_that_cannot_start_is_named_with_its_last_words(tmp_path) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text("apiVersion: v1\nkind: Config\n")
    name = f"{PREFIX}-bad"
    try:
        done = steppe("up", "--name", name, "--nodes", "1", "--api", str(broken))
        assert done.returncode == 1
        assert "kubeconfig" in done.stderr
        assert "Traceback" not in done.stderr
        assert _traces(name) == NOTHING
    finally:
        down(name)
