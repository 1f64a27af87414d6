"""The sets and maps of nft's table: typed keys, read back, and spelled in one place."""

import ast
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import steppe
from steppe.dataplane.nft import declared, sets
from steppe.dataplane.nft.declared import Declared
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.service.table import Frontend
from steppe.state.link import LinkKey
from steppe.state.nft import ElementKey

OF_BOTH_FAMILIES: tuple[Declared, ...] = (
    sets.POLICED,
    sets.TUNNEL_LINK,
    sets.TUNNEL_PORT,
    sets.TUNNEL_PROTOCOL,
)
ALL: tuple[Declared, ...] = (*sets.FAMILY_SETS, *OF_BOTH_FAMILIES)

numbers = st.integers(0, 2**32 - 1)
ports = st.integers(1, 65535)


def addresses(version: int) -> st.SearchStrategy:
    return st.ip_addresses(v=version)


def prefixes(version: int) -> st.SearchStrategy:
    bits = 32 if version == 4 else 128
    return st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        addresses(version),
        st.integers(0, bits),
    )


def frontends(version: int) -> st.SearchStrategy:
    return st.builds(Frontend, addresses(version), st.sampled_from(["TCP", "UDP", "SCTP"]), ports)


PARTS = {
    declared.Addresses: (addresses,),
    declared.Prefixes: (prefixes,),
    declared.NumberedPrefixes: (prefixes, lambda _: numbers),
    declared.Pairs: (addresses, addresses),
    declared.Frontends: (frontends,),
    declared.Choices: (frontends, lambda _: numbers),
    declared.SourceRanges: (prefixes, frontends),
    declared.Senders: (addresses, frontends),
    declared.Numbered: (lambda _: numbers, addresses),
    declared.Numbers: (lambda _: numbers,),
    declared.Ports: (lambda _: ports,),
    declared.Protocols: (lambda _: st.sampled_from(["gre", "ipencap", "ipv6"]),),
    declared.Links: (lambda _: st.text("abc-7", min_size=1, max_size=15),),
}


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.base)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_key_gives_back_the_parts_it_was_made_of(one: Declared, data: st.DataObject) -> None:
    version = data.draw(st.sampled_from([4, 6]))
    parts = tuple(data.draw(part(version)) for part in PARTS[type(one)])
    key = one.key(*parts)
    assert one.matches(key)
    assert key.set == one.name(version)
    read = one.read(key)
    assert read == (parts if len(parts) > 1 else parts[0])
    assert one.key(*(read if len(parts) > 1 else (read,))) == key
    others = (other for other in ALL if other is not one)
    assert not any(other.matches(key) or other.read(key) for other in others)


def test_the_keys_of_several_choices_are_those_of_each() -> None:
    front = Frontend(ip_address("10.96.0.1"), "TCP", 80)
    several = list(sets.ENDPOINT.keys(front, range(3)))
    assert several == [sets.ENDPOINT.key(front, index) for index in range(3)]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.base)
def test_a_key_of_another_shape_has_no_parts(one: Declared) -> None:
    for name in one.names:
        for atoms in ((), ("web", "web"), (ip_address("::1"), "web"), (0, 0, 0, 0, 0, 0)):
            assert one.read(ElementKey(name, atoms)) is None
    assert not one.matches(LinkKey("eth0"))


def test_the_skeleton_has_every_declared_set_once_and_no_other() -> None:
    names = [each.name for each in SKELETON.sets]
    assert sorted(names) == sorted(name for one in ALL for name in one.names)


def test_what_a_key_reads_as_is_of_its_own_family() -> None:
    for family in (IPv4Address(1), IPv6Address(1)):
        assert sets.CLUSTER_IP.key(family).set == sets.CLUSTER_IP.name(family.version)


SOURCE = Path(steppe.__file__).parent


def spelled(tree: ast.AST) -> Iterator[str]:
    """Names of sets in a module's strings: whole, or a name in front of a family's number."""
    names = {name for one in ALL for name in one.names}
    bases = {one.base for one in ALL}
    # "_guarded" in f"{direction}_guarded{version}"
    bases |= {f"_{base.partition('_')[2]}" for base in bases if base.startswith(("in", "eg"))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in names - {
            one.base for one in OF_BOTH_FAMILIES
        }:
            yield node.value
        if isinstance(node, ast.JoinedStr):
            for text, value in zip(node.values, node.values[1:], strict=False):
                if isinstance(text, ast.Constant) and isinstance(value, ast.FormattedValue):
                    yield from (str(text.value) for base in bases if text.value == base)


@pytest.mark.parametrize("line", ['"service4"', 'f"service{v}"', 'f"{way}_guarded{v}"'])
def test_a_spelled_name_is_found(line: str) -> None:
    assert list(spelled(ast.parse(line)))


def test_no_other_module_spells_the_name_of_a_set() -> None:
    found = {
        str(path.relative_to(SOURCE)): names
        for path in SOURCE.rglob("*.py")
        if (names := list(spelled(ast.parse(path.read_text()))))
    }
    assert found == {}
