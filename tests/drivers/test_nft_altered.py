"""What others have changed in Steppe's own table, as audit and explain are told of it."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.altered import alterations
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.nftables.expected import Expected
from steppe.plan.diff import Change
from steppe.state.document import surroundings_document, surroundings_from
from steppe.state.nft import Element, ElementKey
from steppe.state.surroundings import Altered, Matching, PacketRule, Surroundings
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

EXPECTED = Expected(SKELETON)
LED = "ingress-allow-tcp-80"


def added(chain: str, hook: str, text: str, does: str, of: Matching) -> Altered:
    rule = PacketRule(f"inet steppe {chain}", hook, text, does, of)
    return Altered("added", chain, text, rules=(rule,))


def past_services(text: str) -> Altered:
    where = "inet steppe services"
    ways = (
        PacketRule(where, hook, text, "accept", Matching()) for hook in ("prerouting", "output")
    )
    return Altered("added", "services", text, rules=tuple(ways))


WEB = Matching(protocol="tcp", ports=((8080, 8080),))
PARTIAL = Matching(partial=True)
ESTABLISHED = "ct state established accept"
FIRST_OF_SERVICES = str(next(c for c in SKELETON.chains if c.name == "services").rules[0])
CHANGES: dict[str, tuple[Altered, ...]] = {
    "insert rule inet steppe forward tcp dport 8080 drop": (
        added("forward", "forward", "tcp dport 8080 drop", "drop", WEB),
    ),
    "insert rule inet steppe ingress-forward accept": (
        added("ingress-forward", "forward", "accept", "accept", Matching()),
    ),
    "insert rule inet steppe services return": (past_services("return"),),
    f"insert rule inet steppe {LED} drop": (added(LED, "any", "drop", "drop", PARTIAL),),
    "flush chain inet steppe egress-input": (
        Altered("missing", "egress-input", ESTABLISHED, 6, whole=True),
    ),
    "flush chain inet steppe services; add rule inet steppe services accept": (
        Altered("missing", "services", FIRST_OF_SERVICES, 6, whole=True),
        past_services("accept"),
    ),
    "add chain inet steppe forward { policy drop; }": (
        added("forward", "forward", "policy drop", "drop", PARTIAL),
    ),
    "add chain inet steppe mine { type filter hook input priority 5; }; "
    "add rule inet steppe mine tcp dport 8080 reject": (
        added("mine", "input", "tcp dport 8080 reject", "reject", WEB),
    ),
    "add table inet steppe { flags dormant; }": (Altered("asleep"),),
    "delete table inet steppe": (Altered("gone"),),
    # These do nothing to packets: the differences name them.
    "add chain inet steppe nobody-gets-here; add rule inet steppe nobody-gets-here counter": (),
    "insert rule inet steppe forward counter": (),
    "add set inet steppe mine { type ipv4_addr; }": (),
}


@pytest.fixture
def nft(node: Namespace) -> Iterator[Nft]:
    with call_in(node.fd, lambda: Nft(SKELETON, EXPECTED)) as made:
        assert made.ensure()
        key = ElementKey("ingress_anyone4", (ip_address("10.244.1.5"),))
        assert made.apply([Change(key, None, Element((LED,)))]) == ()
        yield made


def seen(node: Namespace) -> tuple[Altered, ...]:
    return call_in(node.fd, lambda: alterations(EXPECTED))


@pytest.mark.parametrize("command", CHANGES)
@pytest.mark.usefixtures("nft")
def test_what_is_changed_by_hand_is_told_with_what_it_does(node: Namespace, command: str) -> None:
    assert seen(node) == ()
    node.run("nft", command)
    assert seen(node) == CHANGES[command]


@pytest.mark.usefixtures("nft")
def test_one_rule_that_is_gone_is_told_by_its_text(node: Namespace) -> None:
    listed = node.run("nft", "-a", "list", "chain", "inet", "steppe", "ingress-forward")
    (handle,) = [line.rpartition(" ")[2] for line in listed.splitlines() if ESTABLISHED in line]
    node.run("nft", f"delete rule inet steppe ingress-forward handle {handle}")
    found = seen(node)
    assert found == (Altered("missing", "ingress-forward", ESTABLISHED, 1),)
    around = Surroundings(altered=found)
    assert surroundings_from(surroundings_document(around)) == around


def test_after_a_repair_there_is_nothing_to_tell(node: Namespace, nft: Nft) -> None:
    node.run("nft", "insert rule inet steppe forward drop; flush chain inet steppe edges")
    assert len(seen(node)) == 2
    assert nft.ensure()
    assert seen(node) == ()
