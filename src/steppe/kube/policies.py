"""Network policies, checked: peers and ports in one normal form for both kinds of policy.

Only this module handles "missing" and "empty" fields: a rule without peers gets the peer Anyone, a
rule without ports gets the port AnyTraffic, and an empty tuple of either matches nothing. A part
that cannot be understood fails closed and becomes a Problem; the cases are listed in
docs/decisions/0009-policy-semantics.md.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, Protocol, get_args

import msgspec

from steppe.kube import policy_wire as wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.policy_limits import Blocks, too_entangled, too_many
from steppe.kube.selectors import EVERYTHING, Selector, selector_from
from steppe.net.address import IPNetwork, holds, parse_prefix
from steppe.net.ports import LAST_PORT, PortProtocol, PortRange

Direction = Literal["ingress", "egress"]


class Namespace(msgspec.Struct, frozen=True):
    """A namespace with what policies use of it."""

    name: str
    labels: dict[str, str] = {}

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("Namespace", "", self.name)


class Anyone(msgspec.Struct, frozen=True):
    """The peer that matches everyone, inside and outside the cluster."""


class Pods(msgspec.Struct, frozen=True):
    """Pods by their labels and their namespace's labels; `within` limits them to one namespace by
    name, "" for no limit.
    """

    namespaces: Selector = EVERYTHING
    pods: Selector = EVERYTHING
    within: str = ""


class Block(msgspec.Struct, frozen=True):
    """An ipBlock: the addresses of a prefix without those of its `except` prefixes."""

    prefix: IPNetwork
    excepted: tuple[IPNetwork, ...] = ()


class Nodes(msgspec.Struct, frozen=True):
    """The addresses of nodes, by the nodes' labels."""

    nodes: Selector


Peer = Anyone | Pods | Block | Nodes


class AnyTraffic(msgspec.Struct, frozen=True):
    """Every port of every protocol, and every protocol without ports."""


class PortName(msgspec.Struct, frozen=True):
    """The destination pod's container ports of this name; of any protocol if `protocol` is ""."""

    name: str
    protocol: PortProtocol | Literal[""] = ""


Port = AnyTraffic | PortRange | PortName


class Rule(msgspec.Struct, frozen=True):
    """Traffic with any of the peers on any of the ports; `field` is its place in the policy."""

    field: str
    peers: tuple[Peer, ...]
    ports: tuple[Port, ...]


class HasPeers(Protocol):
    """A rule of either kind of policy."""

    @property
    def peers(self) -> tuple[Peer, ...]: ...


class NetworkPolicy(msgspec.Struct, frozen=True):
    """A checked NetworkPolicy: which pods it isolates, in which directions, and what it allows."""

    namespace: str
    name: str
    pods: Selector
    isolates: frozenset[Direction]
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        return _ref(self.namespace, self.name)

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        return self.ingress if direction == "ingress" else self.egress


@lru_cache(maxsize=1 << 13)
def _ref(namespace: str, name: str) -> ObjectRef:
    """Cached: a pod may be under a thousand, and each is asked for it several times."""
    return ObjectRef("NetworkPolicy", namespace, name)


def namespace_from(seen: wire.Namespace) -> Namespace:
    return Namespace(seen.metadata.name, seen.metadata.labels or {})


def network_policy_from(seen: wire.NetworkPolicy) -> tuple[NetworkPolicy, tuple[Problem, ...]]:
    """The checked policy, and a Problem for each part that could not be understood."""
    problems: list[Problem] = []
    meta, spec = seen.metadata, seen.spec
    ref = ObjectRef("NetworkPolicy", meta.namespace, meta.name)
    pods, sure = selector_from(spec.pod_selector, ref, "spec.podSelector", problems)
    named, isolates = _directions(spec, ref, problems)
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    large = too_many((*(spec.ingress or ()), *(spec.egress or ())), spec.pod_selector)
    if not large:
        ingress = _rules(spec.ingress or (), ref, "spec.ingress", "from", problems)
        egress = _rules(spec.egress or (), ref, "spec.egress", "to", problems)
        large = too_entangled(blocks_of((*ingress, *egress)))
    if large:
        problems.append(Problem(Cause(ref, "spec"), large))
        sure = False
    return (
        NetworkPolicy(
            namespace=meta.namespace,
            name=meta.name,
            pods=pods,
            isolates=isolates,
            # The selector was not understood completely. Fail closed: the policy isolates every pod
            # that it may be meant for, and allows nothing.
            ingress=ingress if sure and "ingress" in named else (),
            egress=egress if sure and "egress" in named else (),
        ),
        tuple(problems),
    )


def blocks_of(rules: Iterable[HasPeers]) -> Blocks:
    """The blocks that these rules name, each with its rule's number."""
    return (
        (number, peer.prefix, peer.excepted)
        for number, rule in enumerate(rules)
        for peer in rule.peers
        if isinstance(peer, Block)
    )


def _directions(
    spec: wire.NetworkPolicySpec, ref: ObjectRef, problems: list[Problem]
) -> tuple[frozenset[Direction], frozenset[Direction]]:
    """The directions for which the policy has rules, and those in which it isolates."""
    both: frozenset[Direction] = frozenset(("ingress", "egress"))
    if not spec.policy_types:
        # "policies that contain an egress section are assumed to affect egress, and all policies
        # (whether or not they contain an ingress section) are assumed to affect ingress"; the
        # API server takes an empty section for none at all.
        default = both if spec.egress else frozenset[Direction](("ingress",))
        return default, default
    named: set[Direction] = set()
    understood = True
    for index, type_ in enumerate(spec.policy_types):
        match type_:
            case "Ingress":
                named.add("ingress")
            case "Egress":
                named.add("egress")
            case _:
                understood = False
                cause = Cause(ref, f"spec.policyTypes[{index}]")
                message = (
                    f"{type_!r} is neither Ingress nor Egress, so the policy isolates in both "
                    "directions; correct it"
                )
                problems.append(Problem(cause, message))
    return frozenset(named), frozenset(named) if understood else both


def _rules(
    seen: Iterable[wire.IngressRule | wire.EgressRule],
    ref: ObjectRef,
    field: str,
    peers: Literal["from", "to"],
    problems: list[Problem],
) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for index, rule in enumerate(seen):
        where = f"{field}[{index}]"
        rules.append(
            Rule(
                where,
                # "If this field is empty or missing, this rule matches all sources (traffic not
                # restricted by source)." (NetworkPolicyIngressRule.from; .to alike)
                _peers(rule.peers, ref, f"{where}.{peers}", problems)
                if rule.peers
                else (Anyone(),),
                # "If this field is empty or missing, this rule matches all ports (traffic not
                # restricted by port)." (NetworkPolicyIngressRule.ports)
                _ports(rule.ports, ref, f"{where}.ports", problems)
                if rule.ports
                else (AnyTraffic(),),
            )
        )
    return tuple(rules)


def _peers(
    seen: Iterable[wire.Peer], ref: ObjectRef, field: str, problems: list[Problem]
) -> tuple[Peer, ...]:
    found = (_peer(peer, ref, f"{field}[{index}]", problems) for index, peer in enumerate(seen))
    return tuple(peer for peer in found if peer is not None)


def _peer(seen: wire.Peer, ref: ObjectRef, where: str, problems: list[Problem]) -> Peer | None:
    selects = seen.pod_selector is not None or seen.namespace_selector is not None
    if seen.ip_block is not None:
        # "If this field is set then neither of the other fields can be." (ipBlock)
        if selects:
            message = "ipBlock stands beside a selector, so it lets nobody in; make two peers of it"
            problems.append(Problem(Cause(ref, where), message))
            return None
        return _block(seen.ip_block, ref, f"{where}.ipBlock", problems)
    if not selects:
        message = "the peer is empty, so it lets nobody in; name a selector or an ipBlock"
        problems.append(Problem(Cause(ref, where), message))
        return None
    pods, pods_sure = selector_from(seen.pod_selector, ref, f"{where}.podSelector", problems)
    spaces, spaces_sure = selector_from(
        seen.namespace_selector, ref, f"{where}.namespaceSelector", problems
    )
    if not (pods_sure and spaces_sure):
        return None
    # "Otherwise it selects the pods matching podSelector in the policy's own namespace."
    within = ref.namespace if seen.namespace_selector is None else ""
    return Pods(spaces, pods, within)


def _block(seen: wire.IPBlock, ref: ObjectRef, where: str, problems: list[Problem]) -> Block | None:
    prefix = prefix_from(seen.cidr, Cause(ref, f"{where}.cidr"), problems)
    excepted: list[IPNetwork] = []
    for index, text in enumerate(seen.excepted or ()):
        cause = Cause(ref, f"{where}.except[{index}]")
        part = prefix_from(text, cause, problems)
        if part is None:
            prefix = None  # which addresses to except is not known: the peer matches nobody
        elif prefix is not None and (part == prefix or not holds(prefix, part)):
            # "Except values will be rejected if they are outside the cidr range"
            message = f"{part} is not a part of {prefix}, so the block lets nobody in; correct it"
            problems.append(Problem(cause, message))
            prefix = None
        else:
            excepted.append(part)
    return None if prefix is None else Block(prefix, tuple(excepted))


def prefix_from(text: str, cause: Cause, problems: list[Problem]) -> IPNetwork | None:
    """The prefix in text; None, with a Problem, if the API server would reject it."""
    # Python also parses 10.0.0.0/255.0.0.0 and fe80::%eth0/64, which are not CIDRs.
    length = text.rpartition("/")[2]
    try:
        if length.isascii() and length.isdecimal() and "%" not in text:
            return parse_prefix(text)
    except ValueError:
        pass
    problems.append(
        Problem(cause, f"{text!r} is not a prefix such as 10.0.0.0/8 or fd00::/8; correct it")
    )
    return None


def _ports(
    seen: Iterable[wire.PolicyPort], ref: ObjectRef, field: str, problems: list[Problem]
) -> tuple[Port, ...]:
    ports: list[Port] = []
    for index, port in enumerate(seen):
        # "If not specified, this field defaults to TCP."
        protocol = "TCP" if port.protocol is None else port.protocol
        fault = _port_fault(port, protocol)
        if fault:
            cause = Cause(ref, f"{field}[{index}]")
            problems.append(Problem(cause, f"{fault}, so this entry lets nothing through"))
        elif port.port is None:
            # "If this field is not provided, this matches all port names and numbers."
            ports.append(PortRange(protocol))
        elif isinstance(port.port, str):
            ports.append(PortName(port.port, protocol))  # type: ignore[arg-type]
        else:
            # "the range of ports from port to endPort if set, inclusive"
            last = port.port if port.end_port is None else port.end_port
            ports.append(PortRange(protocol, port.port, last))
    return tuple(ports)


def _port_fault(seen: wire.PolicyPort, protocol: str) -> str:
    """What is wrong with a port; "" if nothing is."""
    if protocol not in get_args(PortProtocol):
        return f"protocol {protocol!r} is not TCP, UDP or SCTP"
    if isinstance(seen.port, int):
        last = seen.port if seen.end_port is None else seen.end_port
        if not (1 <= seen.port <= LAST_PORT and last <= LAST_PORT):
            return f"port {seen.port} to {last} is not between 1 and {LAST_PORT}"
        # "The endPort must be equal or greater than port."
        return f"endPort {last} is below port {seen.port}" if last < seen.port else ""
    # "This field cannot be defined if the port field is not defined or if the port field is
    # defined as a named (string) port." (endPort)
    if seen.end_port is not None:
        return "endPort needs a port that is a number"
    return "the port's name is empty" if seen.port == "" else ""
