"""Chains of policies: what their names say is what they do."""

from hypothesis import given
from hypothesis import strategies as st

from steppe.state.policy_chains import NAME_LIMIT, Span, allowing, merged, ports_chain

spans = st.lists(
    st.builds(
        lambda protocol, ends: Span(protocol, min(ends), max(ends)),
        st.sampled_from(["tcp", "udp", "sctp"]),
        st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    ),
    min_size=1,
    max_size=8,
)


def rules(name: str) -> list[str]:
    chain = ports_chain(name)
    assert chain is not None
    return [str(rule) for rule in chain.rules]


def test_ports_ranges_and_whole_protocols() -> None:
    name, left_out = allowing(
        [Span("udp", 53, 53), Span("tcp", 80, 80), Span("tcp", 8000, 8080), Span("sctp")]
    )
    assert (name, left_out) == ("allow-sctp-tcp-80-8000_8080-udp-53", ())
    assert rules(name) == [
        "meta l4proto sctp accept",
        "tcp dport 80 accept",
        "tcp dport 8000-8080 accept",
        "udp dport 53 accept",
    ]
    assert rules("allow") == ["accept"]


def test_spans_that_touch_are_one() -> None:
    assert merged([Span("tcp", 81, 90), Span("tcp", 80, 80), Span("tcp", 85, 86)]) == [
        Span("tcp", 80, 90)
    ]


def test_other_names_mean_nothing() -> None:
    for name in ("allowed", "allow-", "allow-80", "allow-tcp-", "allow-icmp", "allow-tcp-1_2_3"):
        assert ports_chain(name) is None


def test_what_a_name_has_no_room_for_is_left_out_and_told() -> None:
    name, left_out = allowing(Span("tcp", port, port) for port in range(10000, 10200, 2))
    assert len(name) <= NAME_LIMIT
    assert len(rules(name)) + len(left_out) == 100


@given(spans)
def test_the_chain_lets_through_just_the_spans(given_spans) -> None:
    name, left_out = allowing(given_spans)
    assert left_out == ()
    chain = ports_chain(name)
    assert chain is not None
    literals = []
    for rule in chain.rules:
        (match,) = rule.matches
        protocol = match.field.removesuffix(" dport")
        if match.field == "meta l4proto":
            literals.append(Span(match.literal))
            continue
        first, _, last = match.literal.partition("-")
        literals.append(Span(protocol, int(first), int(last or first)))
    wanted = [Span(s.protocol) if s.whole else s for s in merged(given_spans)]
    assert literals == wanted
