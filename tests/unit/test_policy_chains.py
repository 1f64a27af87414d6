"""Chains of policies: what their names say is what they do."""

from hypothesis import given
from hypothesis import strategies as st

from steppe.dataplane.nft.policy_chains import (
    EVERYTHING,
    NAME_LIMIT,
    Allowed,
    allowing,
    merged,
    ports_chain,
)
from steppe.net.ports import OTHER, PortRange

NO_PORTS = PortRange(OTHER, 0, 0)
PORTS = st.builds(
    lambda protocol, ends: PortRange(protocol, min(ends), max(ends)),
    st.sampled_from(["TCP", "UDP", "SCTP"]),
    st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
)
spans = st.lists(PORTS | st.just(NO_PORTS), max_size=8)


def tcp(first: int, last: int = 0) -> PortRange:
    return PortRange("TCP", first, last or first)


def rules(name: str) -> list[str]:
    chain = ports_chain(name)
    assert chain is not None
    return [str(rule) for rule in chain.rules]


def test_ports_ranges_and_whole_protocols() -> None:
    name, left_out = allowing(
        "ingress",
        [
            PortRange("UDP", 53, 53),
            tcp(80),
            tcp(8000, 8080),
            PortRange("SCTP"),
        ],
    )
    assert (name, left_out) == ("ingress-allow-sctp-tcp-80-8000_8080-udp-53", ())
    assert rules(name) == [
        "meta l4proto sctp goto policy-accepted",
        "tcp dport 80 goto policy-accepted",
        "tcp dport 8000-8080 goto policy-accepted",
        "udp dport 53 goto policy-accepted",
        "goto ingress-denied",
    ]


def test_everything_nothing_and_protocols_without_ports() -> None:
    assert allowing("egress", EVERYTHING) == ("egress-allow", ())
    assert rules("egress-allow") == ["goto policy-accepted"]
    assert allowing("egress", ()) == ("egress-denied", ())
    assert allowing("egress", [NO_PORTS, tcp(1)]) == (
        "egress-allow-tcp-1-other",
        (),
    )
    assert rules("egress-allow-tcp-1-other") == [
        "tcp dport 1 goto policy-accepted",
        "meta l4proto tcp goto egress-denied",
        "meta l4proto udp goto egress-denied",
        "meta l4proto sctp goto egress-denied",
        "goto policy-accepted",
    ]


def test_spans_that_touch_are_one() -> None:
    assert merged([tcp(81, 90), tcp(80), tcp(85, 86)]) == [tcp(80, 90)]


def test_other_names_mean_nothing() -> None:
    for rest in ("ed", "-", "-80", "-tcp-", "-icmp", "-tcp-1_2_3", "-other-tcp"):
        assert ports_chain(f"ingress-allow{rest}") is None
    assert ports_chain("allow") is None


def test_what_a_name_has_no_room_for_is_left_out_and_told() -> None:
    many = [tcp(port) for port in range(10000, 10200, 2)]
    name, left_out = allowing("ingress", [*many, NO_PORTS])
    assert len(name) <= NAME_LIMIT
    assert name.endswith("-other")
    accepted = [rule for rule in rules(name) if rule.startswith("tcp dport")]
    assert len(accepted) + len(left_out) == 100


def let_through(name: str) -> list[PortRange]:
    """What the rules of a chain accept, run from the first to the last for each protocol."""
    chain = ports_chain(name)
    if chain is None:
        assert name == "ingress-denied"
        return []
    found: list[PortRange] = []
    for rule in chain.rules:
        if not rule.matches:
            whole = str(rule.action) == "goto policy-accepted"
            found += [NO_PORTS] if whole and len(chain.rules) > 1 else EVERYTHING * whole
            continue
        (match,) = rule.matches
        if str(rule.action) == "goto policy-accepted":
            first, _, last = match.literal.partition("-")
            found.append(
                PortRange(match.literal.upper())
                if match.field == "meta l4proto"
                else PortRange(
                    match.field.removesuffix(" dport").upper(), int(first), int(last or first)
                )
            )
    return found


@given(spans)
def test_the_chain_lets_through_just_the_spans(given_spans) -> None:
    name, left_out = allowing("ingress", given_spans)
    assert left_out == ()
    wanted = [PortRange(s.protocol) if s.whole else s for s in merged(given_spans)]
    assert sorted(let_through(name)) == sorted(wanted)


@given(spans)
def test_a_name_is_read_as_what_it_was_made_of(given_spans) -> None:
    wanted = tuple(PortRange(s.protocol) if s.whole else s for s in merged(given_spans))
    name, _ = allowing("egress", given_spans)
    read = Allowed.parse(name)
    assert (read.ports if read is not None else ()) == wanted
    assert read is None or read.name == name
