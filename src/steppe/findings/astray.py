"""Others' routes and ip rules by which packets of the cluster are dropped or led elsewhere.

Nothing is concluded from a route by itself: for each end in the cluster, and each kind of sender,
the kernel's choice is made as the kernel makes it (walk/routing.py), and a choice that is not
Steppe's is a finding.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice

import msgspec

from steppe.findings.finding import MOST, Affected, Finding
from steppe.findings.known import Known, first_of
from steppe.net.address import (
    IPAddress,
    IPNetwork,
    holds,
    host_prefix,
    of_version,
    sort_key,
)
from steppe.net.overlaps import Overlaps, block_of
from steppe.state.route import MAIN, Route
from steppe.state.surroundings import RoutingRule, Surroundings
from steppe.walk.beside import DROPPING
from steppe.walk.routing import Answer, Asked, Routing

_FATES = {
    "blackhole": "are dropped here, without an answer",
    "unreachable": "are dropped here, with host unreachable",
    "prohibit": "are dropped here, with administratively prohibited",
    "local": "are taken by this node for its own, and do not arrive",
}


class _End(msgspec.Struct, frozen=True):
    """A destination, and what Steppe's tables do with it; `pods`: it is a pod's, or pods'."""

    prefix: IPNetwork
    address: IPAddress
    pods: bool = True


class _Sender(msgspec.Struct, frozen=True):
    who: str
    prefixes: tuple[IPNetwork, ...]
    address: IPAddress
    iif: str


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    """A finding for each route or rule, with all ends and senders that it concerns."""
    others, own = Routing(known.state, around), cache(lambda: Routing(known.state))
    taken: dict[str, list[tuple[_Sender, _End, Answer]]] = {}
    every = tuple(_ends(around, known))
    of_family = {v: [end for end in every if end.address.version == v] for v in (4, 6)}
    for sender in _senders(known):
        ends = of_family[sender.address.version]
        for asked in _asked(around.rules, sender, ends):
            answer = others.to_any(asked)
            mark = f" (packets with mark {asked.mark:#x})" if asked.mark else ""
            for end in ends:
                found = answer(end.address)
                if found is not None and _is_astray(found, own, asked, end):
                    taken.setdefault(found.entry + mark, []).append((sender, end, found))
    told = dict(islice(taken.items(), MOST))
    for entry, rows in told.items():
        yield _finding(known, entry, rows)
    if len(taken) > MOST:
        more = [row for entry, rows in taken.items() if entry not in told for row in rows]
        entry = f"{len(taken) - MOST} more routes and rules"
        yield msgspec.structs.replace(_finding(known, more[0][2].entry, more), entry=entry)


def _ends(around: Surroundings, known: Known) -> Iterator[_End]:
    for pod in known.pods:
        yield from (_End(host_prefix(address), address) for address in pod.addresses)
    for peer in known.peers:
        for network in peer.networks:
            yield _End(network, first_of(network))
        yield from (_End(host_prefix(a), a, pods=False) for a in peer.addresses)
    inner = {other.key.prefix for other in around.routes}
    inner |= {rule.destination for rule in around.rules if rule.destination is not None}
    whole = Overlaps[IPNetwork]()
    for network in (network for peer in known.peers for network in peer.networks):
        whole.add(block_of(network), network)
    for prefix in sorted(inner, key=sort_key):
        # A part of a peer's prefix, for which another route is taken than for the rest of it.
        if any(network != prefix for network in whole.over(block_of(prefix))):
            yield _End(prefix, prefix.network_address)


def _senders(known: Known) -> Iterator[_Sender]:
    here = known.here
    for version in (4, 6):
        own = tuple(n for n in here.networks if n.version == version)
        pod = next(((p, a) for p in known.pods for a in p.addresses if a.version == version), None)
        if own:
            address, link = (pod[1], pod[0].link) if pod else (first_of(own[0]), "")
            yield _Sender(f"pods of {here.name}", own, address, link)
        node = of_version(here.addresses, version)
        if node is not None:
            yield _Sender(f"{here.name} itself", (host_prefix(node),), node, "lo")
        for iif in dict.fromkeys((*known.tunnels, known.uplink)):
            peer = next((n for p in known.peers for n in p.networks if n.version == version), None)
            if peer is not None:
                theirs = tuple(n for n in known.pods_of(version) if n not in own)
                yield _Sender("pods of other nodes", theirs, first_of(peer), iif)


def _asked(rules: Iterable[RoutingRule], sender: _Sender, ends: Iterable[_End]) -> Iterator[Asked]:
    """A packet to one of these ends; and the same with each mark that a rule asks for."""
    version = sender.address.version
    marks = (r.mark for r in rules if r.mark and r.mask and r.version == version)
    for end in islice(ends, 1):
        for mark in dict.fromkeys((0, *marks)):
            yield Asked(sender.address, end.address, sender.iif, mark=mark)


def _is_astray(found: Answer, own: Callable[[], Routing], asked: Asked, end: _End) -> bool:
    """Whether another's route or rule leads the packet elsewhere than Steppe's tables do."""
    if not found.foreign:
        # Steppe's own route by another's rule, as in a table of its own.
        return False
    if found.route.kind in DROPPING or found.route.kind == "local":
        return True
    if not end.pods:
        return False  # how nodes are reached is not Steppe's
    ours = own().answer(msgspec.structs.replace(asked, destination=end.address))
    return ours is not None and not _same(found.route, ours.route)


def _same(one: Route, other: Route) -> bool:
    return [(h.via, h.link) for h in one.hops] == [(h.via, h.link) for h in other.hops]


def _finding(known: Known, entry: str, rows: list[tuple[_Sender, _End, Answer]]) -> Finding:
    answer = rows[0][2]
    senders = dict.fromkeys(sender.who for sender, _, _ in rows)
    ends = _narrow(dict.fromkeys(_part(end, found) for _, end, found in rows))
    whom = "; ".join(filter(None, map(known.who, ends[:3]))) or ", ".join(map(str, ends[:3]))
    whom += f" and {len(ends) - 3} more" if len(ends) > 3 else ""
    rule, marked = answer.rule, "(packets with mark" in entry
    by = ""
    if answer.key is not None and rule is not None and rule.is_special:
        by = f", by ip rule {rule}"
    if answer.foreign and answer.because:
        by += f", learned by {' and '.join(map(str, answer.because))}"
    sources = tuple(dict.fromkeys(p for sender, _, _ in rows for p in sender.prefixes))
    return Finding(
        "route" if answer.key is not None else "ip rule",
        entry,
        f"packets from {_all(senders)} to {whom} {_fate(answer)}{by}",
        _cure(answer),
        sure=not marked,
        # Whether what goes another way arrives, no table of ours tells.
        walked=answer.route.kind != "unicast",
        affects=(Affected(sources, ends),),
    )


def _part(end: _End, found: Answer) -> IPNetwork:
    """The addresses that go astray: all of the end's, or those of a route that is longer."""
    longer = found.key is not None and holds(end.prefix, found.key.prefix)
    return found.key.prefix if found.key is not None and longer else end.prefix


def _narrow(ends: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    """Without those that lie in another one."""
    known, around = tuple(ends), Overlaps[IPNetwork]()
    for end in known:
        around.add(block_of(end), end)
    return tuple(e for e in known if all(other == e for other in around.over(block_of(e))))


def _all(names: Iterable[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def _fate(answer: Answer) -> str:
    if answer.route.kind in _FATES:
        return _FATES[answer.route.kind]
    return f"go {answer.route}: another program's route, which is taken before ours"


def _cure(answer: Answer) -> str:
    rule, key = answer.rule, answer.key
    six = "-6 " if rule is not None and rule.version == 6 else ""
    if key is None and rule is not None:
        return f"`ip {six}rule del priority {rule.priority}`, and stop what made it"
    if key is not None and answer.route.kind == "local":
        links = answer.route.links or ("LINK",)
        held = key.prefix.network_address
        return (
            f"take {held} off {links[0]} (`ip address del`), or what else made it: "
            f"`ip {six}route del {_words(answer)}`"
        )
    return f"`ip {six}route del {_words(answer)}`, and stop what made it"


def _words(answer: Answer) -> str:
    key = answer.key
    if key is None:
        return ""
    kind = "" if answer.route.kind == "unicast" else f"{answer.route.kind} "
    text = str(key.prefix) if key.prefix.prefixlen else "default"
    table = f" table {key.routing_table}" if key.routing_table != MAIN else ""
    metric = f" metric {key.metric}" if key.metric else ""
    return f"{kind}{text}{table}{metric}"
