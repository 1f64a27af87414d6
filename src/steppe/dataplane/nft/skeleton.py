"""The fixed part of table `inet steppe`: every node has these sets, maps, chains and rules.

Objects of the cluster never add a rule. They add elements to the sets named here.

    prerouting    what pods may send at all (edges.py)
    prerouting, output ─▶ services: @service4 gives the chain (service_chains.py)
                             ├─▶ spread-3, …  choose a number ─▶ to-endpoint: @endpoint4
                             └─▶ refuse       a Service's address, but none of its ports
    input, forward    who may send tunnels' packets; errors that pods tell of (edges.py)
    forward       drop packets of the cluster that conntrack finds invalid
    forward, input ─▶ egress4    what a pod of this node may send (policy_chains.py)
    forward        ─▶ ingress4   what a pod of this node may receive
                             ├─▶ @ingress_peer4 gives the number of the peer's identity
                             └─▶ @ingress_allowed4 what it may do ─▶ ingress-allow-tcp-80, …
    postrouting   masquerade what a chain has marked, hairpins, and pods that leave the cluster

Services are in nat chains, which the kernel runs once for a connection. The policy chains run after
the destination is translated and before the source is, so they see the addresses of pods.
"""

from typing import Literal

from steppe.dataplane.nft.edges import edges, errors_of_pods, tunnels_forwarded
from steppe.dataplane.nft.policy_chains import accepted, direction_chains, entry, ports_chain
from steppe.dataplane.nft.service_chains import (
    FAMILIES,
    MASQUERADE,
    REFUSE,
    TO_ENDPOINT,
    TO_LOCAL_ENDPOINT,
    frontend,
    service_chain,
    to_endpoint,
)
from steppe.dataplane.nft.sets import (
    CLUSTER,
    CLUSTER_IP,
    ENDPOINT,
    FAMILY_SETS,
    HAIRPIN,
    LOCAL_ENDPOINT,
    LOCAL_PODS,
    POLICED,
    SERVICE,
    SERVICE_RANGE,
    TUNNEL_LINK,
    TUNNEL_PORT,
    TUNNEL_PROTOCOL,
)
from steppe.state.nft import (
    Chain,
    Dispatch,
    Go,
    Hook,
    Marked,
    Match,
    Reject,
    Rule,
    Skeleton,
)


def _policies() -> tuple[Chain, ...]:
    # Packets from a pod to its own node do not pass `forward` but `input`. Packets from the node
    # to its pod pass `output`, which has no policy chain: "Traffic is allowed to a pod if … the
    # traffic source is the pod's local node" (NetworkPolicySpec.ingress).
    return (
        *direction_chains("egress", "saddr", "daddr"),
        *direction_chains("ingress", "daddr", "saddr"),
        entry("egress-forward", Hook("filter", "forward", 1), "egress", "saddr", "daddr"),
        entry("egress-input", Hook("filter", "input", 1), "egress", "saddr", "daddr"),
        entry("ingress-forward", Hook("filter", "forward", 2), "ingress", "daddr", "saddr"),
        accepted(),
    )


def _template(name: str) -> Chain | None:
    return service_chain(name) or ports_chain(name)


def _services() -> Chain:
    return Chain(
        "services",
        (
            *(Rule((), Dispatch(frontend(p), SERVICE.name(v))) for v, p in FAMILIES),
            *(
                Rule(
                    (Match(f"{p} daddr", set=CLUSTER_IP.name(v)),),
                    Go("goto", REFUSE),
                    "a Service without this port",
                )
                for v, p in FAMILIES
            ),
            *(
                Rule(
                    (Match(f"{p} daddr", set=SERVICE_RANGE.name(v)),),
                    "drop",
                    "no Service's address",
                )
                for v, p in FAMILIES
            ),
        ),
    )


def _refuse() -> Chain:
    return Chain(
        REFUSE,
        (
            Rule((Match("meta l4proto", literal="tcp"),), Reject("tcp reset")),
            Rule((), Reject("icmpx port-unreachable")),
        ),
    )


def _postrouting() -> Chain:
    marked = Rule((Marked(MASQUERADE),), "masquerade", "as a Service's chain asked")
    hairpins = (
        Rule(
            (Match(f"{p} saddr . {p} daddr", set=HAIRPIN.name(v)),), "masquerade", "a pod to itself"
        )
        for v, p in FAMILIES
    )
    leaving = (
        Rule(
            (
                Match(f"{p} saddr", set=LOCAL_PODS.name(v)),
                Match(f"{p} daddr", set=CLUSTER.name(v), negate=True),
            ),
            "masquerade",
            "pods leave the cluster with the node's address",
        )
        for v, p in FAMILIES
    )
    return Chain("postrouting", (marked, *hairpins, *leaving), Hook("nat", "postrouting", 100))


def _forward() -> Chain:
    """Drop invalid packets of the cluster. A TCP segment that conntrack finds invalid, such as one
    far outside its window, is not translated back: its receiver would not know the connection and
    answer with a reset, which ends the connection.

    Nearly all packets are of connections that are known: they meet no rule after the one for these.
    """
    untranslated = (
        Rule(
            (
                Match("ct state", literal="invalid"),
                Match(f"{protocol} saddr", set=CLUSTER.name(version)),
            ),
            "drop",
            "would reach its receiver untranslated",
        )
        for version, protocol in FAMILIES
    )
    known = Rule((Match("ct state", literal="established"),), "accept")
    rules = (*tunnels_forwarded(), known, errors_of_pods(), *untranslated)
    return Chain("forward", rules, Hook("filter", "forward", 0))


def _entry(point: Literal["prerouting", "output"]) -> Chain:
    return Chain(point, (Rule((), Go("jump", "services")),), Hook("nat", point, -100))


SKELETON = Skeleton(
    table="steppe",
    sets=(
        POLICED.declaration(4),
        TUNNEL_LINK.declaration(4),
        TUNNEL_PORT.declaration(4),
        TUNNEL_PROTOCOL.declaration(4),
        *(declared.declaration(version) for version, _ in FAMILIES for declared in FAMILY_SETS),
    ),
    chains=(
        *edges(),
        _entry("prerouting"),
        _entry("output"),
        _services(),
        to_endpoint(TO_ENDPOINT, ENDPOINT),
        to_endpoint(TO_LOCAL_ENDPOINT, LOCAL_ENDPOINT),
        _refuse(),
        _forward(),
        _postrouting(),
        *_policies(),
    ),
    template=_template,
)
