"""What is in a node's network beside Steppe's tables: tracked flows, and what others put there."""

from collections.abc import Collection, Iterable

from steppe.drivers.conntrack import Conntrack
from steppe.drivers.netlink.netns import call_in
from steppe.drivers.nftables.expected import Expected
from steppe.drivers.surroundings.look import EVERYTHING, Look, Table
from steppe.drivers.surroundings.registry import surroundings
from steppe.net.address import IPNetwork
from steppe.net.flow import Flow
from steppe.net.packet import Protocol
from steppe.state.surroundings import Surroundings


class KernelInspection:
    """Of the caller's network namespace; `own`: the nftables table that is ours."""

    def __init__(
        self, own: Table, protocols: Collection[Protocol], expected: Expected | None = None
    ) -> None:
        """`protocols`: of which flows are tracked that may have to end.

        `expected`: the form that our table shall have.
        """
        self._own = own
        self._expected = expected
        self._protocols = protocols

    def tracked(self) -> tuple[Flow, ...]:
        """The flows of these protocols that are tracked; KernelError where they cannot be read."""
        with Conntrack() as table:
            return table.flows(self._protocols)

    def end(self, flows: Iterable[Flow]) -> None:
        """Forget these flows."""
        with Conntrack() as table:
            table.end(flows)

    def surroundings(
        self, addresses: Collection[IPNetwork], links: Collection[str]
    ) -> Surroundings:
        """What others have that concerns these addresses, and settings of these links."""
        look = Look(tuple(addresses), tuple(links), self._own, expected=self._expected)
        return surroundings(look)

    def inside(self, netns_fd: int) -> Surroundings:
        """What is inside a pod's network namespace, whoever made it."""
        return call_in(netns_fd, lambda: surroundings(EVERYTHING))
