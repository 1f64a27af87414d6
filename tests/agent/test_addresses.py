"""Which address is next: never one in use, never the prefix's own, and none is forgotten."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steppe.agent.cni.addresses import Addresses, NoAddressError, capacity, next_free
from steppe.net.address import IPNetwork

SMALL = [ip_network(text) for text in ("10.244.1.0/28", "10.244.1.16/30", "fd00::10/124")]
LARGE = [ip_network(text) for text in ("10.0.0.0/8", "fd00:1::/64", "fd00::/32")]
NEVER = {ip_address(a) for a in ("10.244.1.0", "10.244.1.15", "10.244.1.16", "fd00::10")}


@st.composite
def small_worlds(draw: st.DrawFn) -> tuple[IPNetwork, set, object]:
    prefix = draw(st.sampled_from(SMALL))
    used = draw(st.sets(st.sampled_from(list(prefix))))
    last = draw(st.none() | st.integers(1, capacity(prefix)).map(prefix.__getitem__))
    return prefix, used, last


@given(small_worlds())
def test_an_unused_address_is_found_whenever_there_is_one(world: tuple) -> None:
    prefix, used, last = world
    usable = [address for address in prefix if address not in NEVER]
    if prefix.version == 4 and prefix.broadcast_address in usable:
        usable.remove(prefix.broadcast_address)
    assert len(usable) == capacity(prefix)
    free = [address for address in usable if address not in used]
    found = next_free(prefix, used, last)
    assert found in free if free else found is None
    if last is not None and found is not None:
        after = [address for address in free if int(address) > int(last)]
        assert found == (after[0] if after else free[0])


@pytest.mark.parametrize("prefix", LARGE)
def test_a_large_prefix_is_not_enumerated(prefix: IPNetwork) -> None:
    used = {prefix[number] for number in range(1, 300)}
    assert next_free(prefix, used, prefix[1]) == prefix[300]
    last = prefix[capacity(prefix)]
    assert next_free(prefix, used, last) == prefix[300]


@pytest.mark.parametrize("text", ["10.0.0.0/31", "10.0.0.1/32", "fd00::1/128"])
def test_a_prefix_without_room_gives_nothing(text: str) -> None:
    assert next_free(ip_network(text), set()) is None


def test_reservations_count_until_they_are_released() -> None:
    pool = Addresses("node-a", lambda: (ip_network("10.0.0.0/30"), ip_network("fd00::/64")))
    first = pool.reserve("a", tuple)
    assert first == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert pool.reserve("b", tuple) == (ip_address("10.0.0.2"), ip_address("fd00::2"))
    with pytest.raises(NoAddressError, match=r"10\.0\.0\.0/30 is used up \(2 pods\)"):
        pool.reserve("c", tuple)
    pool.release("a")
    assert pool.reserve("c", tuple)[0] == first[0]


def test_one_released_while_the_kernel_is_read_is_not_given_twice() -> None:
    pool = Addresses("node-a", lambda: (ip_network("10.0.0.0/29"),))
    (first,) = pool.reserve("a", tuple)

    def read() -> tuple:
        # The dump missed the other ADD, which is over before the dump is.
        pool.release("a")
        return ()

    # Even should the search begin at the start again.
    pool._last.clear()
    assert pool.reserve("b", read) != (first,)


def test_after_a_restart_the_search_goes_on_behind_the_highest() -> None:
    pool = Addresses("node-a", lambda: (ip_network("10.0.0.0/24"),))
    in_use = tuple(map(ip_address, ("10.0.0.2", "10.0.0.9", "192.0.2.1")))
    assert pool.reserve("a", lambda: in_use) == (ip_address("10.0.0.10"),)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_no_address_is_ever_two_pods(events: list[tuple[int, bool]]) -> None:
    pool = Addresses("node-a", lambda: (ip_network("10.0.0.0/29"), ip_network("fd00::/125")))
    kernel: dict[str, tuple] = {}
    for number, adds in events:
        link = f"st{number}"
        if adds and link not in kernel:
            kernel[link] = pool.reserve(link, lambda: [a for v in kernel.values() for a in v])
            pool.release(link)
        elif not adds:
            kernel.pop(link, None)
        given_out = [address for held in kernel.values() for address in held]
        assert len(given_out) == len(set(given_out))


def test_shortage_says_why() -> None:
    assert "no pod prefix" in Addresses("node-a", tuple).shortage(())
    pool = Addresses("node-a", lambda: (ip_network("10.0.0.0/30"),))
    both = tuple(map(ip_address, ("10.0.0.1", "10.0.0.2")))
    assert pool.shortage(both[:1]) == ""
    assert "used up (2 pods)" in pool.shortage(both)
