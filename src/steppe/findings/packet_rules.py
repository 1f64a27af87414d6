"""Other programs' packet rules: what they drop, translate or mark of the cluster's packets.

A rule that takes none of the cluster's packets is not told, as the port mappings of Docker. Nor are
the chains that every kubelet makes (`iptablesUtilChains`): KUBE-FIREWALL drops packets to loopback
addresses that come from elsewhere, and what kube-proxy has marked; the others mark for kube-proxy,
or are empty (KUBE-KUBELET-CANARY).
"""

import re
from collections.abc import Collection, Iterator
from ipaddress import ip_network

from steppe.findings.finding import Affected, Finding, at_most
from steppe.findings.known import Known, Owner, touches
from steppe.net.address import IPNetwork, holds, host_prefix
from steppe.net.overlaps import Overlaps
from steppe.state.surroundings import Matching, PacketRule, Surroundings

_KUBELET_MARKS = 0x4000 | 0x8000
"""Bits of kube-proxy's, to masquerade and to drop (kubelet's iptablesMasqueradeBit, DropBit)."""
_DROP_MARK = re.compile(r"0x0*8000\b")
_NOT_ROUTED = tuple(map(ip_network, ("127.0.0.0/8", "::1/128", "224.0.0.0/4", "ff00::/8")))
_HOOKS = {
    "ingress": "what comes in by a link",
    "prerouting": "what comes in",
    "input": "what comes to this node itself",
    "forward": "what goes through this node",
    "output": "what this node itself sends",
    "postrouting": "what leaves this node",
}
_DOES = {
    "drop": ("drops {}", ""),
    "reject": ("refuses {}", ""),
    "dnat": ("sends {} to another address", ""),
    "snat": (
        "gives {} another sender's address",
        ": policies at the receiver see that address and not the pod's",
    ),
    "notrack": (
        "takes {} from connection tracking",
        ": no Service is translated for these packets, and policies take answers for new ones",
    ),
    "queue": ("hands {} to a program", ", which may drop them"),
    "mark": ("changes the mark of {}", ""),
    "unread": ("may do anything to {}", ""),
}


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    more = Finding(
        "packet rule",
        "more packet rules",
        "may do anything to packets of the cluster",
        "is another proxy or firewall for the cluster at work? `nft list ruleset` shows all",
        affects=(Affected(),),
    )
    yield from at_most(_each(around, known), more)


def _each(around: Surroundings, known: Known) -> Iterator[Finding]:
    links, cluster = frozenset(known.links), known.index
    asked = [rule for rule in around.rules if rule.mask]
    for rule in around.packet_rules:
        why = ""
        if rule.does == "mark":
            looked = next((str(each) for each in asked if each.mask & rule.bits), "")
            why = f": ip rule {looked} asks for it" if looked else ""
            if rule.bits & known.mark:
                why = ": Steppe's own bit for masquerading is among them"
            if not why:
                continue
        if concerns(rule, cluster, links):
            yield finding(rule, known, why)


def concerns(rule: PacketRule, cluster: Overlaps[Owner], links: Collection[str]) -> bool:
    """Whether a rule may take packets from or to the cluster's addresses, by one of these links."""
    match = rule.matching
    if _is_kubelets(rule):
        return False
    if not all(_is_link(name, links) for name in (match.iif, match.oif) if name):
        return False
    if match.destinations and all(_is_local(each) for each in match.destinations):
        return False
    of_it, to_it = touches(cluster, match.sources), touches(cluster, match.destinations)
    if rule.does == "snat":
        return of_it
    # To outside from anybody is from pods as well; from outside to anybody, to Services as well.
    return of_it and to_it if match.sources and match.destinations else of_it or to_it


def _is_link(name: str, links: Collection[str]) -> bool:
    if name.endswith("*"):
        return any(link.startswith(name[:-1]) for link in links)
    return name in links


def _is_local(prefix: IPNetwork) -> bool:
    return any(holds(each, prefix) for each in _NOT_ROUTED)


def _is_kubelets(rule: PacketRule) -> bool:
    chain = rule.chain.rpartition(" ")[2]
    if chain == "KUBE-FIREWALL" and rule.does == "drop":
        return all(map(_is_local, rule.matching.destinations or (_ANY,))) or (
            _DROP_MARK.search(rule.text) is not None
        )
    if chain in ("KUBE-MARK-DROP", "KUBE-MARK-MASQ", "KUBE-POSTROUTING"):
        return rule.does in ("mark", "snat") and not rule.bits & ~_KUBELET_MARKS
    return chain == "KUBE-KUBELET-CANARY"


_ANY = ip_network("0.0.0.0/0")


def finding(rule: PacketRule, known: Known, why: str) -> Finding:
    return Finding(
        "packet rule",
        f"{rule.chain} (hook {rule.hook}): {rule.text}",
        told(rule, known, why),
        _cure(rule),
        affects=(affected(rule, known),),
    )


def told(rule: PacketRule, known: Known, why: str = "") -> str:
    """What a rule does to which flows; `why` that matters, where it is not the rule's kind."""
    verb, more = _DOES.get(rule.does, _DOES["unread"])
    maybe = ", if all its conditions hold" if rule.matching.partial else ""
    return verb.format(flows(rule, known)) + (why or more) + maybe


def flows(rule: PacketRule, known: Known) -> str:
    """The packets that a rule takes, as text."""
    match = rule.matching
    words = [_HOOKS.get(rule.hook, "packets")]
    words += [f"by IPv{match.version}"] if match.version and not match.sources else []
    words += [f"by link {match.iif}"] if match.iif else []
    words += [f"from {_whose(match.sources, known)}"] if match.sources else []
    words += [f"to {_whose(match.destinations, known)}"] if match.destinations else []
    words += [f"on {_protocol(match)}"] if match.protocol or match.ports else []
    words += [f"out by {match.oif}"] if match.oif else []
    if not match.sources and not match.destinations and rule.hook in ("forward", "prerouting"):
        words.append(f"(so also pods of {known.here.name})")
    return " ".join(words)


def _whose(prefixes: tuple[IPNetwork, ...], known: Known) -> str:
    return ", ".join(known.who(each) or str(each) for each in prefixes[:3])


def _protocol(match: Matching) -> str:
    ports = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in match.ports)
    return " ".join(filter(None, (match.protocol.upper(), ports and f"port {ports}")))


def affected(rule: PacketRule, known: Known) -> Affected:
    """The packets that a rule takes."""
    match, own = rule.matching, tuple(map(host_prefix, known.here.addresses))
    sources, ends = match.sources, match.destinations
    if rule.hook == "input":
        ends = ends or own
    if rule.hook == "output":
        sources = sources or own
    for pod in known.pods:
        held = tuple(map(host_prefix, pod.addresses))
        sources = sources or (held if pod.link == match.iif else ())
        ends = ends or (held if pod.link == match.oif else ())
    # Chains that translate see only the first packet of a flow.
    first_only = rule.does in ("dnat", "snat")
    return Affected(sources, ends, match.protocol, match.ports, answers=not first_only)


def _cure(rule: PacketRule) -> str:
    program, table, *chain = rule.chain.split(" ")
    if program.endswith("-legacy"):
        return f"if it is not meant: `{program} -t {table} -L {' '.join(chain)} -n --line-numbers`"
    return f"if it is not meant: `nft -a list table {program} {table}` shows its handle, to delete"
