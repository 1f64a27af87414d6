"""The chains that Services' verdict maps lead to: one chain for each number of backends, not for a
Service.

The name of a chain determines its rules. N and M are numbers of backends:

        spread-N           to one of N; a sender that is a pod of this node keeps its address
        spread-masq-N      to one of N; the source becomes the node's address spread-N-local-M
        senders from elsewhere: to one of M on this node, source kept (0: dropped);
                           this node and its pods: as spread-N
        local-M            to one of M on this node, source kept
        guarded-CHAIN      CHAIN, but only for senders in loadBalancerSourceRanges (@admitted4)

    With `-for-T` at the end, a sender gets the same backend for T seconds (session affinity). Its
    backend's id is stored in a map:

        spread-3-for-60    a sender with an id jumps to again-60; a new sender chooses an id first
        again-60           store the id for 60 s more; go to its backend, if it still exists
        again-local-60     the same among this node's own backends
        remember-60        store the id in the packet's priority for the sender, for 60 s
        forget             delete the sender's id
"""

import re
from collections.abc import Iterable
from typing import Literal

from steppe.dataplane.nft.declared import Choices
from steppe.dataplane.nft.sets import (
    ADMITTED,
    AFFINITY,
    LOCAL_PODS,
    STICKY_ENDPOINT,
    STICKY_ID,
    STICKY_LOCAL_ENDPOINT,
    STICKY_LOCAL_ID,
)
from steppe.state.nft import (
    Chain,
    Choose,
    Clear,
    Dnat,
    Forget,
    Go,
    Match,
    Recall,
    Remember,
    Rule,
    SetMark,
)

MASQUERADE = 0x00100000
"""The bit of a packet's mark that makes postrouting masquerade the packet. kube-proxy uses 0x4000
and 0x8000, Calico's default mask is 0xffff0000 from the top down."""

DROP = "drop"
REFUSE = "refuse"
TO_ENDPOINT = "to-endpoint"
TO_LOCAL_ENDPOINT = "to-local-endpoint"
FAMILIES: tuple[tuple[Literal[4, 6], Literal["ip", "ip6"]], ...] = ((4, "ip"), (6, "ip6"))

_NUMBER = "([1-9][0-9]{0,4})"
_FOR = "(?:-for-([1-9][0-9]{0,5}))?"
_SPREAD = re.compile(f"spread-(masq-)?{_NUMBER}{_FOR}")
_SPREAD_LOCAL = re.compile(f"spread-{_NUMBER}-local-(0|{_NUMBER}){_FOR}")
_LOCAL = re.compile(f"local-{_NUMBER}{_FOR}")
_REMEMBER = re.compile("remember-([1-9][0-9]{0,5})")
_FORGET = "forget"
_AGAIN = re.compile(r"again-(local-)?([1-9][0-9]{0,5})")
_ADMITTED_ONLY = "guarded-"


def spread(choices: int, *, masquerade: bool = False, seconds: int = 0) -> str:
    return f"spread-{'masq-' if masquerade else ''}{choices}{_for(seconds)}"


def spread_local(choices: int, local: int, seconds: int = 0) -> str:
    return f"spread-{choices}-local-{local}{_for(seconds)}"


def _for(seconds: int) -> str:
    return f"-for-{seconds}" if seconds else ""


def only_admitted(chain: str) -> str:
    """The chain that does the same only for senders in the source ranges; `drop` stays `drop`."""
    return chain if chain == DROP else _ADMITTED_ONLY + chain


def frontend(protocol: str) -> str:
    """The packet's fields that are the key of a frontend."""
    return f"{protocol} daddr . meta l4proto . th dport"


def service_chain(name: str) -> Chain | None:
    """The chain of this name; None if it is not the name of a Service chain."""
    if name.startswith(_ADMITTED_ONLY):
        return _only_admitted(name)
    if found := _SPREAD.fullmatch(name):
        masquerade = (Rule((), SetMark(MASQUERADE)),) if found[1] else _unless_local_pod()
        return Chain(name, (*masquerade, *_choice(int(found[2]), int(found[3] or 0))))
    if found := _SPREAD_LOCAL.fullmatch(name):
        return _spread_local(name, int(found[1]), int(found[2]), int(found[4] or 0))
    if found := _LOCAL.fullmatch(name):
        return Chain(name, _choice(int(found[1]), int(found[2] or 0), local=True))
    return _sticky_chain(name)


def _sticky_chain(name: str) -> Chain | None:
    rules: Iterable[Rule]
    if found := _AGAIN.fullmatch(name):
        return _again(name, int(found[2]), local=bool(found[1]))
    if found := _REMEMBER.fullmatch(name):
        held = int(found[1])
        rules = (Rule((), Remember(_sender(p), AFFINITY.name(v), held)) for v, p in FAMILIES)
    elif name == _FORGET:
        rules = (Rule((), Forget(_sender(p), AFFINITY.name(v))) for v, p in FAMILIES)
    else:
        return None
    return Chain(name, tuple(rules))


def _unless_local_pod() -> tuple[Rule, ...]:
    return tuple(
        Rule(
            (Match(f"{protocol} saddr", set=LOCAL_PODS.name(version), negate=True),),
            SetMark(MASQUERADE),
        )
        for version, protocol in FAMILIES
    )


def _choice(choices: int, seconds: int, *, local: bool = False) -> tuple[Rule, ...]:
    if seconds:
        return _sticky_choice(choices, seconds, local=local)
    then = TO_LOCAL_ENDPOINT if local else TO_ENDPOINT
    return Rule((), Choose(choices)), Rule((), Go("goto", then))


def _sticky_choice(choices: int, seconds: int, *, local: bool) -> tuple[Rule, ...]:
    ids = STICKY_LOCAL_ID if local else STICKY_ID
    again = Go("jump", f"again-{'local-' if local else ''}{seconds}")
    return (
        Rule((), Clear()),
        *(Rule((), Recall(_sender(p), AFFINITY.name(v))) for v, p in FAMILIES),
        Rule((Match("meta priority", literal="none", negate=True),), again),
        Rule((), Choose(choices)),
        *(Rule((), Recall(f"{frontend(p)} . meta priority", ids.name(v))) for v, p in FAMILIES),
        Rule((), again),
        Rule((), "drop", "no such endpoint any more"),
    )


def _again(name: str, seconds: int, *, local: bool) -> Chain:
    endpoints = STICKY_LOCAL_ENDPOINT if local else STICKY_ENDPOINT
    return Chain(
        name,
        (
            Rule((), Go("jump", f"remember-{seconds}")),
            *(
                Rule((), Dnat(p, f"{frontend(p)} . meta priority", endpoints.name(v)))
                for v, p in FAMILIES
            ),
            # The backend no longer exists: delete the id, since an update would keep it.
            Rule((), Go("jump", _FORGET)),
        ),
    )


def _sender(protocol: str) -> str:
    return f"{protocol} saddr . {frontend(protocol)}"


def to_endpoint(name: str, endpoints: Choices) -> Chain:
    """The fixed chain that translates the destination to the chosen backend.

    A packet without a backend must not go on to the Service's address, so it is dropped.
    """
    chosen = (
        Rule((), Dnat(protocol, f"{frontend(protocol)} . meta priority", endpoints.name(version)))
        for version, protocol in FAMILIES
    )
    return Chain(name, (*chosen, Rule((), "drop", "no such endpoint any more")))


def _spread_local(name: str, choices: int, local: int, seconds: int) -> Chain:
    # A sender that is neither a pod of this node nor the node itself is elsewhere.
    elsewhere = (
        Rule(
            (
                Match(f"{protocol} saddr", set=LOCAL_PODS.name(version), negate=True),
                Match("fib saddr type", literal="local", negate=True),
            ),
            Go("goto", f"local-{local}{_for(seconds)}") if local else "drop",
        )
        for version, protocol in FAMILIES
    )
    return Chain(name, (*elsewhere, Rule((), Go("goto", spread(choices, seconds=seconds)))))


def _only_admitted(name: str) -> Chain | None:
    inner = name.removeprefix(_ADMITTED_ONLY)
    if inner != REFUSE and (inner.startswith(_ADMITTED_ONLY) or service_chain(inner) is None):
        return None
    admission = (
        Rule(
            (Match(_admission(protocol), set=ADMITTED.name(version), negate=True),),
            "drop",
        )
        for version, protocol in FAMILIES
    )
    return Chain(name, (*admission, Rule((), Go("goto", inner))))


def _admission(protocol: str) -> str:
    """The fields of sender and frontend, with the protocol from the IP header.

    nft 1.0.6 puts a byte swap on `meta l4proto` in front of an interval look-up, which kernels such
    as Debian's 6.12 refuse ("Operation not supported"), although swapping one byte does nothing.
    """
    transport = {"ip": "ip protocol", "ip6": "ip6 nexthdr"}[protocol]
    return f"{protocol} saddr . {protocol} daddr . {transport} . th dport"
