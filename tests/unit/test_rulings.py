"""Rulings: what a guard lets through for a number, whatever renders it."""

from hypothesis import given
from hypothesis import strategies as st

from steppe.kube.cause import Cause, ObjectRef
from steppe.policy.guards import OTHER, Guard, Piece
from steppe.policy.rulings import Ruling, common, ruling

POLICY = Cause(ObjectRef("NetworkPolicy", "a", "p"), "spec.podSelector")
RULE, AGAIN = (Cause(POLICY.ref, f"spec.ingress[{index}]") for index in (0, 1))
GUARD = Guard("ingress", isolated=(POLICY,))


def piece(first: int, last: int, *because: Cause, protocol: str = "TCP") -> Piece:
    return Piece(protocol, first, last, bool(because), because or (POLICY,))


def test_the_rules_that_open_ports_are_the_cause_and_the_ports_have_none_of_their_own() -> None:
    answer = (piece(0, 79), piece(80, 80, RULE), piece(81, 65535))
    assert ruling(GUARD, [answer]) == Ruling("ingress", (Piece("TCP", 80, 80, True),), (RULE,))


def test_where_nothing_is_open_those_who_close_it_are_the_cause() -> None:
    assert ruling(GUARD, [(piece(0, 65535),)]) == Ruling("ingress", (), (POLICY,))
    assert ruling(GUARD, []) == Ruling("ingress", (), (POLICY,))


def test_of_identities_that_share_a_number_only_what_all_may_is_open() -> None:
    answers = [(piece(80, 90, RULE),), (piece(85, 99, AGAIN),)]
    found = ruling(GUARD, answers)
    assert found == Ruling("ingress", (Piece("TCP", 85, 90, True),), (RULE, AGAIN))


pieces = st.lists(
    st.builds(
        lambda protocol, ends: piece(min(ends), max(ends), RULE, protocol=protocol),
        st.sampled_from(["TCP", "UDP", "SCTP"]),
        st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    )
    | st.just(piece(0, 0, RULE, protocol=OTHER)),
    max_size=8,
)


@given(pieces, pieces)
def test_common_is_what_both_let_through(some: list[Piece], others: list[Piece]) -> None:
    def has(given_pieces, protocol: str, port: int) -> bool:
        return any(p.protocol == protocol and p.first <= port <= p.last for p in given_pieces)

    both = common(some, others)
    edges = {edge for p in (*some, *others) for edge in (p.first, p.last)}
    for protocol in ("TCP", "UDP", "SCTP", OTHER):
        for port in edges:
            wanted = has(some, protocol, port) and has(others, protocol, port)
            assert has(both, protocol, port) == wanted
