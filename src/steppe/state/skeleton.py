"""The fixed part of table `inet steppe`: every node has these sets, chains and rules.

Objects of the cluster never add a rule. They add elements to the sets named here.
"""

from steppe.state.nft import Chain, Match, Rule, Set, Skeleton

_FAMILIES = ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr"))


def _rule(version: int, protocol: str) -> Rule:
    return Rule(
        (
            Match(f"{protocol} saddr", set=f"local_pods{version}"),
            Match(f"{protocol} daddr", set=f"cluster{version}", negate=True),
        ),
        "masquerade",
        "pods leave the cluster with the node's address",
    )


SKELETON = Skeleton(
    table="steppe",
    sets=tuple(
        Set(f"{name}{version}", type_, interval=True, comment=comment)
        for version, _, type_ in _FAMILIES
        for name, comment in (
            ("local_pods", "this node's pod prefixes"),
            ("cluster", "every node's pod prefixes and addresses"),
        )
    ),
    chains=(
        Chain(
            "postrouting",
            "nat",
            "postrouting",
            100,
            tuple(_rule(version, protocol) for version, protocol, _ in _FAMILIES),
        ),
    ),
)
