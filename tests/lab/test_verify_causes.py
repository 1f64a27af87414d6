"""Verify groups what one cause stops, names the rule, and finds paths that lose large packets."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from steppe_lab.record import read_record, write_record
from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.lab.test_promises import cidr, on_node, pod_link
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "guard"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "echo"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "echo"}}}]}],
    },
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    """Two nodes with three pods each; on node-a the agent repairs nothing by itself."""
    pods = echo_pods(("node-a", "node-b"), 3)
    for pod in pods:
        pod["metadata"]["labels"] = {"app": "echo"}
    with make_labs(tmp_path_factory.mktemp("causes")) as make:
        lab = make("causes", "--nodes", "2", pods=[*pods, POLICY])
        record = read_record(lab.name)
        processes = tuple(
            msgspec.structs.replace(each, argv=(*each.argv, "--repair", "off"))
            if each.name == "agent/node-a"
            else each
            for each in record.processes
        )
        write_record(msgspec.structs.replace(record, processes=processes))
        assert lab.steppe("restart", "agent/node-a").returncode == 0
        until(lambda: lab.command("audit").returncode == 0, 30, "the node is as it shall be")
        yield lab


def verified(lab: Lab, *what: str) -> dict[str, Any]:
    command = lab.command("verify", *what, "-o", "json")
    assert command.returncode in (0, 1), command.stderr
    return json.loads(command.stdout)


def stops(document: dict[str, Any]) -> list[tuple[int, str]]:
    """Of each cause: how many packets it stops, and what it is."""
    return [
        (
            cause["packets"],
            "; ".join(
                f"{each['node']}: {each['text']} {' '.join(each['because'])}"
                for each in cause["stoppedBy"]
            ),
        )
        for cause in document["causes"]
    ]


def nft(lab: Lab, text: str) -> None:
    on_node(lab, "node-a", "nft", text)


def test_packets_that_one_policys_missing_entries_stop_are_one_line(lab: Lab) -> None:
    nft(lab, "flush map inet steppe ingress_allowed4")
    try:
        found = verified(lab, "--all", "--protocol", "tcp", "--port", "8080")
        printed = lab.command("verify", "--all", "--port", "8080").stdout
    finally:
        lab.command("audit", "--node", "node-a", "--repair")
    ((count, what),) = stops(found)
    # Each of node-a's three pods, from all others: the five of each but itself.
    assert count == 15
    why = "NetworkPolicy/default/guard spec.ingress[0]"
    assert what == f"node-a: @ingress_allowed4: not there {why}"
    assert {entry["desired"] for entry in found["causes"][0]["entries"]}
    (line,) = [line for line in printed.splitlines() if line.startswith("15 packets:")]
    assert line.endswith(f"@ingress_allowed4: not there, by {why}")
    assert len(printed.splitlines()) < 20, printed


def test_the_rule_of_another_program_that_drops_is_named(lab: Lab) -> None:
    nft(
        lab,
        "add table ip firewall; add chain ip firewall late "
        "{ type filter hook forward priority 50; }; add rule ip firewall late tcp dport 8080 drop",
    )
    try:
        found = verified(lab, "--all", "--protocol", "tcp", "--port", "8080")
    finally:
        nft(lab, "delete table ip firewall")
    ((count, what),) = stops(found)
    # Between the three pods of node-a; between them and node-b with its three, both ways.
    assert count == 6 + 2 * 3 * 4
    assert re.fullmatch(r"node-a: ip firewall late: tcp dport 8080 drop ", what)


def test_the_rule_that_drops_only_answers_is_named_too(lab: Lab) -> None:
    nft(
        lab,
        "add table ip firewall; add chain ip firewall late "
        "{ type filter hook forward priority 50; }; "
        "add rule ip firewall late tcp sport 8080 counter drop",
    )
    try:
        found = verified(lab, "--protocol", "tcp", "--port", "8080")
    finally:
        nft(lab, "delete table ip firewall")
    ((_, what),) = stops(found)
    assert what == "node-a: ip firewall late: tcp sport 8080 drop "


def test_what_no_rule_drops_is_told_with_what_others_have_there(lab: Lab) -> None:
    on_node(lab, "node-a", "ip", "rule", "add", "to", cidr(lab, "node-b"), "blackhole", "pref", "9")
    try:
        found = verified(lab, "--protocol", "udp", "--port", "7")
    finally:
        on_node(lab, "node-a", "ip", "rule", "del", "pref", "9")
    assert found["causes"]
    for _, what in stops(found):
        assert re.match(r"node-a: ip rule 9: from all to \S+ blackhole: packets from ", what), what


def to_it(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What other pods and node-b sent to the pod; node-a's own kernel knows the link's MTU."""
    sent = [each for each in found["mismatches"] if each["from"] != "node/node-a"]
    return [each for each in sent if each["to"] == "default/echo-a-0"]


def test_a_path_that_loses_large_packets_without_a_word_is_found(lab: Lab) -> None:
    """In both families: the link is narrower than the path should be, and nobody may say so."""
    link = pod_link(lab, "node-a", "echo-a-0")
    on_node(lab, "node-a", "ip", "link", "set", link, "mtu", "1280")
    nft(
        lab,
        "add table inet quiet; add chain inet quiet out { type filter hook output priority 0; }; "
        "add rule inet quiet out icmp type destination-unreachable drop; "
        "add rule inet quiet out icmpv6 type packet-too-big drop",
    )
    try:
        found = verified(lab, "--all", "--port", "7", "--protocol", "udp")
    finally:
        nft(lab, "delete table inet quiet")
        lab.command("audit", "--node", "node-a", "--repair")
    lost = to_it(found)
    assert {each["bytes"] for each in lost} == {1500}
    assert {"IPv6" if "fd" in each["packet"] else "IPv4" for each in lost} == {"IPv4", "IPv6"}
    assert all(each["did"].startswith("vanished") for each in lost)


def test_a_narrow_path_whose_senders_are_told_so_is_no_black_hole(lab: Lab) -> None:
    link = pod_link(lab, "node-a", "echo-a-0")
    on_node(lab, "node-a", "ip", "link", "set", link, "mtu", "1280")
    try:
        found = verified(lab, "--all", "--port", "7", "--protocol", "udp")
    finally:
        lab.command("audit", "--node", "node-a", "--repair")
    told = to_it(found)
    assert {each["bytes"] for each in told} == {1500}
    assert all("told that only 1280 bytes fit" in each["did"] for each in told)
    # What the pod itself sends, its own link takes: the node's end of it drops it without a word.
    vanished = [each for each in found["mismatches"] if each["from"] == "default/echo-a-0"]
    assert all(each["did"].startswith("vanished") for each in vanished)
    assert vanished
    assert [what.partition(" Pod/")[0] for _, what in stops(found)] == [
        "node-a: links: not as it should be"
    ]


@pytest.mark.parametrize(
    ("setting", "value"), [("net.ipv4.conf.all.rp_filter", "2"), ("net.ipv4.ip_forward", "1")]
)
def test_settings_that_stop_no_packet_are_no_cause(lab: Lab, setting: str, value: str) -> None:
    before = on_node(lab, "node-a", "sysctl", "-n", setting).strip()
    on_node(lab, "node-a", "sysctl", "-qw", f"{setting}={value}")
    try:
        done = lab.command("verify", "--port", "8080")
        audited = lab.command("audit", "--node", "node-a").stdout
    finally:
        on_node(lab, "node-a", "sysctl", "-qw", f"{setting}={before}")
    assert done.returncode == 0, done.stdout
    assert "all did what they should" in done.stdout
    assert setting.replace(".", "/") not in audited


def test_nothing_of_verify_stays_behind(lab: Lab) -> None:
    assert "steppe-verify" not in on_node(lab, "node-a", "nft", "list", "tables")
