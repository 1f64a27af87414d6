"""What only a real kernel does to a link, and how it is put right."""

import pytest

from steppe.drivers.kernel import KernelDriver
from steppe.plan.diff import Change
from steppe.state.device import Veth
from steppe.state.link import Link, LinkKey
from steppe.state.workload import link_name
from tests.drivers.conftest import Namespace

pytestmark = pytest.mark.kernel

POD = link_name("pod-uid")
VETH = Link(Veth(), 1500, "02:00:00:00:00:aa", "default/web 10.244.1.5")


def test_a_link_that_was_too_small_for_ipv6_gets_its_mtu_and_its_ipv6_back(
    node: Namespace, pod: Namespace
) -> None:
    with KernelDriver(node.fd) as driver:
        driver.create_veth(POD, VETH, "eth0", "02:00:00:00:00:01", pod.fd)
        put_right = Change(LinkKey(POD), None, VETH)
        assert driver.apply((put_right,)) == ()
        # "if (idev && dev->mtu < IPV6_MIN_MTU)": the link has no IPv6 any more (addrconf_notify).
        node.run("ip", "link", "set", POD, "mtu", "1000")
        assert driver.apply((put_right,)) == ()
        assert driver.read()[LinkKey(POD)] == VETH
    node.run("ip", "-6", "route", "add", "fd00::1", "dev", POD)
    assert node.run("ip", "-6", "address", "show", "dev", POD, "scope", "link") == ""
