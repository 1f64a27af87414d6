"""What is inside pods' own namespaces: routes that do not lead out, and packet rules."""

from collections.abc import Iterator
from itertools import chain

import msgspec

from steppe.findings import packet_rules
from steppe.findings.finding import Affected, Finding, at_most
from steppe.findings.known import Known, Owner, first_of
from steppe.findings.unread import unread
from steppe.kube.objects import Workload
from steppe.net.address import IPAddress, IPNetwork, host_prefix, of_version
from steppe.net.overlaps import Overlaps
from steppe.state.surroundings import InPod, Surroundings
from steppe.walk.beside import routing_inside, stays_inside
from steppe.walk.routing import Asked


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    by_link, cluster = {pod.link: pod for pod in known.pods}, known.index
    for each in around.pods:
        pod = by_link.get(each.link)
        if pod is None:
            continue
        name = f"{pod.namespace}/{pod.name}"
        more = Finding(
            "pod",
            f"more routes and packet rules in pod {name}",
            f"may do anything to packets of pod {name}",
            "recreate the pod, unless its own programs shall do this",
            affects=(_of(pod),),
        )
        found = chain(_routes(each, known, pod, name), _rules(each, known, cluster, pod))
        yield from at_most(found, more)
        for part in each.inside.unread:
            yield unread(part, name, _of(pod))


def _routes(seen: InPod, known: Known, pod: Workload, name: str) -> Iterator[Finding]:
    lost: dict[tuple[str, str], list[IPNetwork]] = {}
    inside = routing_inside(seen.inside)
    for address in pod.addresses:
        for end in _ends(seen.inside, known, address):
            why = stays_inside(inside, Asked(address, first_of(end), "lo"), seen.interface)
            if why is not None:
                lost.setdefault(why, []).append(end)
    for (entry, follows), ends in lost.items():
        named = [known.who(end) or str(end) for end in ends[:3]]
        whom = "; ".join(dict.fromkeys(named)) + (" and more" if len(ends) > 3 else "")
        yield Finding(
            "pod",
            f"in pod {name}: {entry.removeprefix('a ')}",
            f"what pod {name} sends to {whom} does not arrive: {follows}",
            "recreate the pod, unless its own programs shall do this",
            sure=True,
            walked=True,
            affects=(Affected(tuple(map(host_prefix, pod.addresses)), tuple(ends)),),
        )


def _ends(inside: Surroundings, known: Known, address: IPAddress) -> Iterator[IPNetwork]:
    """One end of each kind in the cluster, and whatever the pod has a route or a rule of its own
    for.
    """
    version = address.version
    ends = [of_version(peer.networks, version) for peer in known.peers[:1]]
    ends.append(of_version(known.services, version))
    node = of_version(known.here.addresses, version)
    ends.append(host_prefix(node) if node is not None else None)
    ends += [other.key.prefix for other in inside.routes]
    ends += [rule.destination for rule in inside.rules]
    for prefix in dict.fromkeys(ends):
        if prefix is None or prefix.version != version or not prefix.prefixlen:
            continue
        local = prefix.is_loopback or prefix.is_multicast or prefix.is_link_local
        if not local and address not in prefix:
            yield prefix


def _rules(seen: InPod, known: Known, cluster: Overlaps[Owner], pod: Workload) -> Iterator[Finding]:
    name = f"{pod.namespace}/{pod.name}"
    links = (seen.interface, "lo")
    for rule in seen.inside.packet_rules:
        if rule.does == "mark" or not packet_rules.concerns(rule, cluster, links):
            continue
        found = packet_rules.finding(rule, known, "")
        yield msgspec.structs.replace(
            found,
            kind="pod",
            entry=f"in pod {name}: {found.entry}",
            effect=f"inside the pod it {found.effect.replace('this node', 'the pod')}",
            cure="a mesh's sidecar may have made it; if not, recreate the pod",
            affects=(_of(pod),),
        )


def _of(pod: Workload) -> Affected:
    return Affected(sources=tuple(map(host_prefix, pod.addresses)))
