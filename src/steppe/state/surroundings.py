"""What a node's network has beside Steppe's tables, as values: what audit judges and a walk uses.

Each type is one kind of thing that another program, or a hand, can put there. The words are those
of ip-rule(8), ip-route(8), ip-xfrm(8) and nft(8).
"""

from typing import Literal

import msgspec

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress, IPNetwork
from steppe.state.route import Route, RouteKey
from steppe.state.sysctl import Sysctl, SysctlKey

Ports = tuple[int, int]
"""First and last port."""


class RoutingRule(msgspec.Struct, frozen=True):
    """One line of `ip rule`, whoever made it; a selector that is not used is None, "" or 0.

    `unknown` are selectors that depend on more than the packet, in ip-rule's words (`uidrange`,
    `l3mdev`): whether the rule matches cannot be told. `suppress` is `suppress_prefixlength`, -1
    for none: what the table finds with a prefix no longer than this does not count.
    """

    version: int
    priority: int
    action: Literal["lookup", "blackhole", "unreachable", "prohibit", "goto", "nop"] = "lookup"
    routing_table: int = 0
    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    iif: str = ""
    oif: str = ""
    mark: int = 0
    mask: int = 0
    inverted: bool = False
    protocol: str = ""
    source_ports: Ports | None = None
    destination_ports: Ports | None = None
    unknown: tuple[str, ...] = ()
    suppress: int = -1
    target: int = 0
    origin: int = 0

    @property
    def is_special(self) -> bool:
        """Whether it is more than one of the three that the kernel begins with."""
        return self.priority not in (0, 32766, 32767) or self.action != "lookup"

    def __str__(self) -> str:
        words = [f"{self.priority}:", *(["not"] if self.inverted else [])]
        words.append(f"from {self.source or 'all'}")
        words += [f"to {self.destination}"] if self.destination else []
        words += [f"fwmark {self.mark:#x}/{self.mask:#x}"] if self.mask else []
        words += [f"iif {self.iif}"] if self.iif else []
        words += [f"oif {self.oif}"] if self.oif else []
        words += [f"ipproto {self.protocol}"] if self.protocol else []
        words += [f"sport {_ports(self.source_ports)}"] if self.source_ports else []
        words += [f"dport {_ports(self.destination_ports)}"] if self.destination_ports else []
        words += self.unknown
        words.append(f"lookup {self.routing_table}" if self.action == "lookup" else self.action)
        words += [str(self.target)] if self.action == "goto" else []
        words += [f"suppress_prefixlength {self.suppress}"] if self.suppress >= 0 else []
        return " ".join(words)


class OtherRoute(msgspec.Struct, frozen=True):
    """A route that Steppe did not make; `origin` is its rtm_protocol (2: the kernel's own).

    `because`: the objects whose BGP sessions it was learned by, where an agent knows them.
    """

    key: RouteKey
    route: Route
    origin: int = 0
    because: tuple[Cause, ...] = ()


class SeenLink(msgspec.Struct, frozen=True):
    """A link of the node: whether it is up and carries packets, and how large ones."""

    name: str
    mtu: int
    mac: str = ""
    up: bool = True
    carrier: bool = True


class Setting(msgspec.Struct, frozen=True):
    """A sysctl that forwarding of packets depends on."""

    key: SysctlKey
    value: Sysctl


class OtherNeighbour(msgspec.Struct, frozen=True):
    """A permanent neighbour entry on a link that is not Steppe's."""

    link: str
    address: IPAddress
    mac: str


class Matching(msgspec.Struct, frozen=True):
    """Which packets a rule takes, as far as its conditions are understood; () and "" is any.

    `partial`: it has further conditions, so it may take fewer than these. Links are names, or the
    beginning of names with a `*` at the end.
    """

    version: int = 0
    sources: tuple[IPNetwork, ...] = ()
    destinations: tuple[IPNetwork, ...] = ()
    protocol: str = ""
    ports: tuple[Ports, ...] = ()
    iif: str = ""
    oif: str = ""
    partial: bool = False


class PacketRule(msgspec.Struct, frozen=True):
    """A rule of another program's at a hook that does more than let packets pass.

    `chain` is where it stands (`ip nat POSTROUTING`); `does`: drop, reject, dnat, snat, notrack,
    mark (of these `bits`), queue, or `unread` for what was not looked into; in Steppe's own table
    also `accept`.
    """

    chain: str
    hook: str
    text: str
    does: str
    matching: Matching = Matching()
    bits: int = 0


class Altered(msgspec.Struct, frozen=True):
    """What is not as Steppe makes it in the table of its own rules.

    `gone`: there is no table; `asleep`: it is dormant, so no packet meets it (nft(8), TABLES).
    `missing`: of a chain this many rules are not there, `text` is the first of them; `whole`: none
    is. `added`: a rule, or a base chain's policy, that is not Steppe's; `rules` is what it does on
    each way to it, where `does` is `accept` if it only takes packets past the rest of the chain.
    """

    how: Literal["gone", "asleep", "missing", "added"]
    chain: str = ""
    text: str = ""
    missing: int = 0
    whole: bool = False
    rules: tuple[PacketRule, ...] = ()


class XfrmPolicy(msgspec.Struct, frozen=True):
    """An IPsec policy: `protect` what it selects (by its templates), or `block` it."""

    source: IPNetwork
    destination: IPNetwork
    direction: Literal["in", "out", "fwd"]
    action: Literal["protect", "block", "allow"]
    priority: int = 0
    protocol: str = ""
    ports: Ports | None = None

    def __str__(self) -> str:
        proto = f" proto {self.protocol}" if self.protocol else ""
        port = f" dport {_ports(self.ports)}" if self.ports else ""
        head = f"src {self.source} dst {self.destination}{proto}{port} dir {self.direction}"
        return (
            f"{head} action {'allow, with templates' if self.action == 'protect' else self.action}"
        )


class Unread(msgspec.Struct, frozen=True):
    """A part that could not be read, and why: nothing may be concluded from its absence."""

    part: str
    why: str


class Surroundings(msgspec.Struct, frozen=True):
    """All of it, of one network namespace; and of those inside the node's pods, by pod link."""

    rules: tuple[RoutingRule, ...] = ()
    routes: tuple[OtherRoute, ...] = ()
    links: tuple[SeenLink, ...] = ()
    settings: tuple[Setting, ...] = ()
    neighbours: tuple[OtherNeighbour, ...] = ()
    packet_rules: tuple[PacketRule, ...] = ()
    xfrm: tuple[XfrmPolicy, ...] = ()
    altered: tuple[Altered, ...] = ()
    pods: tuple["InPod", ...] = ()
    unread: tuple[Unread, ...] = ()

    def value(self, path: str) -> str:
        """The value of a setting; "" where it was not read."""
        return next((str(s.value.value) for s in self.settings if s.key.path == path), "")

    def link(self, name: str) -> SeenLink | None:
        return next((link for link in self.links if link.name == name), None)


class InPod(msgspec.Struct, frozen=True):
    """What is inside the pod behind this link, which has the name `interface` in there."""

    link: str
    inside: Surroundings
    interface: str = "eth0"


SURROUNDING = (
    RoutingRule,
    OtherRoute,
    SeenLink,
    Setting,
    OtherNeighbour,
    Matching,
    PacketRule,
    Altered,
    XfrmPolicy,
    Unread,
    InPod,
    Surroundings,
)
"""Every type of it, so that documents can name them."""


def _ports(ports: Ports) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}-{last}"
