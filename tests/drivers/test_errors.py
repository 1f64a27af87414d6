"""What netlink refuses, as errors that say what was to be done; tables in motion are one kind."""

import errno
from collections.abc import Callable
from typing import Any

import pytest

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.errors import KernelError, TablesChangedError, kernel_error
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.netlink.message import Message, Request
from steppe.drivers.netlink.socket import DumpInterruptedError, NetlinkError, NetlinkSocket
from steppe.drivers.nftables.dump import Dump
from steppe.drivers.rtnetlink import Rtnetlink
from steppe.drivers.scope import NODE
from steppe.drivers.sysctl import Sysctls
from steppe.drivers.underlay import Underlays
from steppe.errors import SteppeError
from steppe.state.nft import Set


class Restless(NetlinkSocket):
    """Says of each dump that the tables changed meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def _dump(self, request: Request) -> tuple[list[Message], bool]:
        del request
        self.asked += 1
        return [], True


def rtnetlink(socket: NetlinkSocket) -> Callable[[], object]:
    driver = Rtnetlink(None, NODE, Sysctls())
    driver.close()
    driver.socket = socket
    return driver.read


def underlay(socket: NetlinkSocket) -> Callable[[], object]:
    underlays = Underlays()
    underlays.close()
    underlays._socket = socket
    return lambda: underlays.read(())


def addresses(socket: NetlinkSocket) -> Callable[[], object]:
    driver = KernelDriver()
    driver.close()
    driver.socket = socket
    return driver.addresses


def flows(socket: NetlinkSocket) -> Callable[[], object]:
    table = Conntrack()
    table.close()
    table._socket = socket
    return lambda: table.flows(("TCP",))


def elements(socket: NetlinkSocket) -> Callable[[], object]:
    dump = Dump("steppe")
    dump.close()
    dump._socket = socket
    return lambda: dump.elements(SKELETON.sets[0])


@pytest.mark.parametrize("reader", [rtnetlink, underlay, addresses, flows, elements])
def test_tables_that_are_never_at_rest_are_an_error_of_their_own(reader: Any) -> None:
    with Restless() as socket:
        with pytest.raises(TablesChangedError, match="it is tried again") as caught:
            reader(socket)()
        assert isinstance(caught.value, SteppeError)
        assert "10 attempts" in str(caught.value)
        assert socket.asked == 10


def test_a_set_that_grows_whenever_it_is_read_is_the_same_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dump = Dump("steppe")
    row = SKELETON.sets[0].name, None
    monkeypatch.setattr(dump, "_elements", lambda _: [row, row])
    with pytest.raises(TablesChangedError, match="grew"):
        dump.elements(Set("cluster4", "ipv4_addr"))
    dump.close()


def test_other_refusals_keep_their_number_and_say_what_was_to_be_done() -> None:
    made = kernel_error("read the routes", NetlinkError(errno.EPERM, "not you"))
    assert type(made) is KernelError
    assert made.errno == errno.EPERM
    assert str(made).startswith("read the routes: Operation not permitted (not you); run as root")
    assert isinstance(kernel_error("x", DumpInterruptedError()), TablesChangedError)
