"""The agent's open drivers and watches of the node's kernel."""

import contextlib
from collections.abc import Iterator

import msgspec

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.driver import Watches
from steppe.drivers.inspection import KernelInspection
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.kernel_namespaces import KernelNamespaces
from steppe.drivers.namespaces import Host, Namespaces, TrialNodes
from steppe.drivers.nftables.counters import Counters
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.nftables.expected import Expected
from steppe.drivers.trial import trial_node
from steppe.drivers.underlay import Underlays
from steppe.plan.flows import ENDED


class Kernel(msgspec.Struct, frozen=True):
    """Drivers and watches of one network namespace; those that several threads use have a lock."""

    driver: KernelDriver
    events: Watches
    """Changes that other programs make to the driver's tables."""
    pods: Host
    """For pods' links; used on the CNI server's threads and closed by the CNI server."""
    namespaces: Namespaces
    trial: TrialNodes
    """Throw-away nodes, to try an attachment on."""
    underlay: Underlays
    flows: Conntrack
    """For flows whose backend no longer exists."""
    judged_flows: Conntrack
    """For flows that a policy forbids; a second socket, so that neither waits for the other."""
    counters: Counters
    inspection: KernelInspection
    """For audits: what is not in the driver's tables."""


@contextlib.contextmanager
def opened() -> Iterator[Kernel]:
    """Open everything, in the caller's namespace; OSError or SteppeError if that fails.

    The watches are opened before the first reading, so that no event is missed.
    """
    with contextlib.ExitStack() as stack:
        expected = Expected(SKELETON)
        driver = stack.enter_context(KernelDriver(more=(Nft(SKELETON, expected),)))
        yield Kernel(
            driver=driver,
            events=stack.enter_context(driver.watch()),
            pods=KernelDriver(),
            namespaces=KernelNamespaces(),
            trial=trial_node,
            underlay=stack.enter_context(Underlays()),
            flows=stack.enter_context(Conntrack()),
            judged_flows=stack.enter_context(Conntrack()),
            counters=stack.enter_context(Counters(SKELETON.table)),
            inspection=KernelInspection(("inet", SKELETON.table), ENDED, expected),
        )
