import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.controller.prefixes import (
    EXHAUSTED,
    FAMILY_MISSING,
    INVALID,
    OVERLAP,
    Node,
    Range,
    free_prefixes,
    plan,
)

V4 = Range(ipaddress.ip_network("10.0.0.0/24"), 28)
V6 = Range(ipaddress.ip_network("fd00::/60"), 64)
DUAL = (V4, V6)


def node(name: str, *cidrs: str, created: str = "") -> Node:
    return Node(name, f"uid-{name}", created, cidrs)


# Prefixes inside, around and beside the ranges, aligned to nothing in particular.
foreign4 = st.builds(
    lambda base, length: str(ipaddress.ip_network((0x0A000000 + base, length), strict=False)),
    st.integers(-64, 320),
    st.integers(22, 32),
)
foreign6 = st.builds(
    lambda base, length: str(
        ipaddress.ip_network(((0xFD << 120) + (base << 60), length), strict=False)
    ),
    st.integers(0, 300),
    st.integers(58, 72),
)
cidrs = st.one_of(
    st.just(()),
    st.tuples(foreign4),
    st.tuples(foreign4, foreign6),
    st.tuples(st.sampled_from(["nonsense", "10.0.0.300/24", ""])),
)
clusters = st.lists(cidrs, max_size=24).map(
    lambda held: [node(f"n{i:02}", *c, created=str(i % 5)) for i, c in enumerate(held)]
)
range_sets = st.sampled_from([DUAL, (V4,), (V6,), ()])


@given(clusters, range_sets)
def test_what_is_given_out_is_of_the_range_and_overlaps_nothing(
    nodes: list[Node], ranges: tuple[Range, ...]
) -> None:
    planned = plan(nodes, ranges)
    held = [
        ipaddress.ip_network(text, strict=False)
        for n in nodes
        for text in n.pod_cidrs
        if "/" in text and "300" not in text
    ]
    for prefixes in planned.assign.values():
        assert [(p.version, p.prefixlen) for p in prefixes] == [
            (r.version, r.length) for r in ranges
        ]
        for prefix, range_ in zip(prefixes, ranges, strict=True):
            assert prefix.subnet_of(range_.network)  # type: ignore[arg-type]
            assert not any(p.version == prefix.version and p.overlaps(prefix) for p in held)
            held.append(prefix)


@given(clusters, range_sets, st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(
    nodes: list[Node], ranges: tuple[Range, ...], chance: random.Random
) -> None:
    shuffled = list(nodes)
    chance.shuffle(shuffled)
    assert plan(shuffled, ranges) == plan(nodes, ranges)


@given(clusters, range_sets)
def test_a_plan_carried_out_leaves_nothing_to_do(
    nodes: list[Node], ranges: tuple[Range, ...]
) -> None:
    planned = plan(nodes, ranges)
    after = [
        Node(n.name, n.uid, n.created, tuple(map(str, planned.assign.get(n.name, n.pod_cidrs))))
        for n in nodes
    ]
    again = plan(after, ranges)
    assert again.assign == {}
    assert again.free == planned.free
    assert set(again.problems) == set(planned.problems)


@given(clusters)
def test_carried_out_one_by_one_the_result_is_the_same(nodes: list[Node]) -> None:
    whole = plan(nodes, DUAL).assign
    now = list(nodes)
    for name, prefixes in whole.items():
        assert plan(now, DUAL).assign[name] == prefixes
        texts = tuple(map(str, prefixes))
        now = [Node(n.name, n.uid, n.created, texts) if n.name == name else n for n in now]


@given(st.lists(foreign4, max_size=8))
def test_free_prefixes_are_those_a_naive_search_finds(taken: list[str]) -> None:
    networks = [ipaddress.ip_network(text) for text in taken]
    naive = [
        prefix
        for prefix in V4.network.subnets(new_prefix=V4.length)
        if not any(prefix.overlaps(network) for network in networks)
    ]
    assert list(free_prefixes(V4, networks)) == naive
    assert plan([node("a", "192.0.2.0/24", *taken)], (V4,)).free == (len(naive),)


def test_a_deleted_node_gives_its_prefixes_back() -> None:
    nodes = [node(f"n{i:02}") for i in range(16)]
    given_out = plan(nodes, (V4,)).assign
    full = [node(name, *map(str, prefixes)) for name, prefixes in given_out.items()]
    newcomer = node("new")
    assert plan([*full, newcomer], (V4,)).assign == {}
    assert plan([*full[1:], newcomer], (V4,)).assign == {"new": given_out["n00"]}


def reasons(nodes: list[Node], ranges: tuple[Range, ...]) -> list[tuple[str, str]]:
    return [(p.node.name, p.reason) for p in plan(nodes, ranges).problems]


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([node("old", "10.0.0.0/28", "fd00::/64", created="1"),
          node("young", "10.0.0.0/28", "fd00:0:0:1::/64", created="2")], [("young", OVERLAP)]),
        ([node("young", "10.0.0.0/24", "fd00::/64", created="2"),
          node("old", "10.0.0.16/28", "fd00:0:0:1::/64", created="1")], [("young", OVERLAP)]),
        ([node("one", "10.0.0.0/28")], [("one", FAMILY_MISSING)]),
        ([node("bad", "10.0.0.0/99")], [("bad", INVALID)]),
        ([node("all", "10.0.0.0/23", "fd01::/64"), node("left")], [("left", EXHAUSTED)]),
        ([node("all", "10.9.0.0/24", "fd00::/48"), node("left")], [("left", EXHAUSTED)]),
    ],
)  # fmt: skip
def test_problems(nodes: list[Node], told: list[tuple[str, str]]) -> None:
    assert reasons(nodes, DUAL) == told


def test_when_one_family_is_exhausted_no_half_is_given() -> None:
    planned = plan([node("all", "10.0.0.0/24", "fd01::/64"), node("left")], DUAL)
    assert planned.assign == {}
    (problem,) = planned.problems
    assert "10.0.0.0/24" in problem.message
    assert "--pod-cidr4" in problem.message
