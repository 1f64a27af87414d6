"""What a node's BIRD says: values that drivers/bird reads and `judge` looks at."""

import msgspec

from steppe.net.address import IPNetwork


class SeenSession(msgspec.Struct, frozen=True):
    """A BGP protocol as BIRD shows it. `state`: Idle, Connect, Active, OpenSent, OpenConfirm,
    Established or Down; Passive where BIRD waits for a neighbour on a link. `error` is what it says
    of the last session. `imported`, `exported`: routes of both families together.
    """

    name: str
    state: str
    error: str = ""
    since: str = ""
    imported: int = 0
    exported: int = 0

    @property
    def is_established(self) -> bool:
        return self.state == "Established"


class LearnedRoute(msgspec.Struct, frozen=True):
    """A prefix that BIRD has, the protocol that it is from, and its way (`via A on eth0`)."""

    prefix: IPNetwork
    protocol: str
    way: str = ""


class Md5Faults(msgspec.Struct, frozen=True):
    """Packets that the kernel has dropped for their MD5 signature, on all sessions of the node:
    without one that was expected, with one that was not, with a wrong one (/proc/net/netstat).
    """

    missing: int = 0
    unexpected: int = 0
    wrong: int = 0

    def since(self, before: "Md5Faults") -> "Md5Faults":
        return Md5Faults(
            self.missing - before.missing,
            self.unexpected - before.unexpected,
            self.wrong - before.wrong,
        )
