"""All of the node's kernel that the agent has open, opened before the agent is wired."""

import contextlib
from collections.abc import Iterator

import msgspec

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.beside import KernelBeside
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.driver import Watches
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.kernel_namespaces import KernelNamespaces
from steppe.drivers.namespaces import Host, Namespaces
from steppe.drivers.nftables.counters import Counters
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.underlay import Underlays
from steppe.plan.flows import ENDED


class Kernel(msgspec.Struct, frozen=True):
    """Drivers and watches of one network namespace; those that threads share have a lock."""

    driver: KernelDriver
    events: Watches
    """What others do to the driver's tables."""
    pods: Host
    """For pods' links, on the CNI server's threads; closed by it."""
    namespaces: Namespaces
    underlay: Underlays
    flows: Conntrack
    """For flows whose endpoint is gone."""
    judged_flows: Conntrack
    """For flows that a policy forbids: a long reading of one does not hold up the other."""
    counters: Counters
    beside: KernelBeside
    """For audits: what is not in the driver's tables."""


@contextlib.contextmanager
def opened() -> Iterator[Kernel]:
    """Open everything, in the namespace of the caller; OSError or SteppeError if it cannot be.

    The watches are there before the first reading, so that no event is missed.
    """
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(KernelDriver(more=(Nft(SKELETON),)))
        yield Kernel(
            driver=driver,
            events=stack.enter_context(driver.watch()),
            pods=KernelDriver(),
            namespaces=KernelNamespaces(),
            underlay=stack.enter_context(Underlays()),
            flows=stack.enter_context(Conntrack()),
            judged_flows=stack.enter_context(Conntrack()),
            counters=stack.enter_context(Counters(SKELETON.table)),
            beside=KernelBeside(("inet", SKELETON.table), ENDED),
        )
