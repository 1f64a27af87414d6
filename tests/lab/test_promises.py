"""What an operator relies on: the network outlives its agent, mends itself, and minds its own.

One lab for all of these, so each test leaves it as it found it.
"""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.waiting import patience, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

REPAIR_SECONDS = 2.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("promises")) as make:
        pods = echo_pods(("node-a", "node-b"), 1)
        yield make("mend", "--nodes", "3", "--fabric", "auto", "--topology", "racks", pods=pods)


def run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=patience(60))
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
    return done.stdout


def on_node(lab: Lab, node: str, *argv: str, check: bool = True) -> str:
    return run("ip", "netns", "exec", f"st-{lab.name}-{node}", *argv, check=check)


def pod_ips(lab: Lab, pod: str) -> list[str]:
    found = json.loads(lab.kubectl("get", "pod", pod, "-o", "json"))
    return [entry["ip"] for entry in found["status"]["podIPs"]]


def pod_link(lab: Lab, node: str, pod: str) -> str:
    links = json.loads(on_node(lab, node, "ip", "-j", "link"))
    (name,) = [
        link["ifname"] for link in links if link.get("ifalias", "").startswith(f"default/{pod} ")
    ]
    return name


def cidr(lab: Lab, node: str, version: int = 4) -> str:
    """A node's pod prefix: which one it got is the controller's business."""
    found = json.loads(lab.kubectl("get", "node", node, "-o", "json"))["spec"]["podCIDRs"]
    (prefix,) = [text for text in found if (":" in text) == (version == 6)]
    return prefix


def audit(lab: Lab, node: str) -> list[dict[str, str]]:
    command = lab.command("audit", "--node", node, "-o", "json")
    (answer,) = json.loads(command.stdout)["nodes"]
    return answer["differences"]


def log_of(lab: Lab, node: str) -> str:
    return (lab.root / "log" / f"agent-{node}.log").read_text()


def probes_are_fine(lab: Lab) -> bool:
    return lab.steppe("probe").returncode == 0


class Stream:
    """A TCP stream between two pods that never stops, and knows whether it ever broke."""

    SERVER = (
        "import socket;s=socket.create_server(('::',7999),family=socket.AF_INET6,"
        "dualstack_ipv6=True);print('up',flush=True);c,_=s.accept();n=0\n"
        "while d:=c.recv(1<<16): n+=len(d)\nprint(n)"
    )
    CLIENT = (
        "import socket,sys,time\nc=socket.create_connection((sys.argv[1],7999),timeout=5);n=0\n"
        "end=time.monotonic()+float(sys.argv[2])\n"
        "while time.monotonic()<end: n+=c.send(b'x'*8192); time.sleep(.001)\n"
        "c.shutdown(1);print(n)"
    )

    def __init__(self, lab: Lab, seconds: float) -> None:
        self.server = self._python(lab, "echo-b-0", self.SERVER)
        assert self.server.stdout is not None
        self.server.stdout.readline()
        address = pod_ips(lab, "echo-b-0")[0]
        self.client = self._python(lab, "echo-a-0", self.CLIENT, address, str(seconds))

    @staticmethod
    def _python(lab: Lab, pod: str, code: str, *arguments: str) -> subprocess.Popen[str]:
        argv = lab.argv("exec", pod, "--", "/usr/bin/python3", "-u", "-c", code, *arguments)
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finished(self) -> tuple[int, int]:
        """Bytes sent and bytes received."""
        sent, error = self.client.communicate(timeout=patience(60))
        received, _ = self.server.communicate(timeout=patience(60))
        assert sent, error
        return int(sent), int(received)


def test_an_agent_killed_under_traffic_loses_no_packet_and_changes_nothing_on_return(
    lab: Lab,
) -> None:
    seconds = 8.0
    stream = Stream(lab, seconds)
    address = pod_ips(lab, "echo-b-0")[1]
    ping = subprocess.Popen(
        lab.argv(
            "exec", "echo-a-0", "--", "ping", "-6", "-q", "-i", "0.001", "-c", "5000", address
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    monitor = subprocess.Popen(
        ["ip", "-n", f"st-{lab.name}-node-a", "monitor", "link", "address", "route", "rule"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        before = log_of(lab, "node-a")
        assert lab.steppe("restart", "agent/node-a").returncode == 0
        until(
            lambda: " listed " in log_of(lab, "node-a")[len(before) :],
            15,
            "the new agent has its list",
        )
        until(lambda: audit(lab, "node-a") == [], 15, "the new agent is in sync")
        told, _ = ping.communicate(timeout=patience(60))
        sent, received = stream.finished()
    finally:
        monitor.terminate()
        seen, _ = monitor.communicate(timeout=10)
    assert " 0% packet loss" in told, told
    assert sent == received > 0
    assert seen == ""
    after = log_of(lab, "node-a")[len(before) :]
    assert re.findall(r"INFO (?:add|replace|delete) .*", after) == []


ELEMENT = ("nft", "delete", "element", "inet", "steppe", "cluster4")
REMOVALS: dict[str, tuple[Callable[[Lab], tuple[str, ...]], str]] = {
    "a route to a peer on the subnet": (
        lambda lab: ("ip", "route", "del", cidr(lab, "node-c")),
        "Node/node-c",
    ),
    "a route through the tunnel": (
        lambda lab: ("ip", "-6", "route", "del", cidr(lab, "node-b", 6)),
        "Node/node-b",
    ),
    "a pod's route": (lambda lab: ("ip", "route", "del", pod_ips(lab, "echo-a-0")[0]), "Pod/"),
    "a pod's neighbour": (
        lambda lab: (
            *("ip", "neigh", "del", pod_ips(lab, "echo-a-0")[1]),
            *("dev", pod_link(lab, "node-a", "echo-a-0")),
        ),
        "Pod/default/echo-a-0",
    ),
    "a tunnel's neighbour": (
        lambda lab: (
            *("ip", "neigh", "del", cidr(lab, "node-b").partition("/")[0]),
            *("dev", "steppe-vxlan"),
        ),
        "Node/node-b",
    ),
    "a pod's link": (
        lambda lab: ("ip", "link", "del", pod_link(lab, "node-a", "echo-a-0")),
        "Pod/default/echo-a-0",
    ),
    "a pod's link set down": (
        lambda lab: ("ip", "link", "set", pod_link(lab, "node-a", "echo-a-0"), "down"),
        "Pod/default/echo-a-0",
    ),
    "the tunnel device": (lambda _: ("ip", "link", "del", "steppe-vxlan"), "Node/node-a"),
    "the rule for pods": (
        lambda lab: ("ip", "rule", "del", "from", cidr(lab, "node-a"), "lookup", "7473"),
        "Node/node-a",
    ),
    "a map's element": (
        lambda lab: (*ELEMENT, f"{{ {cidr(lab, 'node-c')} }}"),
        "Node/node-c",
    ),
    "all of nftables' rules": (lambda _: ("nft", "flush", "ruleset"), "Node/node-c"),
    "a route replaced by hand": (
        lambda lab: (
            *("ip", "route", "replace", cidr(lab, "node-c"), "via", "192.0.2.1"),
            *("metric", "1024"),
        ),
        "Node/node-c",
    ),
}


@pytest.mark.parametrize("what", REMOVALS)
def test_what_is_removed_by_hand_is_back_in_two_seconds_with_its_cause(lab: Lab, what: str) -> None:
    command, cause = REMOVALS[what]
    before = log_of(lab, "node-a")
    on_node(lab, "node-a", *command(lab))
    began = time.monotonic()
    until(lambda: audit(lab, "node-a") == [], REPAIR_SECONDS * 2, f"{what} is repaired")
    assert time.monotonic() - began < patience(REPAIR_SECONDS)
    lines = log_of(lab, "node-a")[len(before) :].splitlines()
    assert any(cause in line for line in lines), lines
    assert probes_are_fine(lab)


MEDDLING = {
    "a rule that drops all": "insert rule inet steppe forward drop",
    "a rule that lets all in": "insert rule inet steppe ingress-forward accept",
    "a chain without its rules": "flush chain inet steppe services",
    "a chain of its own": "add chain inet steppe mine { type filter hook forward priority 9; }",
    "the flag that puts it to sleep": "add table inet steppe { flags dormant; }",
}


@pytest.mark.parametrize("what", MEDDLING)
def test_what_is_done_to_steppes_own_table_is_undone_in_two_seconds(lab: Lab, what: str) -> None:
    before, shown = log_of(lab, "node-a"), ("nft", "-t", "list", "table", "inet", "steppe")
    sound = on_node(lab, "node-a", *shown)
    on_node(lab, "node-a", "nft", MEDDLING[what])
    began = time.monotonic()
    until(
        lambda: on_node(lab, "node-a", *shown) == sound, REPAIR_SECONDS * 2, f"{what} is gone again"
    )
    assert time.monotonic() - began < patience(REPAIR_SECONDS)
    assert "table inet steppe" in log_of(lab, "node-a")[len(before) :]
    assert audit(lab, "node-a") == []


def test_what_others_put_into_the_kernel_is_left_alone(lab: Lab) -> None:
    link = pod_link(lab, "node-a", "echo-a-0")
    foreign = (
        ("ip", "link", "add", "other0", "type", "bridge"),
        ("ip", "link", "set", "other0", "up"),
        ("ip", "address", "add", "172.30.0.1/24", "dev", "other0"),
        ("ip", "route", "add", "172.31.0.0/24", "via", "192.0.2.1", "proto", "static"),
        ("ip", "rule", "add", "from", "172.30.0.0/24", "lookup", "100"),
        ("ip", "neigh", "add", "172.30.0.9", "lladdr", "02:00:00:00:00:09", "dev", "other0"),
        ("nft", "add table inet other; add set inet other s { type ipv4_addr; }"),
    )
    for command in foreign:
        on_node(lab, "node-a", *command)

    def state() -> tuple[str, ...]:
        return (
            on_node(lab, "node-a", "ip", "-j", "address", "show", "dev", "other0"),
            on_node(lab, "node-a", "ip", "route", "show", "proto", "static"),
            on_node(lab, "node-a", "ip", "rule", "show", "from", "172.30.0.0/24"),
            on_node(lab, "node-a", "ip", "neigh", "show", "dev", "other0"),
            on_node(lab, "node-a", "nft", "list", "table", "inet", "other"),
        )

    before = state()
    on_node(lab, "node-a", "ip", "route", "del", cidr(lab, "node-c"))
    until(lambda: audit(lab, "node-a") == [], 5, "the agent has been at work")
    assert lab.command("audit", "--node", "node-a", "--repair").returncode == 0
    assert state() == before
    assert pod_link(lab, "node-a", "echo-a-0") == link
    for command in (
        ("ip", "link", "del", "other0"),
        ("ip", "route", "del", "172.31.0.0/24"),
        ("ip", "rule", "del", "from", "172.30.0.0/24", "lookup", "100"),
        ("nft", "delete table inet other"),
    ):
        on_node(lab, "node-a", *command)


def test_without_an_api_server_traffic_and_new_pods_go_on(lab: Lab) -> None:
    target = pod_ips(lab, "echo-b-0")[0]
    own = cidr(lab, "node-a")
    api = next(p for p in lab.record()["processes"] if p["name"] == "api")
    run("kill", f"-{signal.SIGKILL.value}", str(api["pid"]))
    try:
        # The agent starts anew while the API is away: its kernel tells it what it needs.
        assert lab.steppe("restart", "agent/node-a").returncode == 0
        until(
            lambda: "node-a  ready" in lab.command("status", "--node", "node-a").stdout,
            15,
            "the agent answers",
        )
        state = lab.root / "nodes" / "node-a"
        name = f"st-{lab.name}-pod-00000000"
        run("ip", "netns", "add", name)
        attached = cni(lab, state, "ADD", name)
        addresses = [ip["address"] for ip in json.loads(attached)["ips"]]
        assert any(ip_interface(address).ip in ip_network(own) for address in addresses)
        run("ip", "netns", "exec", name, "ping", "-c", "3", "-i", "0.1", "-W", "2", target)
        cni(lab, state, "DEL", name)
        run("ip", "netns", "del", name)
    finally:
        assert lab.steppe("restart", "api").returncode == 0
    until(lambda: lab.steppe("status").returncode == 0, 40, "the lab is well again")
    until(
        lambda: lab.command("status", "--node", "node-a").returncode == 0,
        40,
        "the agent is in sync again",
    )
    assert probes_are_fine(lab)


def cni(lab: Lab, state, command: str, netns: str) -> str:
    done = call_cni(lab, state, command, netns)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def call_cni(lab: Lab, state, command: str, netns: str) -> subprocess.CompletedProcess[str]:
    """The plugin, as node-a's runtime would call it for a pod that the API knows nothing of."""
    config = {"cniVersion": "1.1.0", "name": "steppe", "type": "steppe"}
    config["socket"] = str(state / "cni.sock")
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "f" * 64,
        "CNI_NETNS": f"/run/netns/{netns}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(state / "cni" / "bin"),
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=by-hand",
    }
    pairs = [f"{key}={value}" for key, value in environment.items()]
    return subprocess.run(
        ["ip", "netns", "exec", f"st-{lab.name}-node-a", "env", *pairs, state / "cni/bin/steppe"],
        input=json.dumps(config),
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(60),
    )


NONSENSE = {
    "a prefix that another node has": (
        {"podCIDR": "NODE-B", "podCIDRs": ["NODE-B"]},
        [{"type": "InternalIP", "address": "192.0.2.99"}],
        "it overlaps",
    ),
    "a prefix with no way to it": (
        {"podCIDR": "fd00:99::/64", "podCIDRs": ["fd00:99::/64"]},
        [{"type": "Hostname", "address": "nowhere"}],
        "give the node one",
    ),
    "an address that is none": (
        {"podCIDR": "10.244.99.0/24", "podCIDRs": ["10.244.99.0/24"]},
        [{"type": "InternalIP", "address": "not-an-address"}],
        "not an address",
    ),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_in_the_api_is_a_problem_and_everything_else_goes_on(
    lab: Lab, what: str, tmp_path
) -> None:
    spec, addresses, words = NONSENSE[what]
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "nonsense"},
        "spec": spec,
        "status": {"addresses": addresses},
    }
    file = tmp_path / "node.json"
    file.write_text(json.dumps(node).replace("NODE-B", cidr(lab, "node-b")))
    try:
        lab.kubectl("create", "-f", str(file))
        until(
            lambda: words in lab.command("status", "--node", "node-a").stdout,
            10,
            f"the agent tells of {what}",
        )
        assert probes_are_fine(lab)
    finally:
        lab.kubectl("delete", "node", "nonsense", "--wait=false")
    until(
        lambda: lab.command("status", "--node", "node-a").returncode == 0,
        10,
        "the Problem goes with its object",
    )


def test_a_pod_that_comes_and_goes_leaves_no_entry(lab: Lab, tmp_path) -> None:
    def rows() -> int:
        shown = lab.command("show", "all", "--node", "node-c", "-o", "json")
        return len(json.loads(shown.stdout)["nodes"][0]["rows"])

    before = rows()
    (pod,) = echo_pods(("node-c",), 1)
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(pod))
    lab.kubectl("apply", "-f", str(file))
    lab.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod", "echo-c-0")
    lab.kubectl("delete", "pod", "echo-c-0", "--grace-period=1")
    until(lambda: rows() == before, 15, "its entries are gone")
    assert audit(lab, "node-c") == []


def test_agents_stay_small(lab: Lab) -> None:
    """Resident memory of an agent in a 3-node lab: at most 60 MB."""
    for process in lab.record()["processes"]:
        if process["name"].startswith("agent/"):
            status = Path(f"/proc/{process['pid']}/status").read_text()
            (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
            assert int(kilobytes) < 60_000
