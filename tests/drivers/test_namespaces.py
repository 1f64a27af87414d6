"""What attaching pods relies on: the namespaces in memory and the kernel's do it alike."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from steppe.drivers.fake import FakeKernel
from steppe.drivers.fake_namespaces import OWN, FakeNamespaces
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.kernel_namespaces import KernelNamespaces
from steppe.drivers.netlink.netns import NetnsError
from steppe.drivers.scope import pod
from steppe.plan.diff import Change
from steppe.state.link import LinkKey
from tests.drivers.conftest import Namespace
from tests.drivers.test_contract import ETH0, MAC, POD, VETH

INSIDE = LinkKey("eth0")
PEER = msgspec.structs.replace(VETH, mac=MAC, alias="", up=False)


class Machine:
    def __init__(self, host: Any, namespaces: Any, own: str, pods: list[str]) -> None:
        self.host = host
        self.namespaces = namespaces
        self.own = own
        self.pods = pods

    def tables(self, path: str) -> dict:
        opened, inside = self.namespaces.opened, self.namespaces.driver
        with opened(path) as netns, inside(netns, pod()) as driver:
            return driver.read()

    def attach(self, path: str) -> None:
        with self.namespaces.opened(path) as netns:
            self.host.create_veth(POD, VETH, "eth0", MAC, netns.fd)


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.kernel)])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with ExitStack() as stack:
        if request.param == "fake":
            host = FakeKernel((ETH0,))
            namespaces = FakeNamespaces(host)
            paths = ["/run/netns/a", "/run/netns/b"]
            for path in paths:
                namespaces.make(path)
            yield Machine(host, namespaces, OWN, paths)
            return
        node, *pods = [Namespace() for _ in range(3)]
        for each in (node, *pods):
            stack.callback(each.close)
        driver = stack.enter_context(KernelDriver(node.fd))
        own = "/proc/thread-self/ns/net"
        yield Machine(driver, KernelNamespaces(), own, [each.path for each in pods])


def test_a_namespace_is_the_same_however_often_it_is_opened(machine: Machine) -> None:
    names = []
    for path in (*machine.pods, *machine.pods):
        with machine.namespaces.opened(path) as netns:
            assert not machine.namespaces.is_own(netns)
            names.append((netns.device, netns.inode))
    assert names[:2] == names[2:]
    assert names[0] != names[1]
    with machine.namespaces.opened(machine.own) as netns:
        assert machine.namespaces.is_own(netns)


def test_a_path_that_leads_to_no_namespace_is_named(machine: Machine) -> None:
    with pytest.raises(NetnsError, match="nowhere"), machine.namespaces.opened("/run/nowhere"):
        pass
    assert isinstance(machine.namespaces.named(), tuple)


def test_a_veth_pair_has_one_end_here_and_one_inside_and_both_go_together(machine: Machine) -> None:
    first, second = machine.pods
    machine.attach(first)
    assert machine.host.read() == {LinkKey(POD): VETH}
    assert machine.tables(first) == {INSIDE: PEER}
    assert machine.tables(second) == {}
    assert machine.host.apply((Change(LinkKey(POD), VETH, None),)) == ()
    assert machine.tables(first) == {}


def test_a_link_says_in_which_namespace_its_other_end_is(machine: Machine) -> None:
    first, second = machine.pods
    assert machine.host.number_behind(POD) is None
    machine.attach(first)
    numbers = []
    for path in (first, second):
        with machine.namespaces.opened(path) as netns:
            numbers.append(machine.host.number(netns.fd))
    assert numbers[0] is not None
    assert numbers == [machine.host.number_behind(POD), None]
