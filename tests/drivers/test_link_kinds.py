"""A kind of link is one class, its codec, and a line in each registry: shown by one of a test's."""

import json
from collections.abc import Mapping
from typing import ClassVar

import msgspec
import pytest

from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.kinds import CODECS
from steppe.plan.diff import Change
from steppe.plan.order import ordered
from steppe.state.device import KINDS, Kind
from steppe.state.document import KeyState, key_state_document, key_state_from
from steppe.state.link import Link, LinkKey
from tests.drivers.conftest import Namespace

_AGEING = 4  # IFLA_BR_MAX_AGE, in hundredths of a second
KEY = LinkKey("steppe-toy")


class Bridge(Kind, frozen=True):
    """A toy: a bridge with one setting."""

    name: ClassVar[str] = "bridge"
    max_age: int

    def __str__(self) -> str:
        return f"max_age {self.max_age}"


class BridgeCodec:
    @staticmethod
    def encoded(kind: Kind, lower: int) -> bytes:
        assert isinstance(kind, Bridge)
        assert lower == 0
        return nl.u32(_AGEING, kind.max_age)

    @staticmethod
    def decoded(data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
        del names
        return Bridge(nl.number(data[_AGEING]))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "bridge", Bridge)
    monkeypatch.setitem(CODECS, "bridge", BridgeCodec)


def test_a_new_kind_is_shown_and_written_down_and_read_back() -> None:
    link = Link(Bridge(1500), 1400, "02:00:00:00:00:01", "note")
    assert str(link) == "bridge mtu 1400 address 02:00:00:00:00:01 max_age 1500 alias 'note'"
    held = KeyState(KEY, link, link)
    assert key_state_from(json.loads(json.dumps(key_state_document(held)))) == held


def test_a_link_whose_kind_has_other_settings_is_made_again_before_all_else() -> None:
    old, new = (Link(Bridge(age), 1400, "02:00:00:00:00:01") for age in (1500, 1600))
    taller = msgspec.structs.replace(old, mtu=1500)
    first = Change(LinkKey("steppe-b"), None, old)
    remade, grown = Change(KEY, old, new), Change(KEY, old, taller)
    assert ordered((first, remade)) == (remade, first)
    assert ordered((first, grown)) == (first, grown)


@pytest.mark.kernel
def test_the_kernel_makes_changes_and_deletes_a_link_of_a_new_kind(node: Namespace) -> None:
    link = Link(Bridge(1500), 1400, "02:00:00:00:00:01", "note")
    with KernelDriver(node.fd) as driver:
        value: Link | None = None
        for new in (link, Link(Bridge(1600), 1400, link.mac), Link(Bridge(1600), 1300, link.mac)):
            assert driver.apply([Change(KEY, value, new)]) == ()
            assert driver.read() == {KEY: new}
            value = new
        assert driver.apply([Change(KEY, value, None)]) == ()
        assert driver.read() == {}
