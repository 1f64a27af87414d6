"""The fixed part of table `inet steppe`: every node has these sets, maps, chains and rules.

Objects of the cluster never add a rule. They add elements to the sets named here.

    prerouting, output ─▶ services: @service4 says which chain (service_chains.py)
                             ├─▶ spread-3, …  choose a number ─▶ to-endpoint: @endpoint4
                             └─▶ refuse       a Service's address, but no port of it
    forward       nothing of the cluster's that conntrack cannot place
    forward, input ─▶ egress4    what a pod of this node may send (policy_chains.py)
    forward        ─▶ ingress4   what a pod of this node may receive
                             ├─▶ @ingress_peer4 says who the peer is, by a number
                             └─▶ @ingress_allowed4 what that may do ─▶ ingress-allow-tcp-80, …
    postrouting   masquerade what a chain has marked, hairpins, and pods that leave the cluster

Services are in nat chains, where the kernel asks once a connection; policy stands between their
destination's translation and that of the sender, so it sees pods.
"""

from collections.abc import Iterator
from typing import Literal

from steppe.dataplane.nft.denied import denied_sets
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
from steppe.state.nft import (
    Chain,
    Dispatch,
    Go,
    Hook,
    Marked,
    Match,
    Reject,
    Rule,
    Set,
    Skeleton,
)

_FRONTEND = "inet_proto . inet_service"


def _sets(version: int, address: str) -> Iterator[Set]:
    service = f"{address} . {_FRONTEND}"
    yield Set(f"local_pods{version}", address, True, "this node's pod prefixes")
    yield Set(f"cluster{version}", address, True, "every node's pod prefixes and addresses")
    yield Set(f"hairpin{version}", f"{address} . {address}", comment="a pod that calls itself")
    yield Set(f"cluster_ip{version}", address, comment="the cluster IPs of Services")
    yield Set(f"service_range{version}", address, True, "where cluster IPs are taken from")
    yield Set(
        f"admitted{version}",
        f"{address} . {service}",
        True,
        "source . Service port: loadBalancerSourceRanges",
    )
    yield from _maps(version, address, service)


def _maps(version: int, address: str, service: str) -> Iterator[Set]:
    # A choice is a number. nft has no name for the type of one, but it does for a priority's.
    endpoint, backend = f"{service} . classid", f"{address} . inet_service"
    yield Set(
        f"service{version}",
        service,
        comment="Service port: which chain decides",
        data="verdict",
    )
    for name, comment in (
        ("endpoint", "Service port . choice: endpoint"),
        ("local_endpoint", "the same of this node's own, for externalTrafficPolicy Local"),
    ):
        yield Set(f"{name}{version}", endpoint, comment=comment, data=backend)
    for name, comment in (
        ("sticky", "sessionAffinity"),
        ("sticky_local", "the same for externalTrafficPolicy Local"),
    ):
        yield Set(
            f"{name}_id{version}", endpoint, comment=f"{comment}: choice to id", data="classid"
        )
        yield Set(f"{name}_endpoint{version}", endpoint, comment=f"{comment}: id", data=backend)
    yield Set(
        f"affinity{version}",
        f"{address} . {service}",
        comment="source . Service port: the id it was given",
        data="classid",
        dynamic=True,
    )


def _policy_sets(version: int, address: str) -> Iterator[Set]:
    # A number, which nft has a name for the type of only where it is a priority.
    yield Set(f"itself{version}", f"{address} . {address}", comment="1: itself", data="classid")
    for direction in ("ingress", "egress"):
        yield from denied_sets(direction, version, address)
        yield Set(f"{direction}_guarded{version}", address, comment="pods with policies")
        yield Set(
            f"{direction}_peer{version}",
            address,
            comment="peer: identity",
            data="classid",
        )
        yield Set(
            f"{direction}_block{version}",
            address,
            interval=True,
            comment="peer prefix: identity",
            data="classid",
        )
        yield Set(
            f"{direction}_allowed{version}",
            f"classid . {address}",
            comment="identity . pod: what it lets through",
            data="verdict",
        )
        yield Set(
            f"{direction}_anyone{version}",
            address,
            comment="pod: what it lets through for all other identities",
            data="verdict",
        )


def _policies() -> tuple[Chain, ...]:
    # What a pod sends to its own node never comes to `forward`. What its own node sends to it
    # goes by `output`, where no chain of policy is: "Traffic is allowed to a pod if … the
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
            *(Rule((), Dispatch(frontend(p), f"service{v}")) for v, p, _ in FAMILIES),
            *(
                Rule(
                    (Match(f"{p} daddr", set=f"cluster_ip{v}"),),
                    Go("goto", REFUSE),
                    "a Service without this port",
                )
                for v, p, _ in FAMILIES
            ),
            *(
                Rule(
                    (Match(f"{p} daddr", set=f"service_range{v}"),), "drop", "no Service's address"
                )
                for v, p, _ in FAMILIES
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
        Rule((Match(f"{p} saddr . {p} daddr", set=f"hairpin{v}"),), "masquerade", "a pod to itself")
        for v, p, _ in FAMILIES
    )
    leaving = (
        Rule(
            (
                Match(f"{p} saddr", set=f"local_pods{v}"),
                Match(f"{p} daddr", set=f"cluster{v}", negate=True),
            ),
            "masquerade",
            "pods leave the cluster with the node's address",
        )
        for v, p, _ in FAMILIES
    )
    return Chain("postrouting", (marked, *hairpins, *leaving), Hook("nat", "postrouting", 100))


def _forward() -> Chain:
    """A segment that conntrack cannot place, such as one far outside its window, is not translated
    back. Its receiver would see a stranger and answer with a reset, which ends the connection.
    """
    return Chain(
        "forward",
        tuple(
            Rule(
                (
                    Match("ct state", literal="invalid"),
                    Match(f"{protocol} saddr", set=f"cluster{version}"),
                ),
                "drop",
                "would reach its receiver untranslated",
            )
            for version, protocol, _ in FAMILIES
        ),
        Hook("filter", "forward", 0),
    )


def _entry(point: Literal["prerouting", "output"]) -> Chain:
    return Chain(point, (Rule((), Go("jump", "services")),), Hook("nat", point, -100))


SKELETON = Skeleton(
    table="steppe",
    sets=(
        Set("policed", "classid", comment="namespaces with policies, hashed; 0: they are known"),
        *(
            spec
            for version, _, address in FAMILIES
            for spec in (*_sets(version, address), *_policy_sets(version, address))
        ),
    ),
    chains=(
        _entry("prerouting"),
        _entry("output"),
        _services(),
        to_endpoint(TO_ENDPOINT, "endpoint"),
        to_endpoint(TO_LOCAL_ENDPOINT, "local_endpoint"),
        _refuse(),
        _forward(),
        _postrouting(),
        *_policies(),
    ),
    template=_template,
)
