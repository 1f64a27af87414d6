"""How large one policy may be; a larger one is closed for the pods it selects.

Not the size of the text counts but what nodes have to hold because of it. The limits are far above
what people write, and low enough that one object takes no node's agent from its other work
(docs/decisions/0027-bounded-cost.md has the numbers).

    rules        500     each tells peers apart
    ports      1,000     entries of all rules
    peers      5,000     entries of all rules
    except     1,000     entries of all rules
    selectors  1,000     keys and values of all selectors together
    pieces    20,000     prefixes that remain of blocks without their exceptions: one /32 taken out
                         of a /8 leaves 24
    overlaps  10,000     prefixes times the rules that hold each of them
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from steppe.kube import policy_wire as wire
from steppe.net.address import IPNetwork, sort_key

LIMITS = {
    "rules": 500,
    "ports": 1_000,
    "peers": 5_000,
    "except entries": 1_000,
    "selector keys and values": 1_000,
}
MAX_PIECES, MAX_OVERLAPS = 20_000, 10_000
_CURE = "use endPort for ranges of ports, shorter prefixes or labels for peers, or several policies"

Blocks = Iterable[tuple[int, IPNetwork, tuple[IPNetwork, ...]]]
"""A rule's number, a prefix that it names, and what is excepted from that."""
_Rule = wire.IngressRule | wire.EgressRule | wire.ClusterIngressRule | wire.ClusterEgressRule
_Peer = wire.Peer | wire.ClusterIngressPeer | wire.NamespacedPod


def too_many(rules: Iterable[_Rule], *selectors: wire.LabelSelector | None) -> str:
    """Which limit the entries of a policy exceed, and the cure; "" for none."""
    counted: Counter[str] = Counter()
    for selector in selectors:
        counted["selector keys and values"] += _selected(selector)
    for rule in rules:
        counted["rules"] += 1
        ports = (
            rule.protocols
            if isinstance(rule, wire.ClusterIngressRule | wire.ClusterEgressRule)
            else rule.ports
        )
        counted["ports"] += len(ports or ())
        for peer in rule.peers or ():
            for what, count in _of_peer(peer):
                counted[what] += count
    for what, limit in LIMITS.items():
        if counted[what] > limit:
            return _message(f"{counted[what]:,} {what}, more than {limit:,}")
    return ""


def too_entangled(blocks: Blocks) -> str:
    """Which limit the prefixes of a policy exceed together, and the cure; "" for none."""
    known = tuple(blocks)
    pieces = sum(part.prefixlen - prefix.prefixlen for _, prefix, parts in known for part in parts)
    if pieces > MAX_PIECES:
        return _message(
            f"except entries that cut its blocks into {pieces:,} prefixes, more than {MAX_PIECES:,}"
        )
    # Where the product of both is not too large, their overlaps are not.
    rules, prefixes = len({rule for rule, _, _ in known}), sum(1 + len(e) for _, _, e in known)
    overlaps = _overlaps(known) if rules * prefixes > MAX_OVERLAPS else 0
    if overlaps > MAX_OVERLAPS:
        what = (
            f"blocks of several rules that overlap {overlaps:,} times, more than {MAX_OVERLAPS:,}"
        )
        return _message(what)
    return ""


def _message(what: str) -> str:
    return f"the policy has {what}, so it lets nothing through; {_CURE}"


def _of_peer(peer: _Peer) -> Iterator[tuple[str, int]]:
    if isinstance(peer, wire.ClusterEgressPeer) and peer.networks:
        yield "peers", len(peer.networks)
        return
    yield "peers", 1
    found: tuple[wire.LabelSelector | None, ...]
    if isinstance(peer, wire.Peer):
        if peer.ip_block is not None:
            yield "except entries", len(peer.ip_block.excepted or ())
        found = (peer.pod_selector, peer.namespace_selector)
    elif isinstance(peer, wire.NamespacedPod):
        found = (peer.pod_selector, peer.namespace_selector)
    else:
        pods = peer.pods or wire.NamespacedPod()
        nodes = peer.nodes if isinstance(peer, wire.ClusterEgressPeer) else None
        found = (pods.pod_selector, pods.namespace_selector, peer.namespaces, nodes)
    yield "selector keys and values", sum(map(_selected, found))


def _selected(selector: wire.LabelSelector | None) -> int:
    if selector is None:
        return 0
    expressions = selector.match_expressions or ()
    values = sum(len(each.values or ()) for each in expressions)
    return 2 * len(selector.match_labels or ()) + len(expressions) + values


def _overlaps(blocks: Blocks) -> int:
    """For each prefix that is named, how many rules name it or one around it; the sum."""
    rules: dict[tuple[int, int, int], set[int]] = {}
    for rule, prefix, excepted in blocks:
        rules.setdefault(sort_key(prefix), set()).add(rule)
        for part in excepted:
            rules.setdefault(sort_key(part), set())
    around: list[tuple[int, int, int]] = []
    """IP version, last address, and how many rules hold it."""
    total = 0
    for version, first, length in sorted(rules):
        while around and (around[-1][0] != version or around[-1][1] < first):
            around.pop()
        depth = len(rules[version, first, length]) + (around[-1][2] if around else 0)
        size = 1 << ((32 if version == 4 else 128) - length)
        around.append((version, first + size - 1, depth))
        total += depth
    return total
