"""What each chain of the table is there for: what is so where its rules are not met.

guard      what nobody honest sends is stopped: the way of an honest packet is the same without
policy     what policies forbid is stopped
service    Services are translated
leaving    senders are translated
"""

from typing import Literal

import msgspec

from steppe.dataplane.nft.edges import FROM_POD, FROM_TUNNEL, POD_ERRORS, TUNNELS, TUNNELS_FORWARDED
from steppe.dataplane.nft.policy_chains import ACCEPTED, denied, ports_chain
from steppe.dataplane.nft.service_chains import (
    REFUSE,
    TO_ENDPOINT,
    TO_LOCAL_ENDPOINT,
    service_chain,
)

For = Literal["guard", "policy", "service", "leaving"]


class Purpose(msgspec.Struct, frozen=True):
    """`without`: what is so without the chain's rules; {} stands for the node's name."""

    kind: For
    without: str


_UNTRANSLATED = "no Service is translated for {}"
_TUNNELLED = "tunnels' packets are taken from anybody, with anything inside"
_FORWARDED = "pods may send tunnels' packets through {}"
_ANSWERS = "what Services do not serve is not refused"
_EGRESS = "what egress policies forbid pods of {} goes out"
_INGRESS = "what ingress policies forbid comes in to pods of {}"

PURPOSES = {
    "edges": Purpose("guard", "pods of {} may send in others' names, and tunnels carry anything"),
    FROM_POD: Purpose("guard", "pods of {} may send in others' names, and as routers"),
    FROM_TUNNEL: Purpose("guard", "tunnels carry packets in anybody's name"),
    POD_ERRORS: Purpose("guard", "pods' errors about others' connections get past policies"),
    TUNNELS: Purpose("guard", _TUNNELLED),
    "arriving": Purpose("guard", _TUNNELLED),
    TUNNELS_FORWARDED: Purpose("guard", _FORWARDED),
    "forward": Purpose("guard", _FORWARDED),
    "prerouting": Purpose(
        "service", _UNTRANSLATED.format("what comes in to {} and for what its pods send")
    ),
    "output": Purpose("service", _UNTRANSLATED.format("what {} itself sends")),
    "services": Purpose("service", _UNTRANSLATED.format("any packet on {}")),
    TO_ENDPOINT: Purpose("service", _UNTRANSLATED.format("any packet on {}")),
    TO_LOCAL_ENDPOINT: Purpose("service", _UNTRANSLATED.format("what shall stay on {}")),
    REFUSE: Purpose("service", _ANSWERS),
    "postrouting": Purpose(
        "leaving",
        "what leaves {} by a Service, or pods for outside, keeps its sender's address: answers do "
        "not come back",
    ),
    "egress-forward": Purpose("policy", _EGRESS),
    "egress-input": Purpose("policy", "what egress policies forbid reaches {} itself"),
    "ingress-forward": Purpose("policy", _INGRESS),
    ACCEPTED: Purpose("policy", "what policies allow on {} keeps a mark of theirs"),
    **{f"egress{version}": Purpose("policy", _EGRESS) for version in (4, 6)},
    **{f"ingress{version}": Purpose("policy", _INGRESS) for version in (4, 6)},
    denied("egress"): Purpose("policy", _EGRESS),
    denied("ingress"): Purpose("policy", _INGRESS),
}


def purpose(name: str) -> Purpose | None:
    """What the chain of this name is for; None for one that is not Steppe's."""
    if name in PURPOSES:
        return PURPOSES[name]
    if service_chain(name) is not None:
        return PURPOSES["services"]
    if ports_chain(name) is not None:
        return PURPOSES["egress4" if name.startswith("egress") else "ingress4"]
    return None
