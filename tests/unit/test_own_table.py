"""What is told of Steppe's own table where somebody has changed it."""

import pytest

from steppe.dataplane.nft.purposes import PURPOSES, purpose
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.findings.finding import OWN_TABLE, finding_document, finding_from
from steppe.findings.known import Known
from steppe.findings.registry import findings
from steppe.net.packet import Packet
from steppe.state.surroundings import Altered, Matching, PacketRule, Surroundings
from steppe.state.workload import workload_of
from tests.worlds import node_at, pod_on

NODES = [node_at(0), node_at(1)]
POD, PEER = pod_on(NODES[0], 1), pod_on(NODES[1], 1)
WORKLOAD = workload_of(POD)
assert WORKLOAD is not None
KNOWN = Known(here=NODES[0], peers=(NODES[1],), pods=(WORKLOAD,), mark=0x100000)
A, B = POD.addresses[0], PEER.addresses[0]
TO_POD = Packet(B, A, "TCP", 40000, 8080)
TO_SERVICE = Packet(A, NODES[1].addresses[0], "TCP", 40000, 30080)
WEB = Matching(protocol="tcp", ports=((8080, 8080),))


def added(chain: str, text: str, does: str, of: Matching) -> Altered:
    rule = PacketRule(f"inet steppe {chain}", "forward", text, does, of)
    return Altered("added", chain, text, rules=(rule,))


CLOSES, OPENS, NEITHER, BOTH = (True, False), (False, True), (False, False), (True, True)
"""Whether it makes a yes doubtful, and whether a no of policies, for a packet to a pod."""
ENTRY_OF_TWO = (
    "inet steppe ingress-forward: not there: ct state established accept and 1 more of its rules"
)
EFFECT_OF_ACCEPT = (
    "takes what goes through this node (so also pods of node-a) past the rest of this chain: what "
    "ingress policies forbid comes in to pods of node-a"
)
TABLE: dict[str, tuple[Altered, str, str, tuple[bool, bool]]] = {
    "no table": (
        Altered("gone"),
        "table inet steppe: not there",
        "no packet meets Steppe's rules: no Service is translated, no policy is asked",
        BOTH,
    ),
    "a dormant table": (
        Altered("asleep"),
        "table inet steppe { flags dormant; }",
        "no packet meets Steppe's rules",
        BOTH,
    ),
    "a drop": (
        added("forward", "tcp dport 8080 drop", "drop", WEB),
        "inet steppe forward (hook forward): tcp dport 8080 drop",
        "drops what goes through this node on TCP port 8080 (so also pods of node-a)",
        CLOSES,
    ),
    "an accept before policies": (
        added("ingress-forward", "accept", "accept", Matching()),
        "inet steppe ingress-forward (hook forward): accept",
        EFFECT_OF_ACCEPT,
        OPENS,
    ),
    "an accept before a guard": (
        added("from-pod", "accept", "accept", Matching()),
        "inet steppe from-pod (hook forward): accept",
        "past the rest of this chain: pods of node-a may send in others' names",
        NEITHER,
    ),
    "no rule of a policy chain": (
        Altered("missing", "ingress4", "meta priority set none", 7, whole=True),
        "inet steppe ingress4: none of its rules is there",
        "what ingress policies forbid comes in to pods of node-a",
        OPENS,
    ),
    "some rules of a policy chain": (
        Altered("missing", "ingress-forward", "ct state established accept", 2),
        ENTRY_OF_TWO,
        "policies of node-a's pods may let through what they forbid, and stop what they allow",
        BOTH,
    ),
    "no guard": (
        Altered("missing", "edges", "", 3, whole=True),
        "inet steppe edges: none of its rules is there",
        "pods of node-a may send in others' names, and tunnels carry anything",
        NEITHER,
    ),
    "no Services": (
        Altered("missing", "services", "", 6, whole=True),
        "inet steppe services: none of its rules is there",
        "no Service is translated for any packet on node-a",
        NEITHER,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_change_is_told_with_what_it_does_and_to_which_flows(name: str) -> None:
    altered, entry, effect, concerned = TABLE[name]
    (found,) = findings(Surroundings(altered=(altered,)), KNOWN)
    assert (found.kind, found.entry) == (OWN_TABLE, entry)
    assert effect in found.effect
    touched = found.concerns(TO_POD)
    assert (touched and not found.walked, touched and found.opens) == concerned
    assert finding_from(finding_document(found)) == found


def test_without_services_what_goes_to_one_does_not_arrive_and_what_goes_to_a_pod_does() -> None:
    (found,) = findings(Surroundings(altered=(TABLE["no Services"][0],)), KNOWN)
    assert found.sure
    assert found.concerns(TO_SERVICE)
    assert not found.concerns(TO_POD)
    assert not found.concerns(TO_POD.answer)


LED_TO = (
    "spread-3",
    "spread-local-1-3",
    "local-2",
    "ingress-allow-tcp-80",
    "egress-allow",
)


def test_every_chain_of_the_table_has_its_purpose_and_no_other_has() -> None:
    fixed = {chain.name for chain in SKELETON.chains}
    assert fixed == PURPOSES.keys()
    led = [name for name in LED_TO if SKELETON.chain(name) is not None]
    assert len(led) > 2
    assert None not in map(purpose, led)
    assert purpose("mine") is None


def test_a_finding_of_an_agent_of_an_earlier_version_is_read() -> None:
    (found,) = findings(Surroundings(altered=(TABLE["a drop"][0],)), KNOWN)
    document = finding_document(found)
    del document["opens"]
    for flow in document["affects"]:
        del flow["beside"]
    assert finding_from(document) == found
