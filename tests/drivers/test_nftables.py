"""Table `inet steppe`: made, kept, put right, and nobody else's touched."""

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_address, ip_network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.driver import Fault
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.nftables.intervals import Cover
from steppe.drivers.nftables.library import NftError
from steppe.drivers.nftables.render import elements_text, skeleton_text
from steppe.plan.diff import Change
from steppe.state.nft import Chain, Element, ElementKey, Hook, Match, Rule, Set, Skeleton
from tests.drivers.conftest import Namespace

prefixes = st.builds(
    lambda bits, length: IPv4Network((bits >> (8 - length) << (32 - length), length)),
    st.integers(0, 255),
    st.integers(0, 8),
)


@given(st.lists(st.tuples(st.booleans(), prefixes)))
def test_a_cover_always_holds_the_outermost_of_all_claims(
    steps: list[tuple[bool, IPv4Network]],
) -> None:
    cover, claimed, kernel = Cover(), set(), set()
    for adding, prefix in steps:
        puts, drops = cover.add(prefix) if adding else cover.remove(prefix)
        (claimed.add if adding else claimed.discard)(prefix)
        assert set(drops) <= kernel
        kernel -= set(drops)
        assert not kernel & set(puts)
        kernel |= set(puts)
        outermost = {p for p in claimed if not any(p != q and p.subnet_of(q) for q in claimed)}
        assert kernel == outermost == set(cover.top())
        assert set(cover) == claimed


@pytest.mark.parametrize("word", ['a"b', "a b", "a;b", "a\nb", "{", "", "a\\", "é", "@x"])
def test_no_word_escapes_from_its_place(word: str) -> None:
    with pytest.raises(NftError):
        elements_text("add", "steppe", Set("s", "ipv4_addr"), [((word,), None)])
    with pytest.raises(NftError):
        elements_text("add", "steppe", Set(word, "ipv4_addr"), [((1,), None)])
    for spec in (Set("m", "mark", data="mark"), Set("m", "mark", data="verdict")):
        with pytest.raises(NftError):
            elements_text("add", "steppe", spec, [((1,), Element((word,)))])
    rule = Rule((Match("ip saddr", set="s"),), "accept", "fine")
    for bad in (
        msgspec.structs.replace(rule, matches=(Match("ip saddr", set=word or "{"),)),
        msgspec.structs.replace(rule, matches=(Match(f"ip {word};", literal="1"),)),
        msgspec.structs.replace(rule, comment='" accept comment "'),
        msgspec.structs.replace(rule, comment="x" * 129),
    ):
        chain = Chain("c", (bad,), Hook("filter", "forward", 0))
        with pytest.raises(NftError):
            skeleton_text(Skeleton("steppe", (), (chain,)))


@pytest.fixture
def nft(node: Namespace) -> Iterator[Nft]:
    with call_in(node.fd, lambda: Nft(SKELETON)) as nft:
        yield nft


KEYS = [
    ElementKey("cluster4", (ip_network("10.244.0.0/24"),)),
    ElementKey("cluster4", (ip_network("10.244.1.0/24"),)),
    ElementKey("cluster4", (ip_network("192.0.2.11/32"),)),
    ElementKey("local_pods6", (ip_network("fd00:10:244:1::/64"),)),
]


def fill(nft: Nft) -> None:
    assert nft.ensure()
    assert nft.apply([Change(key, None, Element()) for key in KEYS]) == ()


@pytest.mark.kernel
def test_the_table_is_made_once_and_then_left_in_peace(node: Namespace, nft: Nft) -> None:
    fill(nft)
    before = node.run("nft", "-a", "list", "table", "inet", "steppe")
    assert not nft.ensure()
    with call_in(node.fd, lambda: Nft(SKELETON)) as restarted:
        assert not restarted.ensure()
        assert restarted.read() == dict.fromkeys(KEYS, Element())
    assert node.run("nft", "-a", "list", "table", "inet", "steppe") == before


@pytest.mark.kernel
@pytest.mark.parametrize(
    "meddling",
    [
        "flush chain inet steppe postrouting",
        "add rule inet steppe postrouting accept",
        "insert rule inet steppe postrouting counter",
        "add chain inet steppe mine",
        "add set inet steppe mine { type ipv4_addr; }",
        "add map inet steppe mine { type ipv4_addr : verdict; }",
        "add chain inet steppe postrouting { policy drop; }",
        "add table inet steppe { flags dormant; }",
        "add counter inet steppe mine",
        "add set inet steppe mine { type ipv4_addr; flags dynamic; }",
        "flush chain inet steppe services; add rule inet steppe services accept",
    ],
)
def test_a_table_that_was_meddled_with_is_put_right_and_keeps_its_elements(
    node: Namespace, nft: Nft, meddling: str
) -> None:
    fill(nft)
    before = node.run("nft", "list", "table", "inet", "steppe")
    node.run("nft", meddling)
    assert nft.ensure()
    assert nft.read() == dict.fromkeys(KEYS, Element())
    assert node.run("nft", "list", "table", "inet", "steppe") == before
    assert not nft.ensure()


@pytest.mark.kernel
def test_a_newer_skeleton_takes_over_what_fits(node: Namespace, nft: Nft) -> None:
    fill(nft)
    newer = Skeleton(
        "steppe",
        (
            *(spec for spec in SKELETON.sets if spec.name != "local_pods4"),
            Set("ports", "inet_service"),
            Set("local_pods4", "ipv4_addr"),
        ),
        SKELETON.chains[:0],
    )
    with call_in(node.fd, lambda: Nft(newer)) as nft2:
        assert nft2.ensure()
        assert not nft2.ensure()
        assert nft2.read() == dict.fromkeys(KEYS, Element())
        plain = [
            ElementKey("ports", (53,)),
            ElementKey("local_pods4", (ip_address("10.244.1.5"),)),
        ]
        assert nft2.apply([Change(key, None, Element()) for key in plain]) == ()
        assert nft2.read() == dict.fromkeys([*KEYS, *plain], Element())
        assert nft2.apply([Change(key, Element(), None) for key in plain * 2]) == ()
        assert nft2.read() == dict.fromkeys(KEYS, Element())


@pytest.mark.kernel
def test_other_tables_are_left_alone(node: Namespace, nft: Nft) -> None:
    theirs = "table ip theirs { chain c { type filter hook input priority 0; tcp dport 1 drop; }; }"
    node.run("nft", theirs)
    before = node.run("nft", "-a", "list", "table", "ip", "theirs")
    fill(nft)
    node.run("nft", "delete table inet steppe")
    assert nft.read() == {}
    assert nft.ensure()
    assert node.run("nft", "-a", "list", "table", "ip", "theirs") == before


@pytest.mark.kernel
def test_one_bad_element_among_many_is_the_only_one_missing(nft: Nft) -> None:
    assert nft.ensure()
    keys = [ElementKey("cluster4", (ip_network(f"10.0.{i}.0/24"),)) for i in range(64)]
    bad = [ElementKey("cluster4", (ip_network("fd00::/64"),)), ElementKey("cluster4", ("evil;",))]
    mixed = [*keys[:20], bad[0], *keys[20:50], bad[1], *keys[50:]]
    failures = nft.apply([Change(key, None, Element()) for key in mixed])
    assert [failure.change.key for failure in failures] == bad
    assert nft.read() == dict.fromkeys(keys, Element())


@pytest.mark.kernel
def test_elements_that_others_took_out_are_missed_and_put_back(node: Namespace, nft: Nft) -> None:
    fill(nft)
    node.run("nft", "delete element inet steppe cluster4 { 10.244.0.0/24 }")
    assert nft.read() == dict.fromkeys(KEYS[1:], Element())
    assert nft.apply([Change(KEYS[0], None, Element())]) == ()
    node.run("nft", "delete element inet steppe cluster4 { 10.244.0.0/24 }")
    # A deletion that finds nothing to delete has what it wants.
    assert nft.apply([Change(KEYS[0], Element(), None), Change(KEYS[1], Element(), None)]) == ()
    assert nft.read() == dict.fromkeys(KEYS[2:], Element())


BY_HAND = {
    "add rule inet steppe forward accept": Fault("chain forward of table inet steppe", "differs"),
    "flush chain inet steppe forward": Fault("chain forward of table inet steppe", "differs"),
    "add chain inet steppe by-hand": Fault("chain by-hand of table inet steppe", "foreign"),
    "add set inet steppe by-hand { type ipv4_addr; }": Fault(
        "set by-hand of table inet steppe", "foreign"
    ),
    "add counter inet steppe by-hand": Fault("table inet steppe", "differs"),
    "delete table inet steppe": Fault("table inet steppe", "missing"),
}


@pytest.mark.parametrize("command", BY_HAND)
def test_what_is_wrong_with_the_table_is_named_and_left_as_it_is_until_it_is_ensured(
    node: Namespace, command: str
) -> None:
    with call_in(node.fd, lambda: Nft(SKELETON)) as nft:
        nft.ensure()
        assert nft.check() == ()
        node.run("nft", command)
        assert nft.check() == nft.check() == (BY_HAND[command],)
        assert nft.ensure() == (BY_HAND[command],)
        assert nft.check() == ()
