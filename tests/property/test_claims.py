"""Who has an address that several Nodes and ServiceCIDRs ask for."""

from ipaddress import ip_address, ip_network

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from steppe.kube.claims import NodeClaims
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import Node
from steppe.kube.prefixes import pod_cidrs
from steppe.kube.services import ServiceRange
from steppe.oracle.claims import honoured
from tests.worlds import NAMES

CREATED = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")
PREFIXES_4 = (
    *("10.244.0.0/24", "10.244.1.0/24", "10.244.0.1/32", "10.244.0.0/16", "10.0.0.0/8"),
    *("10.96.0.0/12", "10.96.7.0/24", "192.0.2.0/24", "0.0.0.0/0", "127.0.0.0/8", "224.1.0.0/16"),
    *("169.0.0.0/8", "169.254.3.0/24"),
)
PREFIXES_6 = ("fd00:1::/64", "fd00:1::/48", "fd00:1::7/128", "fd00:96::/112", "::/0", "fe80::/64")
ADDRESSES = ("192.0.2.11", "192.0.2.12", "10.244.0.1", "10.96.0.1", "127.0.0.1", "fd00:1::7")


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    name = draw(st.sampled_from(NAMES))
    prefixes = draw(st.lists(st.sampled_from(PREFIXES_4), max_size=1))
    prefixes += draw(st.lists(st.sampled_from(PREFIXES_6), max_size=1))
    return Node(
        name,
        draw(st.sampled_from(CREATED)),
        pod_cidrs(name, map(ip_network, prefixes)),
        tuple(map(ip_address, draw(st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True)))),
    )


ranges = st.builds(
    ServiceRange,
    st.sampled_from(["kubernetes", "more"]),
    st.lists(
        st.sampled_from(["10.96.0.0/12", "10.96.0.0/16", "fd00:96::/112", "10.244.0.0/24"]),
        max_size=2,
        unique=True,
    ).map(lambda texts: tuple(map(ip_network, texts))),
    st.sampled_from(CREATED),
)
pod_ranges = st.sampled_from([(), (ip_network("10.244.0.0/16"), ip_network("fd00:1::/48"))])
asking = st.one_of(nodes(), ranges)
histories = st.lists(st.tuples(st.booleans(), asking), max_size=25)


def cluster_asking(present: dict) -> Cluster:
    values = present.values()
    return cluster_of(
        [each for each in values if isinstance(each, Node)],
        service_ranges=[each for each in values if isinstance(each, ServiceRange)],
    )


@given(histories, pod_ranges)
def test_any_order_of_events_ends_in_what_the_oracle_gives_from_scratch(history, allowed) -> None:
    claims, present = NodeClaims(allowed), {}
    told: dict = {}
    for gone, each in history:
        if gone:
            present.pop(each.ref, None)
            touched = claims.withdraw(each.ref)
        else:
            present[each.ref] = each
            touched = claims.ask(each)
        now = {ref: (_given(claims, one), claims.problems(ref)) for ref, one in present.items()}
        changed = {ref for ref in now.keys() | told.keys() if now.get(ref) != told.get(ref)}
        assert changed <= touched, "who is told of a change knows of all there are"
        told = now
        right = honoured(cluster_asking(present), allowed)
        for one in present.values():
            known = right.nodes if isinstance(one, Node) else right.service_ranges
            assert _given(claims, one) == known[one.name]
        scratch = NodeClaims.of(allowed, present.values())
        assert now == {
            ref: (_given(scratch, one), scratch.problems(ref)) for ref, one in present.items()
        }


def _given(claims: NodeClaims, one: Node | ServiceRange) -> Node | ServiceRange:
    return claims.node(one) if isinstance(one, Node) else claims.service_range(one)


@given(st.lists(asking, max_size=8), pod_ranges)
def test_each_part_that_is_not_given_is_a_problem_of_its_object(present, allowed) -> None:
    claims = NodeClaims.of(allowed, present)
    for one in {each.ref: each for each in present}.values():
        now = _given(claims, one)
        lost = [p for p in one.prefixes if p not in now.prefixes]
        lost += [a for a in getattr(one, "addresses", ()) if a not in now.addresses]  # type: ignore[union-attr]
        found = claims.problems(one.ref)
        assert len(found) == len(set(lost))
        assert {problem.cause.ref for problem in found} <= {one.ref}


@given(st.lists(asking, max_size=8), pod_ranges)
def test_nothing_that_is_given_overlaps_anything_else_that_is_given(present, allowed) -> None:
    claims = NodeClaims.of(allowed, present)
    given_out = []
    for one in {each.ref: each for each in present}.values():
        if isinstance(one, Node):
            node = claims.node(one)
            given_out += [*node.networks, *map(ip_network, node.addresses)]
    for number, one in enumerate(given_out):
        assert not any(one.overlaps(other) for other in given_out[number + 1 :])


def test_a_younger_node_never_changes_what_older_ones_have() -> None:
    @given(st.lists(asking, max_size=6), nodes(), pod_ranges)
    def law(present, late, allowed) -> None:
        others = {each.ref: each for each in present if each.ref != late.ref}
        late = msgspec.structs.replace(late, created="2027-01-01T00:00:00Z")
        before = NodeClaims.of(allowed, others.values())
        after = NodeClaims.of(allowed, [late, *others.values()])
        for ref, one in others.items():
            assert _given(after, one) == _given(before, one)
            assert after.problems(ref) == before.problems(ref)

    law()
