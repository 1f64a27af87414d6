"""Tracing leaves nothing behind in the namespaces where it was begun."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from steppe.drivers.netlink.netns import NetnsError
from steppe.drivers.nftables.library import Library
from steppe_lab import netns
from steppe_lab.probe.traced import TABLE, Traces

pytestmark = pytest.mark.kernel


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    made = (f"traced-{os.getpid()}-a", f"traced-{os.getpid()}-b")
    netns.create(made)
    try:
        yield made
    finally:
        for name in made:
            with contextlib.suppress(OSError):
                netns.delete(name)


def tables(name: str) -> str:
    def asked() -> str:
        with Library() as nft:
            return nft.ask("list tables")

    return netns.inside(name, asked)


def test_a_namespace_that_has_gone_keeps_no_table_in_the_others(names: tuple[str, str]) -> None:
    first, second = names
    with Traces(names, 0, 1):
        assert TABLE in tables(second)
        netns.delete(first)
    assert TABLE not in tables(second)


def test_where_tracing_cannot_begin_the_others_are_as_before(names: tuple[str, str]) -> None:
    first, second = names
    netns.delete(second)
    with pytest.raises(NetnsError, match="No such file"), Traces(names, 0, 1):
        pass
    assert TABLE not in tables(first)
