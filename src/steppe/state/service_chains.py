"""The chains that Services' verdict maps lead to: a chain a number of endpoints, not a Service.

A chain's name is all there is to it. With N and M numbers of endpoints:

    spread-N           to one of N; the sender keeps its address if it is a pod of this node
    spread-masq-N      to one of N; the sender's address becomes the node's
    spread-N-local-M   senders elsewhere: to one of M on this node, address kept (0: dropped);
                       this node and its pods: spread-N
    local-M            to one of M on this node, address kept
    guarded-CHAIN      CHAIN, for admitted senders only
"""

import re
from typing import Literal

from steppe.state.nft import Chain, Choose, Dnat, Go, Match, Rule, SetMark

MASQUERADE = 0x00100000
"""The bit of a packet's mark that asks postrouting to masquerade it. kube-proxy has 0x4000 and
0x8000, Calico's default mask is 0xffff0000 from the top down; it lives for one packet's way."""

DROP = "drop"
REFUSE = "refuse"
TO_ENDPOINT = "to-endpoint"
TO_LOCAL_ENDPOINT = "to-local-endpoint"
FAMILIES: tuple[tuple[Literal[4, 6], Literal["ip", "ip6"], str], ...] = (
    (4, "ip", "ipv4_addr"),
    (6, "ip6", "ipv6_addr"),
)

_SPREAD = re.compile(r"spread-(masq-)?([1-9][0-9]{0,4})")
_SPREAD_LOCAL = re.compile(r"(spread-[1-9][0-9]{0,4})-local-(0|[1-9][0-9]{0,4})")
_LOCAL = re.compile(r"local-([1-9][0-9]{0,4})")
_GUARDED = "guarded-"


def spread(choices: int, *, masquerade: bool = False) -> str:
    return f"spread-masq-{choices}" if masquerade else f"spread-{choices}"


def spread_local(choices: int, local: int) -> str:
    return f"{spread(choices)}-local-{local}"


def guarded(chain: str) -> str:
    """The same for admitted senders only; dropping needs no guard."""
    return chain if chain == DROP else _GUARDED + chain


def frontend(protocol: str) -> str:
    """The fields that say which Service's port a packet is sent to."""
    return f"{protocol} daddr . meta l4proto . th dport"


def service_chain(name: str) -> Chain | None:
    """The chain of this name; None if the name is none of a Service chain."""
    if name.startswith(_GUARDED):
        return _guarded(name)
    if found := _SPREAD.fullmatch(name):
        return _spread(name, int(found[2]), always=bool(found[1]))
    if found := _SPREAD_LOCAL.fullmatch(name):
        return _spread_local(name, found[1], int(found[2]))
    if found := _LOCAL.fullmatch(name):
        return Chain(name, _choice(int(found[1]), TO_LOCAL_ENDPOINT))
    return None


def _spread(name: str, choices: int, *, always: bool) -> Chain:
    masquerade = [Rule((), SetMark(MASQUERADE))] if always else list(_unless_local_pod())
    return Chain(name, (*masquerade, *_choice(choices, TO_ENDPOINT)))


def _unless_local_pod() -> tuple[Rule, ...]:
    return tuple(
        Rule(
            (Match(f"{protocol} saddr", set=f"local_pods{version}", negate=True),),
            SetMark(MASQUERADE),
        )
        for version, protocol, _ in FAMILIES
    )


def _choice(choices: int, then: str) -> tuple[Rule, ...]:
    return Rule((), Choose(choices)), Rule((), Go("goto", then))


def to_endpoint(name: str, endpoints: str) -> Chain:
    """The fixed chain that makes the chosen endpoint the destination.

    What finds none must not go on to the Service's own address, so it is dropped.
    """
    chosen = (
        Rule((), Dnat(protocol, f"{frontend(protocol)} . meta priority", f"{endpoints}{version}"))
        for version, protocol, _ in FAMILIES
    )
    return Chain(name, (*chosen, Rule((), "drop", "no such endpoint any more")))


def _spread_local(name: str, inside: str, local: int) -> Chain:
    # Whoever is neither a pod of this node nor the node itself has come from elsewhere.
    elsewhere = (
        Rule(
            (
                Match(f"{protocol} saddr", set=f"local_pods{version}", negate=True),
                Match("fib saddr type", literal="local", negate=True),
            ),
            Go("goto", f"local-{local}") if local else "drop",
        )
        for version, protocol, _ in FAMILIES
    )
    return Chain(name, (*elsewhere, Rule((), Go("goto", inside))))


def _guarded(name: str) -> Chain | None:
    inner = name.removeprefix(_GUARDED)
    if inner != REFUSE and (inner.startswith(_GUARDED) or service_chain(inner) is None):
        return None
    guards = (
        Rule(
            (
                Match(
                    f"{protocol} saddr . {frontend(protocol)}",
                    set=f"admitted{version}",
                    negate=True,
                ),
            ),
            "drop",
        )
        for version, protocol, _ in FAMILIES
    )
    return Chain(name, (*guards, Rule((), Go("goto", inner))))
