"""Maps, verdict maps and chains from templates: what is written is what the kernel tells."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.plan.diff import Change
from steppe.state.nft import Atom, Element, ElementKey
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

Row = tuple[ElementKey, Element]


@pytest.fixture
def nft(node: Namespace) -> Iterator[Nft]:
    with call_in(node.fd, lambda: Nft(SKELETON)) as driver:
        assert driver.ensure()
        yield driver


def element(name: str, *key: Atom, data: tuple[Atom, ...] = ()) -> Row:
    return ElementKey(name, key), Element(data)


def service(verdict: str, port: int = 80) -> list[Row]:
    return [
        element("service4", ip_address("10.96.0.1"), "tcp", port, data=(verdict,)),
        element("service6", ip_address("fd00:10:96::1"), "tcp", port, data=(verdict,)),
    ]


ROWS = [
    *service("drop"),
    *service("refuse", 81),
    *service("spread-3", 82),
    *service("spread-masq-3", 83),
    *service("spread-3-local-2", 84),
    *service("spread-2-local-0", 85),
    *service("guarded-spread-masq-7", 86),
    *service("guarded-spread-3-local-2", 87),
    *service("guarded-refuse", 88),
    *service("spread-3-for-1", 89),
    *service("spread-masq-3-for-10800", 90),
    *service("guarded-spread-3-local-2-for-90061", 91),
    *service("spread-3-local-0-for-60", 92),
    element("sticky_id4", ip_address("10.96.0.1"), "udp", 89, 0, data=(0x7FFFFFFF,)),
    element(
        "sticky_local_endpoint6",
        ip_address("fd00:10:96::1"),
        "tcp",
        89,
        1 << 16,
        data=(ip_address("fd00::5"), 8080),
    ),
    element(
        "endpoint4",
        ip_address("10.96.0.1"),
        "tcp",
        82,
        259,
        data=(ip_address("10.244.1.5"), 8080),
    ),
    element(
        "local_endpoint6",
        ip_address("fd00:10:96::1"),
        "sctp",
        84,
        1,
        data=(ip_address("fd00::5"), 8080),
    ),
    element("cluster_ip4", ip_address("10.96.0.1")),
    element("hairpin6", ip_address("fd00::5"), ip_address("fd00::5")),
    element("admitted4", ip_network("10.0.0.0/8"), ip_address("198.18.0.5"), "udp", 53),
    element("admitted4", ip_network("10.1.2.3/32"), ip_address("198.18.0.5"), "tcp", 53),
    element("admitted6", ip_network("::/0"), ip_address("2001:db8::5"), "tcp", 53),
    element("service_range6", ip_network("fd00:10:96::/112")),
]


def put(nft: Nft, *rows: Row) -> None:
    assert nft.apply([Change(key, None, value) for key, value in rows]) == ()


def test_every_kind_of_element_is_read_back_as_it_was_written(nft: Nft) -> None:
    put(nft, *ROWS)
    assert nft.read() == dict(ROWS)
    assert nft.apply([Change(key, value, None) for key, value in ROWS]) == ()
    assert nft.read() == {}


def test_the_skeleton_and_every_chain_in_it_are_read_back_as_they_were_written(
    nft: Nft, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not nft.ensure()
    put(nft, *ROWS)
    assert not nft.ensure(), "chains from templates belong to the table"
    assert capfd.readouterr().err == "", "libnftables speaks of rules that it has no JSON for"


def test_what_a_map_holds_is_replaced_in_place(nft: Nft) -> None:
    put(nft, *ROWS)
    key = service("")[0][0]
    for old, new in (("drop", "spread-9"), ("spread-9", "refuse"), ("refuse", "drop")):
        assert nft.apply([Change(key, Element((old,)), Element((new,)))]) == ()
        assert nft.read() == {**dict(ROWS), key: Element((new,))}


def test_a_stale_idea_of_what_a_map_holds_does_no_harm(nft: Nft) -> None:
    key, value = ROWS[0]
    put(nft, (key, value))
    # Thought absent although another value is there; thought there although it is gone.
    assert nft.apply([Change(key, None, Element(("refuse",)))]) == ()
    assert nft.read() == {key: Element(("refuse",))}
    assert nft.apply([Change(key, Element(("refuse",)), None)]) == ()
    assert nft.apply([Change(key, Element(("refuse",)), value)]) == ()
    assert nft.apply([Change(key, value, None)] * 2) == ()
    assert nft.read() == {}


@pytest.mark.parametrize(
    "verdict", ["nowhere", "spread-0", "spread-100000", "guarded-guarded-x", "spread-3-for-0"]
)
def test_a_verdict_that_leads_nowhere_keeps_nothing_else_out(nft: Nft, verdict: str) -> None:
    bad = service(verdict, 99)[0]
    rows = [*ROWS[:4], bad, *ROWS[4:]]
    (failure,) = nft.apply([Change(key, None, value) for key, value in rows])
    assert failure.change.key == bad[0]
    assert verdict in str(failure.error)
    assert nft.read() == dict(ROWS)


def test_a_table_that_was_changed_by_hand_is_made_again_with_its_elements(
    nft: Nft, node: Namespace
) -> None:
    put(nft, *ROWS)
    for command in (
        "insert rule inet steppe spread-3 accept",
        "add chain inet steppe strange",
        "add rule inet steppe services drop",
        "flush chain inet steppe refuse",
    ):
        node.run("nft", command)
        assert nft.ensure(), command
        assert nft.read() == dict(ROWS)
        assert not nft.ensure()


def test_a_driver_that_restarts_finds_its_chains_and_goes_on(nft: Nft, node: Namespace) -> None:
    put(nft, *ROWS)
    with call_in(node.fd, lambda: Nft(SKELETON)) as second:
        assert not second.ensure()
        assert second.read() == dict(ROWS)
        more = service("spread-3", 100)
        put(second, *more)
        assert second.read() == dict([*ROWS, *more])
        assert node.run("nft", "list", "chain", "inet", "steppe", "spread-3").count("numgen") == 1


def test_source_ranges_may_overlap_and_each_service_port_has_its_own(nft: Nft) -> None:
    rows = [
        element("admitted4", ip_network(prefix), ip_address("198.18.0.5"), "tcp", port)
        for prefix, port in (("10.1.0.0/16", 80), ("10.0.0.0/8", 80), ("10.1.2.0/24", 81))
    ]
    put(nft, *rows)
    assert nft.read() == dict(rows)
    assert nft.apply([Change(rows[1][0], Element(), None)]) == ()
    assert nft.read() == dict([rows[0], rows[2]])
    wider = element("admitted4", ip_network("10.0.0.0/12"), ip_address("198.18.0.5"), "tcp", 80)
    moves = [Change(wider[0], None, Element()), Change(rows[0][0], Element(), None)]
    assert nft.apply(moves) == ()
    assert nft.read() == dict([wider, rows[2]])


def test_without_its_table_every_change_fails_and_says_so(nft: Nft, node: Namespace) -> None:
    node.run("nft", "delete table inet steppe")
    failures = nft.apply([Change(key, None, value) for key, value in ROWS])
    assert [f.change.key for f in failures] == [key for key, _ in ROWS]
    assert nft.ensure()
    put(nft, *ROWS)
    assert nft.read() == dict(ROWS)


def test_rules_that_remember_can_be_read_by_nft_and_are_put_back(nft: Nft, node: Namespace) -> None:
    put(nft, *ROWS)
    listed = node.run("nft", "list", "chain", "inet", "steppe", "remember-90061")
    for protocol, version in (("ip", 4), ("ip6", 6)):
        key = f"{protocol} saddr . {protocol} daddr . meta l4proto . th dport"
        assert f"update @affinity{version} {{ {key} timeout 1d1h1m1s : meta priority }}" in listed
        listed_too = node.run("nft", "list", "chain", "inet", "steppe", "forget")
        assert f"delete @affinity{version} {{ {key} : meta priority }}" in listed_too
    node.run("nft", "flush chain inet steppe remember-60")
    assert nft.ensure()
    assert "timeout 1m" in node.run("nft", "list", "chain", "inet", "steppe", "remember-60")
    assert not nft.ensure()
