"""What is in a node's network beside Steppe's tables: tracked flows, and what others put there.

Of others' things it tells those that may drop our packets, or lead them another way. What cannot
be read is told as such: an audit that has not looked must not say that nothing is there.
"""

from collections.abc import Collection, Iterable, Iterator

import msgspec

from steppe.drivers.conntrack import Conntrack
from steppe.drivers.netlink.socket import NetlinkError
from steppe.drivers.nftables.library import NftError
from steppe.drivers.nftables.others import Table, dropping
from steppe.drivers.preferred import preferred
from steppe.drivers.sysctl import Sysctls
from steppe.net.flow import Flow
from steppe.net.packet import Protocol
from steppe.state.route import RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

# "The max value from conf/{all,interface}/rp_filter is used when doing source validation on the
# {interface}." (kernel, networking/ip-sysctl, rp_filter)
_STRICT = "strict: what comes in by another link than its answers would take is dropped"
_BEFORE_OURS = "another program's: it is taken before ours, for its metric is lower"


class Other(msgspec.Struct, frozen=True):
    """Something that is not ours: what it is, and what it does."""

    entry: str
    text: str


class KernelInspection:
    """Of the caller's network namespace; `own`: the nftables table that is ours."""

    def __init__(self, own: Table, protocols: Collection[Protocol]) -> None:
        """`protocols`: of which flows are tracked that may have to end."""
        self._own = own
        self._protocols = protocols

    def tracked(self) -> tuple[Flow, ...]:
        """The flows of these protocols that are tracked; KernelError where they cannot be read."""
        with Conntrack() as table:
            return table.flows(self._protocols)

    def end(self, flows: Iterable[Flow]) -> None:
        """Forget these flows."""
        with Conntrack() as table:
            table.end(flows)

    def others(self, routes: Iterable[RouteKey], link: str) -> tuple[Other, ...]:
        """Others' rules that drop, settings that overrule ours, routes taken before `routes`."""
        return (*self._rules(), *_settings(link), *_taken_first(routes))

    def _rules(self) -> Iterator[Other]:
        try:
            for found in dropping(self._own):
                yield Other(f"{found.chain} (hook {found.hook})", found.text)
        except NftError as error:
            yield Other("nftables", f"others' rules cannot be read: {error}")


def _taken_first(routes: Iterable[RouteKey]) -> Iterator[Other]:
    try:
        for info in preferred(routes):
            yield Other(f"route {info.key} {info.route}", _BEFORE_OURS)
    except NetlinkError as error:
        yield Other("routes", f"others' routes cannot be read: {error}")


def _settings(link: str) -> Iterator[Other]:
    all_links = SysctlKey("net/ipv4/conf/all/rp_filter")
    keys = [all_links]
    if link:
        keys.append(SysctlKey(f"net/ipv4/conf/{link}/rp_filter"))
    for key, value in Sysctls().read(keys).items():
        if value == Sysctl("1"):
            yield Other(f"{key} {value}", _STRICT)
