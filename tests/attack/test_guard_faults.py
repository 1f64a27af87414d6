"""Faults of the edges' guards, each made in a lab and told as docs/faults.md says."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from steppe_lab.record import read_record, write_record
from tests.lab.conftest import Lab, echo_pods, make_labs
from tests.lab.test_faults import says
from tests.lab.test_promises import pod_ips, pod_link
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
TITLE = "## Guards of a node's edges"
FLOW = ("echo-b-0", "echo-a-0", "--port", "8080", "--actual", "--plain")

Words = tuple[str, ...]


def nft(command: str) -> Callable[[str, str], Words]:
    """A change of the table, in which IP stands for the pod's address."""
    return lambda _, ip: ("nft", command.replace("IP", ip))


FAULTS: dict[str, Callable[[str, str], Words]] = {
    "a pod's link has lost its group": lambda link, _: (
        *("ip", "link", "set", link, "group", "default"),
    ),
    "ARP is answered on a pod's link": lambda link, _: (
        *("sysctl", "-qw", f"net.ipv4.conf.{link}.arp_ignore=0"),
    ),
    "a pod may not tell of errors": nft("delete element inet steppe own4 { IP . IP }"),
    "a node is not known as a sender of tunnels": nft(
        "delete element inet steppe tunnel_from4 { 192.0.2.12 }"
    ),
    "a node's pods are not known behind its tunnel": nft("flush set inet steppe tunnel_inner4"),
    "the tunnels' port is not guarded": nft("delete element inet steppe tunnel_udp { 4789 }"),
    "the edges' chain is empty": nft("flush chain inet steppe edges"),
    "another's rule lets all in from pods": nft("insert rule inet steppe from-pod accept"),
}


def documented() -> dict[str, tuple[list[str], list[str]]]:
    """What the document says of each fault: the lines of audit, and those of explain."""
    section = DOCUMENT.read_text().partition(TITLE)[2].partition("\n## ")[0]
    found = {}
    for row in re.findall(r"^- (.*)$", section, re.MULTILINE):
        fault, _, told = row.partition(": ")
        audited, _, explained = told.partition(" — ")
        found[fault] = re.findall("`(.*?)`", audited), re.findall("`(.*?)`", explained)
    return found


def test_the_document_tells_of_these_faults() -> None:
    assert list(documented()) == list(FAULTS)
    assert all(audited and explained for audited, explained in documented().values())


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Lab]:
    with make_labs(tmp_path_factory.mktemp("guards")) as make:
        pods = echo_pods(("node-a", "node-b"), 1)
        lab = make("guards", "--nodes", "2", "--fabric", "vxlan", pods=pods)
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
    return lab.command("audit", "--node", "node-a").returncode == 0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_guard_is_named_with_the_object_behind_it(lab: Lab, name: str) -> None:
    audited, explained = documented()[name]
    link, address = pod_link(lab, "node-a", "echo-a-0"), pod_ips(lab, "echo-a-0")[0]
    made = lab.steppe("exec", "node/node-a", "--", *FAULTS[name](link, address))
    assert made.returncode == 0, made.stderr
    told = lab.command("audit", "--node", "node-a").stdout
    path = lab.command("explain", *FLOW).stdout
    lab.command("audit", "--node", "node-a", "--repair")
    assert [line for line in audited if not says(told, line)] == [], told
    assert [line for line in explained if not says(path, line)] == [], path
    until(lambda: is_well(lab), 10, "all is well again")
