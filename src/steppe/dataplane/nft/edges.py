"""The edges of a node: what may come in from where, before anything else looks at the packet.

    prerouting ─▶ from-pod       a pod sends from its own addresses, and is no router of its node's

Pod links are known by their group (state/workload.py). Which addresses a pod has, its routes say:
"fib saddr . iif oif missing" is true unless the route back to the sender leads out by the link that
the packet came in by (nft(8), FIB EXPRESSIONS). So a link without routes lets nothing in, and no
element has to be there before a rule is.
"""

from steppe.state.nft import Chain, Go, Hook, Match, Rule
from steppe.state.workload import POD_GROUP

FROM_POD = "from-pod"
RAW = -300
"""Behind the reassembly of fragments (-400) and before conntrack (-200): what is not let in takes
no place there (NF_IP_PRI_* in linux/netfilter_ipv4.h).
"""
STRAY = "fib saddr . iif oif"
"""The link by which the packet's sender is reached, if that is the one that it came in by."""

_DHCP = "a DHCP answer: no pod serves its node"
_ROUTER = "only routers say so, and no pod is its node's router"


def edges() -> tuple[Chain, ...]:
    """The base chain that every packet of others comes to first, and what it leads to."""
    return (_entry(), _from_pod())


def _entry() -> Chain:
    pods = Rule((Match("meta iifgroup", literal=str(POD_GROUP)),), Go("goto", FROM_POD))
    return Chain("edges", (pods,), Hook("filter", "prerouting", RAW))


def _from_pod() -> Chain:
    """What is asked of each packet comes first; TCP has no more to fear of.

    A pod's neighbour entries are permanent, and so are its node's for it. To ask for an address
    (ARP, neighbour solicitation) or to answer is left to it, from its own addresses; link-local
    ones have no route, so nobody can fill the node's neighbour table from them.
    """
    return Chain(
        FROM_POD,
        (
            Rule((Match(STRAY, literal="missing"),), "drop", "no address of this pod"),
            Rule((Match("meta l4proto", literal="tcp"),), "return"),
            # Where there is none to look up, the answer of `fib` is always yes.
            Rule((Match("ip saddr", literal="0.0.0.0/8"),), "drop", "no address of this pod"),
            Rule((Match("ip daddr", literal="255.255.255.255"),), "drop", "the wire has two ends"),
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
