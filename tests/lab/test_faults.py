"""Faults put into a node by hand: what audit and explain say of each is what docs/faults.md tells.

The document is the table of what is expected; here stands how each fault is made. One lab for all
of them, on whose first node the agent repairs nothing by itself. `audit --repair` puts right what
is Steppe's, and so each fault is the only one while it lasts.
"""

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steppe_lab import netns
from steppe_lab.record import read_record, write_record
from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.lab.test_promises import audit, cidr, on_node, pod_link
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
HERE, THERE = "echo-a-0", "echo-b-0"
FLOW = (f"default/{THERE}", f"default/{HERE}", "--port", "8080")

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "echo"},
    "spec": {
        "type": "NodePort",
        "selector": {"app": "echo"},
        "ports": [
            {"name": "http", "port": 8080},
            {"name": "udp", "port": 7, "protocol": "UDP"},
        ],
    },
}
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "guard"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "echo"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "echo"}}}]}],
    },
}


class Fault(msgspec.Struct, frozen=True):
    """How a fault is made, on node-a unless in the pod there, and unmade if it is not Steppe's.

    `flow` is what explain is asked about, `lab` the fixture of the lab that it is made in.
    """

    make: Callable[[Lab], Any]
    unmake: Callable[[Lab], Any] | None = None
    flow: tuple[str, ...] = FLOW
    lab: str = "lab"


def here(*argv: str) -> Callable[[Lab], str]:
    return lambda lab: on_node(lab, "node-a", *argv)


def nft(text: str) -> Callable[[Lab], str]:
    return here("nft", text)


def change_endpoint(lab: Lab) -> None:
    """Lead the first choice of the Service to an address that no pod has."""
    shown = on_node(lab, "node-a", "nft", "list", "map", "inet", "steppe", "endpoint4")
    key = re.search(r"(10\.96\.\S+ \. tcp \. 8080 \. \S+) : ", shown)
    assert key, shown
    element = "element inet steppe endpoint4"
    text = f"{{ {key[1]} }}; add {element} {{ {key[1]} : 198.51.100.99 . 8080 }}"
    on_node(lab, "node-a", "nft", f"delete {element} {text}")


def on_link(*words: str) -> Callable[[Lab], str]:
    return lambda lab: on_node(
        lab, "node-a", "ip", "link", "set", pod_link(lab, "node-a", HERE), *words
    )


def inside(lab: Lab, *words: str) -> None:
    lab.steppe("exec", HERE, "--", "ip", "link", "set", "eth0", *words)


def leave_stale_flow(lab: Lab) -> None:
    """As an endpoint does that goes while no agent runs: its flows go on leading to it."""
    (address,) = json.loads(lab.kubectl("get", "service", "echo", "-o", "json"))["spec"][
        "clusterIPs"
    ]
    rule = f"ip daddr {address} udp dport 7 dnat to 198.51.100.99:7"
    nft("add table ip gone; add chain ip gone o { type nat hook output priority -150; }")(lab)
    nft(f"add rule ip gone o {rule}")(lab)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (address, 7))

    netns.inside(f"st-{lab.name}-node-a", send)
    nft("delete table ip gone")(lab)


def address_of(lab: Lab, pod: str, version: int = 4) -> str:
    found = json.loads(lab.kubectl("get", "pod", pod, "-o", "json"))["status"]["podIPs"]
    return next(each["ip"] for each in found if (":" in each["ip"]) == (version == 6))


def node_address(lab: Lab, node: str) -> str:
    found = json.loads(lab.kubectl("get", "node", node, "-o", "json"))["status"]["addresses"]
    return next(
        each["address"] for each in found if each["type"] == "InternalIP" and "." in each["address"]
    )


def ip(*words: str | Callable[[Lab], str], node: str = "node-a") -> Callable[[Lab], Any]:
    """`ip …` on a node; words that depend on the lab are functions of it."""

    def run(lab: Lab) -> str:
        return on_node(lab, node, "ip", *(w if isinstance(w, str) else w(lab) for w in words))

    return run


def each_of(*steps: Callable[[Lab], Any]) -> Callable[[Lab], None]:
    def run(lab: Lab) -> None:
        for step in steps:
            step(lab)

    return run


def in_pod(*words: str | Callable[[Lab], str]) -> Callable[[Lab], Any]:
    def run(lab: Lab) -> None:
        said = lab.steppe("exec", HERE, "--", *(w if isinstance(w, str) else w(lab) for w in words))
        assert said.returncode == 0, said.stderr

    return run


def link_setting(name: str, value: int, link: str = "") -> Callable[[Lab], Any]:
    def run(lab: Lab) -> None:
        of = link or pod_link(lab, "node-a", HERE)
        on_node(lab, "node-a", "sysctl", "-qw", f"net.ipv4.conf.{of}.{name}={value}")

    return run


def wrong_neighbour(lab: Lab) -> None:
    link, own = pod_link(lab, "node-a", HERE), address_of(lab, HERE)
    words = ("lladdr", WRONG, "nud", "permanent", "dev", link)
    on_node(lab, "node-a", "ip", "neigh", "replace", own, *words)


def peer_mac(lab: Lab) -> str:
    (link,) = json.loads(on_node(lab, "node-b", "ip", "-j", "link", "show", "eth0"))
    return str(link["address"])


def chain(name: str, kind: str, hook: str, priority: int, rule: str) -> Fault:
    """A table of another program's with one rule."""
    made = f"add table ip other; add chain ip other {name} "
    made += f"{{ type {kind} hook {hook} priority {priority}; }}; "
    return Fault(nft(f"{made}add rule ip other {name} {rule}"), nft("delete table ip other"))


def iptables(program: str) -> Fault:
    rule = ("FORWARD", "-p", "tcp", "--dport", "8080", "-j", "DROP")
    return Fault(here(program, "-A", *rule), here(program, "-D", *rule))


def own4(lab: Lab) -> str:
    return f"{address_of(lab, HERE)}/32"


def far4(lab: Lab) -> str:
    return f"{address_of(lab, THERE)}/32"


def there4(lab: Lab) -> str:
    return cidr(lab, "node-b")


def here4(lab: Lab) -> str:
    return cidr(lab, "node-a")


def here6(lab: Lab) -> str:
    return cidr(lab, "node-a", 6)


def node_b(lab: Lab) -> str:
    return node_address(lab, "node-b")


WRONG = "02:00:00:00:00:99"
NEIGHBOUR = ("nud", "permanent", "dev", "eth0")
RULE = ("pref", "50", "from", here4, "to", there4, "lookup", "100")
XFRM = ("src", there4, "dst", here4, "dir", "fwd")
STRICT = link_setting("rp_filter", 1, "steppe-vxlan")
NOT_STRICT = link_setting("rp_filter", 0, "steppe-vxlan")


def told_of(mtu: int) -> Callable[[Lab], None]:
    """Wait until node-b has told how large packets its link takes, and node-a has heard it."""

    def is_told(lab: Lab) -> bool:
        shown = json.loads(lab.kubectl("get", "node", "node-b", "-o", "json"))
        told = json.loads(shown["metadata"]["annotations"]["steppe.dev/underlay"])
        others = lab.command("audit", "--node", "node-a").stdout
        return told["mtu"] == mtu and (f"take {mtu} bytes" in others) == (mtu < 1500)

    return lambda lab: until(lambda: is_told(lab), 20, f"node-b's link takes {mtu} bytes")


def without_first_rule(chain: str) -> Callable[[Lab], None]:
    """Take the first rule out of one of Steppe's own chains."""

    def run(lab: Lab) -> None:
        shown = on_node(lab, "node-a", "nft", "-a", "list", "chain", "inet", "steppe", chain)
        handle = re.findall(r"# handle (\d+)$", shown, re.MULTILINE)[1]
        nft(f"delete rule inet steppe {chain} handle {handle}")(lab)

    return run


def own_chain(name: str, hook: str, rule: str) -> Callable[[Lab], str]:
    made = f"add chain inet steppe {name} {{ type filter hook {hook} priority 5; }}; "
    return nft(f"{made}add rule inet steppe {name} {rule}")


ROUTE_BACK = (f"default/{HERE}", f"default/{THERE}", "--port", "8080")
SERVED = (f"default/{HERE}", "svc/default/echo:8080")
DENIED = ("node/node-b", f"default/{HERE}", "--port", "8080")

FAULTS = {
    "a route is deleted": Fault(
        lambda lab: on_node(lab, "node-a", "ip", "route", "del", cidr(lab, "node-b")),
        flow=ROUTE_BACK,
    ),
    "another's route is in the place of ours": Fault(
        lambda lab: on_node(
            lab,
            "node-a",
            *("ip", "-6", "route", "replace", cidr(lab, "node-b", 6), "via", "2001:db8:0:1::1"),
        ),
        lambda lab: on_node(lab, "node-a", "ip", "-6", "route", "del", cidr(lab, "node-b", 6)),
        flow=ROUTE_BACK,
    ),
    "another's route is taken before ours": Fault(
        lambda lab: on_node(
            lab, "node-a", *("ip", "route", "add", cidr(lab, "node-b"), "via", "192.0.2.1")
        ),
        lambda lab: on_node(
            lab, "node-a", *("ip", "route", "del", cidr(lab, "node-b"), "via", "192.0.2.1")
        ),
    ),
    "an nft element is deleted": Fault(
        lambda lab: nft(f"delete element inet steppe cluster4 {{ {cidr(lab, 'node-b')} }}")(lab),
        flow=ROUTE_BACK,
    ),
    "an nft element is changed": Fault(change_endpoint, flow=SERVED),
    "a policy is half applied": Fault(nft("flush map inet steppe ingress_allowed4")),
    "a pod's guard is gone": Fault(nft("flush set inet steppe ingress_guarded6")),
    "a wrong MTU on a pod's link": Fault(on_link("mtu", "1000")),
    "a wrong MTU inside a pod": Fault(
        lambda lab: inside(lab, "mtu", "9000"), lambda lab: inside(lab, "mtu", "1500")
    ),
    "a pod's link is down": Fault(on_link("down")),
    "ip_forward is off": Fault(here("sysctl", "-qw", "net.ipv4.ip_forward=0")),
    "rp_filter is on for all links": Fault(
        here("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"),
        here("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"),
    ),
    "a stale UDP flow": Fault(leave_stale_flow),
    "another program's rule drops": Fault(
        nft(
            "add table inet firewall; add chain inet firewall forward "
            "{ type filter hook forward priority -10; }; "
            "add rule inet firewall forward tcp dport 8080 drop"
        ),
        nft("delete table inet firewall"),
    ),
    "a blackhole route to one pod": Fault(
        ip("route", "add", "blackhole", own4), ip("route", "del", "blackhole", own4)
    ),
    "a rule leads to another table": Fault(
        each_of(
            ip("route", "add", "unreachable", "default", "table", "100"), ip("rule", "add", *RULE)
        ),
        each_of(ip("rule", "del", *RULE), ip("route", "flush", "table", "100")),
        flow=ROUTE_BACK,
    ),
    "a rule prohibits": Fault(
        ip("-6", "rule", "add", "pref", "50", "to", here6, "prohibit"),
        ip("-6", "rule", "del", "pref", "50"),
    ),
    "a pod's link does not forward": Fault(
        link_setting("forwarding", 0), link_setting("forwarding", 1)
    ),
    "a pod's address is on another link too": Fault(
        ip("address", "add", own4, "dev", "lo"), ip("address", "del", own4, "dev", "lo")
    ),
    "another node's pod has an address of this node's": Fault(
        ip("address", "add", far4, "dev", "lo"), ip("address", "del", far4, "dev", "lo")
    ),
    "a wrong neighbour on a pod's link": Fault(wrong_neighbour),
    "a wrong neighbour for another node": Fault(
        ip("neigh", "replace", node_b, "lladdr", WRONG, *NEIGHBOUR),
        ip("neigh", "replace", node_b, "lladdr", peer_mac, *NEIGHBOUR),
        flow=ROUTE_BACK,
    ),
    "another program translates": chain(
        "pre", "nat", "prerouting", -150, "tcp dport 8080 dnat to 198.51.100.9"
    ),
    "another program hides senders": chain(
        "post", "nat", "postrouting", 50, "ip saddr 10.244.0.0/16 masquerade"
    ),
    "another program ends tracking": chain(
        "raw", "filter", "prerouting", -300, "ip protocol tcp notrack"
    ),
    "another program changes Steppe's mark": chain(
        "mangle", "filter", "forward", -150, "meta mark set 0"
    ),
    "iptables drops (nft variant)": iptables("iptables-nft"),
    "iptables drops (legacy variant)": iptables("ip6tables-legacy"),
    "an IPsec policy blocks": Fault(
        ip("xfrm", "policy", "add", *XFRM, "action", "block"), ip("xfrm", "policy", "delete", *XFRM)
    ),
    "a route inside a pod": Fault(
        in_pod("ip", "route", "add", "blackhole", there4),
        in_pod("ip", "route", "del", "blackhole", there4),
        flow=ROUTE_BACK,
    ),
    "a firewall inside a pod": Fault(
        in_pod("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "DROP"),
        in_pod("iptables", "-F"),
    ),
    "another node's link takes less": Fault(
        each_of(ip("link", "set", "eth0", "mtu", "1400", node="node-b"), told_of(1400)),
        each_of(ip("link", "set", "eth0", "mtu", "1500", node="node-b"), told_of(1500)),
    ),
    "a route to another node takes less than the tunnel": Fault(
        ip("route", "add", node_b, "dev", "eth0", "mtu", "1300"),
        ip("route", "del", node_b, "dev", "eth0"),
        lab="tunnel",
        flow=ROUTE_BACK,
    ),
    "the tunnel does not forward": Fault(
        link_setting("forwarding", 0, "steppe-vxlan"),
        link_setting("forwarding", 1, "steppe-vxlan"),
        lab="tunnel",
    ),
    "rp_filter is on for the tunnel": Fault(STRICT, NOT_STRICT, lab="tunnel"),
    "… and nodes are reached beside it": Fault(
        each_of(STRICT, ip("rule", "add", "pref", "10", "lookup", "main")),
        each_of(NOT_STRICT, ip("rule", "del", "pref", "10")),
        lab="tunnel",
        flow=DENIED,
    ),
    "a rule in Steppe's own chain drops": Fault(
        nft("insert rule inet steppe forward tcp dport 8080 drop")
    ),
    "a rule in Steppe's own chain accepts all": Fault(
        nft("insert rule inet steppe ingress-forward accept"), flow=DENIED
    ),
    "a chain of Steppe's for policies is empty": Fault(
        nft("flush chain inet steppe ingress-forward"), flow=DENIED
    ),
    "a chain of Steppe's for Services is empty": Fault(
        nft("flush chain inet steppe services"), flow=SERVED
    ),
    "one rule of Steppe's is gone": Fault(without_first_rule("ingress-forward")),
    "a chain of another's in Steppe's table": Fault(
        own_chain("mine", "forward", "tcp dport 8080 reject")
    ),
    "a chain of Steppe's drops by its policy": Fault(
        nft("add chain inet steppe forward { policy drop; }")
    ),
    "Steppe's table is dormant": Fault(
        nft("add table inet steppe { flags dormant; }"), flow=DENIED
    ),
    "Steppe's table is gone": Fault(nft("delete table inet steppe"), flow=SERVED),
}


@pytest.fixture(scope="module")
def tunnel(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    pods = echo_pods(("node-a", "node-b"), 1)
    with make_labs(tmp_path_factory.mktemp("tunnel")) as make:
        lab = make("tunnel", "--nodes", "2", "--fabric", "vxlan", pods=pods)
        until(lambda: is_well(lab), 30, "the node is as it shall be")
        yield lab


def documented() -> dict[str, tuple[list[str], list[str]]]:
    """What the document says of each fault: the lines of audit, and those of explain."""
    rows = [line.split("|")[1:4] for line in DOCUMENT.read_text().splitlines() if "|" in line]
    return {
        fault.strip(): (re.findall("`(.*?)`", audited), re.findall("`(.*?)`", explained))
        for fault, audited, explained in rows[2:]
    }


def test_the_document_tells_of_these_faults() -> None:
    assert list(documented()) == list(FAULTS)


def says(output: str, line: str) -> bool:
    """Whether a line of the document, with … for anything, is in an output however wrapped."""
    pattern = ".{0,200}?".join(re.escape(part.strip()) for part in line.split("…"))
    return re.search(pattern, " ".join(output.split())) is not None


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    pods = echo_pods(("node-a", "node-b"), 1)
    for pod in pods:
        pod["metadata"]["labels"] = {"app": "echo"}
    with make_labs(tmp_path_factory.mktemp("faults")) as make:
        lab = make("faults", "--nodes", "2", pods=[*pods, SERVICE, POLICY])
        record = read_record(lab.name)
        processes = tuple(
            msgspec.structs.replace(each, argv=(*each.argv, "--repair", "off"))
            if each.name == "agent/node-a"
            else each
            for each in record.processes
        )
        write_record(msgspec.structs.replace(record, processes=processes))
        assert lab.steppe("restart", "agent/node-a").returncode == 0
        until(lambda: is_well(lab), 30, "the node is as it shall be")
        yield lab


def is_well(lab: Lab) -> bool:
    ready = "node-a  ready" in lab.command("status", "--node", "node-a").stdout
    return ready and lab.command("audit").returncode == 0


def mismatches(lab: Lab, *what: str) -> list[dict[str, Any]]:
    command = lab.command("verify", *what, "-o", "json")
    assert command.returncode in (0, 1), command.stderr
    return json.loads(command.stdout)["mismatches"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_what_is_behind_it(request: pytest.FixtureRequest, name: str) -> None:
    fault = FAULTS[name]
    lab: Lab = request.getfixturevalue(fault.lab)
    audited, explained = documented()[name]
    fault.make(lab)
    try:
        told = lab.command("audit", "--node", "node-a").stdout
        said = explanation(lab, fault)
        told += repaired(lab).stdout
    finally:
        if fault.unmake is not None:
            fault.unmake(lab)
    assert [line for line in audited if not says(told, line)] == [], told
    assert [line for line in explained if not says(said.stdout, line)] == [], said.stdout
    yes = re.match(r"\S+ reaches \S+ on TCP \d+(, by [^.]*)?\.", " ".join(said.stdout.split()))
    assert said.returncode == (0 if yes else 1), said.stdout
    until(lambda: repaired(lab).returncode == 0, 10, "all is well again")


def explanation(lab: Lab, fault: Fault) -> subprocess.CompletedProcess[str]:
    return lab.command("explain", *fault.flow, "--actual", "--plain")


def repaired(lab: Lab) -> subprocess.CompletedProcess[str]:
    return lab.command("audit", "--node", "node-a", "--repair")


def test_at_last_packets_of_all_protocols_do_what_they_should(lab: Lab) -> None:
    assert audit(lab, "node-a") == []
    assert mismatches(lab) == []
