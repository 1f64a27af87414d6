"""The edges of a node: what may come in from where, before anything else looks at the packet.

    prerouting ─▶ from-pod       a pod sends from its own addresses, and is no router of its node's
               ─▶ from-tunnel    out of a tunnel come its node's own packets, and its pods'
    input         arriving       no broadcast from pods
               ─▶ tunnels        tunnels' packets come from other nodes
    forward ─▶ tunnels-forwarded   tunnels begin at nodes: none is passed on (skeleton.py)
    input, forward ─▶ pod-errors   a pod tells of errors in its own connections only

Pod links are known by their group (state/workload.py). Which addresses a pod has, its routes say:
"fib saddr . iif oif missing" is true unless the route back to the sender leads out by the link that
the packet came in by (nft(8), FIB EXPRESSIONS). So a link without routes lets nothing in, and no
element has to be there before a rule is. What is asked of tunnels begins with an element: it comes
in one transaction with those that say who is behind them.
"""

from collections.abc import Iterator

from steppe.dataplane.nft.service_chains import FAMILIES, MASQUERADE
from steppe.dataplane.nft.sets import (
    CLUSTER,
    OWN,
    TUNNEL_LINK,
    TUNNEL_PEER,
    TUNNEL_PORT,
    TUNNEL_PROTOCOL,
    TUNNEL_SOURCE,
)
from steppe.state.nft import Chain, Clear, Go, Hook, Marked, Match, Recall, Rule
from steppe.state.workload import POD_GROUP

FROM_POD = "from-pod"
FROM_TUNNEL = "from-tunnel"
POD_ERRORS = "pod-errors"
TUNNELS = "tunnels"
TUNNELS_FORWARDED = "tunnels-forwarded"
RAW = -300
"""Behind the reassembly of fragments (-400) and before conntrack (-200): what is not let in takes
no place there (NF_IP_PRI_* in linux/netfilter_ipv4.h).
"""
STRAY = "fib saddr . iif oif"
"""The link by which the packet's sender is reached, if that is the one that it came in by."""

_TUNNELLED = (
    Match("udp dport", set=TUNNEL_PORT.name(4)),
    Match("meta l4proto", set=TUNNEL_PROTOCOL.name(4)),
)
_DHCP = "a DHCP answer: no pod serves its node"
_ROUTER = "only routers say so, and no pod is its node's router"
_TWO_ENDS = "a pod's wire has two ends, so nobody is to be called together"
_NOBODY = "no address of this pod"
_FROM_PODS = Match("meta iifgroup", literal=str(POD_GROUP))
_LOOPBACK = Match("ip daddr", literal="127.0.0.0/8")
"""Where `route_localnet` is on, the kernel takes this from other links too (CVE-2020-8558)."""


def edges() -> tuple[Chain, ...]:
    """The base chain that every packet of others comes to first, what it leads to, and the one
    that tunnels' packets come to where they end.
    """
    return (
        *(_entry(), _from_pod(), _from_tunnel(), _pod_errors()),
        *(_tunnels(), _tunnels_forwarded(), _arriving()),
    )


def _entry() -> Chain:
    pods = Rule((_FROM_PODS,), Go("goto", FROM_POD))
    tunnels = Rule((Match("meta iifname", set=TUNNEL_LINK.name(4)),), Go("goto", FROM_TUNNEL))
    others = (Match("meta iifname", literal="lo", negate=True), _LOOPBACK)
    to_loopback = Rule(others, "drop", "loopback is on no wire")
    return Chain("edges", (pods, tunnels, to_loopback), Hook("filter", "prerouting", RAW))


def _from_pod() -> Chain:
    """What is asked of each packet comes first; TCP has no more to fear of.

    A pod's neighbour entries are permanent, and so are its node's for it. To ask for an address
    (ARP, neighbour solicitation) or to answer is left to it, from its own addresses; link-local
    ones have no route, so nobody can fill the node's neighbour table from them.
    """
    return Chain(
        FROM_POD,
        (
            Rule((Match(STRAY, literal="missing"),), "drop", _NOBODY),
            Rule((_LOOPBACK,), "drop", "loopback is on no wire"),
            Rule((Match("meta l4proto", literal="tcp"),), "return"),
            # Where there is none to look up, the answer of `fib` is always yes.
            Rule((Match("ip saddr", literal="0.0.0.0/8"),), "drop", _NOBODY),
            Rule((Match("ip6 saddr", literal="::/128"),), "drop", _NOBODY),
            Rule((Match("ip daddr", literal="255.255.255.255/32"),), "drop", _TWO_ENDS),
            *(Rule((Match("udp dport", literal=str(port)),), "drop", _DHCP) for port in (68, 546)),
            Rule((Match("icmp type", literal="redirect"),), "drop", _ROUTER),
            Rule((Match("icmp type", literal="router-advertisement"),), "drop", _ROUTER),
            Rule((Match("icmpv6 type", literal="nd-redirect"),), "drop", _ROUTER),
            Rule((Match("icmpv6 type", literal="nd-router-advert"),), "drop", _ROUTER),
            Rule(
                (Match("icmpv6 type", literal="nd-router-solicit"),),
                "drop",
                "no router answers here, and each would take a neighbour entry",
            ),
        ),
    )


def _tunnels() -> Chain:
    """Who has sent a tunnel's packet is written into its priority, which unwrapping leaves alone
    (skb_scrub_packet in net/core/skbuff.c): there is nothing else that `from-tunnel` could ask.
    """
    return Chain(
        TUNNELS,
        (
            Rule((), Clear()),
            *(Rule((), Recall(f"{p} saddr", TUNNEL_PEER.name(v))) for v, p in FAMILIES),
            Rule(
                (Match("meta priority", literal="none"),), "drop", "tunnels come from other nodes"
            ),
        ),
    )


def _from_tunnel() -> Chain:
    return Chain(
        FROM_TUNNEL,
        (
            *(
                Rule(
                    (Match(f"{p} saddr . meta priority", set=TUNNEL_SOURCE.name(v), negate=True),),
                    "drop",
                    "not of the node that has sent it",
                )
                for v, p in FAMILIES
            ),
            Rule((), Clear()),
            Rule((_LOOPBACK,), "drop", "loopback is on no wire"),
        ),
    )


def _pod_errors() -> Chain:
    """An ICMP error is "related" to the connection that it quotes, whoever has sent it, and for
    that policies let it through (policy_chains.py). Routers tell of errors in others' connections;
    pods only where they are one end, be it behind a Service.
    """
    own = (
        Rule((Match(f"{p} saddr . ct {way} {p} saddr", set=OWN.name(v)),), "return")
        for v, p in FAMILIES
        for way in ("original", "reply")
    )
    return Chain(POD_ERRORS, (*own, Rule((), "drop", "an error in a connection of others")))


def errors_of_pods() -> Rule:
    """What leads to that chain, in a base chain behind conntrack and before policies."""
    related = Match("ct state", literal="related")
    return Rule((related, _FROM_PODS), Go("jump", POD_ERRORS))


def _arriving() -> Chain:
    return Chain(
        "arriving",
        (
            errors_of_pods(),
            Rule(
                (_FROM_PODS, Match("fib daddr type", literal="broadcast")),
                "drop",
                _TWO_ENDS,
            ),
            *(Rule((tunnelled,), Go("goto", TUNNELS)) for tunnelled in _TUNNELLED),
        ),
        Hook("filter", "input", 0),
    )


def tunnels_forwarded() -> Iterator[Rule]:
    """What leads to the chain that drops tunnels' packets, in a base chain at `forward`.

    A chain of its own, so that other packets meet no more than these rules for it.
    """
    for tunnelled in _TUNNELLED:
        yield Rule((tunnelled,), Go("jump", TUNNELS_FORWARDED))


def _tunnels_forwarded() -> Chain:
    """What a node sends on for others takes its address where it leaves the cluster, or as a
    Service's chain asks; its peers would take it for a tunnel's.
    """
    return Chain(
        TUNNELS_FORWARDED,
        tuple(
            Rule(also, "drop", "tunnels begin at nodes, not behind them")
            for v, p in FAMILIES
            for outside in (Match(f"{p} daddr", set=CLUSTER.name(v), negate=True),)
            for also in (
                (Match(f"{p} daddr", set=TUNNEL_PEER.name(v)),),
                (_FROM_PODS, outside),
                (Marked(MASQUERADE), outside),
            )
        ),
    )
