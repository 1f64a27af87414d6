"""What a node's own object claims in its own kernel with every fabric."""

from collections.abc import Iterator

from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Node
from steppe.kube.prefixes import no_prefix
from steppe.state.claim import Claim
from steppe.state.node import NodeClaim
from steppe.state.route import Route, RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

CLOSE_WAIT = "net/netfilter/nf_conntrack_tcp_timeout_close_wait"
CLOSE_WAIT_SECONDS = "3600"
"""A connection that one side has closed for sending may go on for long in the other direction. The
kernel's 60 s would end it when it is translated; kube-proxy sets an hour as well
(--conntrack-tcp-timeout-close-wait)."""


def lacks_prefix(here: Node) -> Problem:
    """That nothing gives the node a prefix."""
    return Problem(
        no_prefix(here.ref),
        "no pod prefix yet, so pods cannot start here; run steppe's controller, or "
        "kube-controller-manager with --allocate-node-cidrs",
    )


def local_claims(here: Node) -> Iterator[NodeClaim]:
    """Forwarding for each family in use, and no way out for unused addresses of the prefix."""
    for prefix in here.prefixes:
        cause = prefix.cause
        yield from _forwarding(here, prefix.version, cause)
        # Without it, a packet to an address that no pod has would follow the default route.
        yield Claim(RouteKey(prefix.network), Route("unreachable"), cause, here.created)


def connection_claims(here: Node) -> Iterator[NodeClaim]:
    """The settings of connection tracking that translated connections need; why each of the others
    is left alone: docs/decisions/0036-connection-tracking.md.
    """
    cause = Cause(here.ref, "metadata.name")
    yield Claim(SysctlKey(CLOSE_WAIT), Sysctl(CLOSE_WAIT_SECONDS), cause, here.created)


def _forwarding(here: Node, version: int, cause: Cause) -> Iterator[NodeClaim]:
    if version == 4:
        yield Claim(SysctlKey("net/ipv4/ip_forward"), Sysctl("1"), cause)
        return
    yield Claim(SysctlKey("net/ipv6/conf/all/forwarding"), Sysctl("1"), cause)
    if here.underlay.takes_advertisements:
        # "Overrule forwarding behaviour. Accept Router Advertisements even if forwarding is
        # enabled" (kernel, networking/ip-sysctl, accept_ra=2): a node that got its default route
        # by advertisement would lose it otherwise. 0 was set by somebody, and stays.
        path = f"net/ipv6/conf/{here.underlay.link}/accept_ra"
        yield Claim(SysctlKey(path), Sysctl("2"), cause)
