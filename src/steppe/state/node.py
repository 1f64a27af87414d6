"""All tables of one node, as one mapping from typed keys to entries.

The class of a key has the name of its table (`table`), a `level` (an entry needs only entries of
lower levels), and says which links its entry is on, given its value (`links`). So diff, plan and
audit need no knowledge of single tables; only drivers, which write entries to the kernel, and the
walker, which reads them, have it.
"""

from collections.abc import Iterable, Mapping
from typing import get_args

from steppe.kube.cause import Cause, Problem
from steppe.state.claim import Claim, Entry, settle_key
from steppe.state.link import (
    Address,
    AddressKey,
    Forwarding,
    ForwardingKey,
    Link,
    LinkKey,
    Neighbour,
    NeighbourKey,
)
from steppe.state.nft import Element, ElementKey
from steppe.state.route import Route, RouteKey, Rule, RuleKey
from steppe.state.sysctl import Sysctl, SysctlKey

Key = (
    LinkKey
    | AddressKey
    | RouteKey
    | RuleKey
    | NeighbourKey
    | ForwardingKey
    | SysctlKey
    | ElementKey
)
Value = Link | Address | Route | Rule | Neighbour | Forwarding | Sysctl | Element

NodeClaim = Claim[Key, Value]
NodeEntry = Entry[Key, Value]
NodeState = Mapping[Key, NodeEntry]

TABLES: tuple[str, ...] = tuple(key.table for key in get_args(Key))


def settle(claims: Iterable[NodeClaim | Problem]) -> tuple[NodeState, tuple[Problem, ...]]:
    """The tables made of these claims, and all Problems: those given and those of conflicts."""
    state: dict[Key, NodeEntry] = {}
    alone: dict[Key, NodeClaim] = {}
    shared: dict[Key, list[NodeClaim]] = {}
    problems: dict[Problem, None] = {}
    for claim in claims:
        if isinstance(claim, Problem):
            problems[claim] = None
            continue
        first = alone.setdefault(claim.key, claim)
        if first is claim:  # as of nearly all
            state[claim.key] = Entry(claim.value, (claim.cause,))
        else:
            shared.setdefault(claim.key, [first]).append(claim)
    for key, group in shared.items():
        state[key], found = settle_key(group)
        problems.update(dict.fromkeys(found))
    return state, tuple(sorted(problems))


def values(state: NodeState) -> dict[Key, Value]:
    """The tables without causes: the values that a kernel has and a diff compares."""
    return {key: entry.value for key, entry in state.items()}


def causes(state: NodeState) -> set[Cause]:
    """Every cause that any entry names."""
    return {cause for entry in state.values() for cause in entry.because}
