"""All of the node's kernel that the agent has open, opened before the agent is wired."""

import contextlib
from collections.abc import Iterator

import msgspec

from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.conntrack import Conntrack
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.nftables.counters import Counters
from steppe.drivers.nftables.driver import Nft
from steppe.drivers.nftables.watch import RulesetWatch
from steppe.drivers.underlay import Underlays
from steppe.drivers.watch import Watch


class Kernel(msgspec.Struct, frozen=True):
    """Drivers and watches of one network namespace; those that threads share have a lock."""

    driver: KernelDriver
    nft: Nft
    tables: Watch
    ruleset: RulesetWatch
    underlay: Underlays
    flows: Conntrack
    """For flows whose endpoint is gone."""
    judged_flows: Conntrack
    """For flows that a policy forbids: a long reading of one does not hold up the other."""
    counters: Counters


@contextlib.contextmanager
def opened() -> Iterator[Kernel]:
    """Open everything, in the namespace of the caller; OSError or SteppeError if it cannot be.

    The watches are there before the first reading, so that no event is missed.
    """
    with contextlib.ExitStack() as stack:
        nft = stack.enter_context(Nft(SKELETON))
        driver = stack.enter_context(KernelDriver(elements=nft))
        yield Kernel(
            driver=driver,
            nft=nft,
            tables=stack.enter_context(Watch(driver.socket)),
            ruleset=stack.enter_context(nft.watch()),
            underlay=stack.enter_context(Underlays()),
            flows=stack.enter_context(Conntrack()),
            judged_flows=stack.enter_context(Conntrack()),
            counters=stack.enter_context(Counters(SKELETON.table)),
        )
