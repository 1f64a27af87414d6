"""Blocks of claims settle into entries, and their number and Problems are kept as they do."""

from collections import Counter
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.compile.owners import GuardOwner, LinkOwner, Owner
from steppe.compile.tables import Tables
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.net.address import parse_interface
from steppe.state.claim import Claim
from steppe.state.link import Address, AddressKey
from steppe.state.nft import Element, ElementKey
from steppe.state.node import Key, NodeClaim, settle

KEYS: tuple[Key, ...] = (
    ElementKey("endpoint4", (ip_address("10.0.0.1"), 0)),
    ElementKey("endpoint4", (ip_address("10.0.0.1"), 1)),
    ElementKey("endpoint6", (ip_address("fd00::1"), 0)),
    AddressKey("eth0", parse_interface("10.0.0.1/24")),
)
OWNERS: tuple[Owner, ...] = (
    ObjectRef("Service", "", "a"),
    LinkOwner("a"),
    GuardOwner("ingress", "a"),
)
A = OWNERS[0]


def claim(key: Key, number: int, owner: str) -> NodeClaim:
    value = Element((number,)) if isinstance(key, ElementKey) else Address()
    return Claim(key, value, Cause(ObjectRef("Service", "", owner), str(number)))


numbers = st.integers(0, 1)
claims = st.builds(claim, st.sampled_from(KEYS), numbers, st.sampled_from("abc"))
problems = st.builds(
    Problem, st.builds(Cause, st.just(ObjectRef("Service", "", "a"))), st.sampled_from("xy")
)
blocks = st.lists(st.one_of(claims, problems), max_size=8)
histories = st.lists(st.tuples(st.sampled_from(OWNERS), blocks), max_size=12)


@given(histories)
def test_any_history_of_blocks_leaves_what_the_last_blocks_settle_into(
    history: list[tuple[Owner, list[NodeClaim | Problem]]],
) -> None:
    tables, last = Tables(), dict[Owner, list[NodeClaim | Problem]]()
    for owner, block in history:
        before = dict(tables.state)
        touched = tables.replace(owner, block)
        last[owner] = block
        state, found = settle(item for block in last.values() for item in block)
        assert tables.state == state
        assert dict(tables.state.items()) == state
        assert {*tables.state} == state.keys()
        assert tables.problems == found
        assert len(tables.state) == len(state)
        counts = tables.state.counts()
        assert {t: n for t, n in counts.items() if n} == Counter(key.table for key in state)
        assert touched >= {k for k in KEYS if before.get(k) != state.get(k)}
        wanted = {i.key for i in block if not isinstance(i, Problem)}
        assert {*tables.keys(owner)} == wanted


def test_what_is_not_there_is_not_found() -> None:
    tables = Tables()
    tables.replace(A, [claim(KEYS[0], 1, "a")])
    assert KEYS[0] in tables.state
    assert KEYS[1] not in tables.state
    assert tables.state.get(KEYS[1]) is None
    with pytest.raises(KeyError):
        tables.state[KEYS[1]]


def test_a_copy_of_some_parts_stays_as_it_was() -> None:
    tables = Tables()
    tables.replace(A, [claim(key, 1, "a") for key in KEYS])
    copy = tables.state.only("endpoint4".__eq__)
    tables.replace(A, [])
    assert {*copy} == {*KEYS[:2]}
    assert len(tables.state) == 0


def test_iterating_survives_changes_meanwhile() -> None:
    tables = Tables()
    tables.replace(A, [claim(key, 1, "a") for key in KEYS])
    seen = []
    for key, entry in tables.state.items():
        seen.append((key, entry.value))
        tables.replace(A, [])
    assert seen[:2] == [(key, Element((1,))) for key in KEYS[:2]]
