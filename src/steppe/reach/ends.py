"""Everyone that a parsed end (ends/parse.py) means, for --from, --to and --assert.

A name, a pattern or a namespace means everything that it matches. A Service can only be a
destination, and a port after it is the Service's. A port after any other end restricts the question
to that port.
"""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network

import msgspec

from steppe.ends.end import (
    AddressEnd,
    End,
    HostEnd,
    InternetEnd,
    NameEnd,
    NamespaceEnd,
    NodeEnd,
    PodEnd,
    PrefixEnd,
    ServiceEnd,
    UnknownEndError,
    WorkloadEnd,
    Written,
)
from steppe.ends.known import no_match, no_namespace, service_called
from steppe.ends.parse import parse_end
from steppe.ends.relative import whole
from steppe.ends.workloads import is_called_after
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress, IPNetwork, holds, host_prefix
from steppe.net.ports import PortSet, parse_ports
from steppe.reach.groups import INTERNET, Member
from steppe.reach.names import Names
from steppe.reach.outside import Outside
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, Offers


class Chosen(msgspec.Struct, frozen=True):
    """The members or Services that are meant, and the ports written after them.

    `offers` are a Service's cluster IPs, for senders inside, and `ways` its ways in for senders
    outside. `dialled` are offers at an address that was written itself: for senders everywhere.
    """

    members: tuple[Member, ...] = ()
    offers: tuple[Offer, ...] = ()
    ports: PortSet | None = None
    ways: tuple[Offer, ...] = ()
    dialled: tuple[Offer, ...] = ()

    @property
    def is_service(self) -> bool:
        return bool(self.offers or self.ways or self.dialled)


def asked_prefixes(texts: Iterable[str]) -> Iterator[IPNetwork]:
    """The prefixes and addresses that these ends are, so that each becomes an end of its own."""
    for text in texts:
        try:
            match parse_end(text).end:
                case AddressEnd(address):
                    yield host_prefix(address)
                case PrefixEnd(prefix, _):
                    yield prefix
        except UnknownEndError:
            continue  # whoever looks the end up tells why


class Ends:
    """Looks up ends in one cluster.

    Invariant: a result depends on the cluster and the text alone, not on earlier look-ups.
    """

    def __init__(self, reach: Reach, names: Names, namespace: str = "") -> None:
        """Short names are relative to `namespace` (ends/relative.py), "" for none."""
        self._reach = reach
        self._names = names
        self._namespace = namespace

    def chosen(self, text: str) -> Chosen:
        """The members or Services of a text; UnknownEndError says why there are none."""
        written = parse_end(text)
        if missing := no_namespace(self._reach.cluster, self._namespace):
            raise UnknownEndError(missing)
        end = whole(self._reach.cluster, written.end, self._namespace)
        written = msgspec.structs.replace(written, end=end)
        service = self._service(written.end)
        if service is not None:
            return self._services(written, service)
        match written.end:
            case AddressEnd(address):
                if any(offer.address == address for offer in (*self._offers.all, *self._at_outer)):
                    return self._dialled(written, address)
                members = self._at(text, address)
            case PrefixEnd(prefix, _):
                members = self._within(text, prefix)
            case _:
                members = tuple(self._named(written.end))
        if not members:
            raise no_match(self._reach.cluster, written.end, self._workloads)
        by_node_port = tuple(self._node_ports(written, members))
        if by_node_port:
            return Chosen(dialled=by_node_port)
        return Chosen(members, ports=_ports(text, written))

    def _dialled(self, written: Written, address: IPAddress) -> Chosen:
        """A Service's address: its cluster IP for senders inside, any other for everybody."""
        own = tuple(offer for offer in self._offers.all if offer.address == address)
        outer = tuple(offer for offer in self._at_outer if offer.address == address)
        offers = tuple(_at_port(own, written))
        none = (self._outside.none_of(o.service, o.port, o.version) for o in offers)
        return Chosen((), offers, None, tuple(none), tuple(_at_port(outer, written)))

    @cached_property
    def _at_outer(self) -> tuple[Offer, ...]:
        """The offers at Services' addresses that are no cluster IPs."""
        services = self._reach.cluster.services.values()
        addresses = {a for s in services for a in (*s.external_ips, *s.load_balancer_ips)}
        return tuple(offer for address in addresses for offer in self._outside.at(address))

    def _node_ports(self, written: Written, members: Iterable[Member]) -> Iterator[Offer]:
        """The offers at the port that was written, if these are nodes that serve it."""
        if not written.port.isdecimal():
            return
        for node in members:
            for address in node.addresses if isinstance(node, Node) else ():
                if isinstance(written.end, AddressEnd) and written.end.address != address:
                    continue
                for offer in self._outside.at(address):
                    protocol = written.protocol or "TCP"
                    if (offer.port.node_port, offer.port.protocol) == (int(written.port), protocol):
                        yield offer

    def _named(self, end: End) -> Iterator[Member]:
        match end:
            case InternetEnd():
                yield from (m for m in self._members if m == INTERNET)
            case NodeEnd(name):
                nodes = (node for group in self._reach.groups for node in group.nodes)
                yield from (node for node in nodes if fnmatchcase(node.name, name))
            case _:
                fits = self._fits(end)
                pods = (pod for group in self._reach.groups for pod in group.pods)
                yield from (pod for pod in pods if fits(pod))

    def _fits(self, end: End) -> Callable[[Pod], bool]:
        """A function that tells whether a name means a pod."""
        workload = self._names.workload
        match end:
            case NamespaceEnd(namespace):
                return lambda pod: fnmatchcase(pod.namespace, namespace)
            case PodEnd(namespace, name):
                return lambda pod: (
                    fnmatchcase(pod.namespace, namespace) and fnmatchcase(pod.name, name)
                )
            case WorkloadEnd("rs" | "replicaset", namespace, name):
                # ReplicaSets of a Deployment do not count as workloads (reach/names.py).
                return lambda pod: (
                    fnmatchcase(pod.namespace, namespace or "*")
                    and (fnmatchcase(workload(pod), name) or is_called_after(pod.name, name))
                )
            case WorkloadEnd(_, namespace, name):
                return lambda pod: (
                    fnmatchcase(pod.namespace, namespace or "*")
                    and fnmatchcase(workload(pod), name)
                )
            case NameEnd(namespace, name):
                return lambda pod: (
                    fnmatchcase(pod.namespace, namespace or "*")
                    and (fnmatchcase(pod.name, name) or fnmatchcase(workload(pod), name))
                )
            case _:
                return lambda _: False

    def _service(self, end: End) -> ServiceEnd | None:
        """The Service that an end means, by name or DNS name; None for any other end."""
        cluster = self._reach.cluster
        match end:
            case ServiceEnd(namespace, name):
                return ServiceEnd(namespace or "*", name)
            case HostEnd(host):
                found = service_called(cluster, host)
                if found is None:
                    raise no_match(cluster, end)
                return ServiceEnd(found.namespace, found.name)
            case NameEnd("", name) if not any(self._named(end)):
                found = service_called(cluster, name)
                return None if found is None else ServiceEnd(found.namespace, found.name)
            case _:
                return None

    def _services(self, written: Written, end: ServiceEnd) -> Chosen:
        pattern = f"{end.namespace}/{end.name}"
        named = tuple(
            offer
            for offer in self._offers.all
            if fnmatchcase(f"{offer.service.namespace}/{offer.service.name}", pattern)
        )
        offers = tuple(_at_port(named, written))
        ways = tuple(way for offer in offers for way in self._ways(offer))
        if named and not offers:
            known = ", ".join(sorted({str(offer) for offer in named}))
            port = written.port + (f"/{written.protocol.lower()}" if written.protocol else "")
            raise UnknownEndError(f"{written.end} has no port {port}: there is {known}")
        if not offers:
            raise no_match(self._reach.cluster, written.end)
        return Chosen(offers=offers, ways=tuple(dict.fromkeys(ways)))

    def _ways(self, offer: Offer) -> tuple[Offer, ...]:
        """The ways into a Service's port; one that nobody can use, if there is none."""
        ways = [w for w in self._outside.of_service(offer.service) if w.port == offer.port]
        if not ways:
            return (self._outside.none_of(offer.service, offer.port, offer.version),)
        return tuple(way for way in ways if way.version == offer.version)

    def _within(self, text: str, prefix: IPNetwork) -> tuple[Member, ...]:
        """All ends outside with addresses in the prefix: longer prefixes that policies name, and
        the rest of it.
        """
        members = (m for m in self._members if isinstance(m, IPv4Network | IPv6Network))
        found = tuple(m for m in members if m != INTERNET and holds(prefix, m))
        return found if prefix in found else (*self._at(text, prefix.network_address), *found)

    def _at(self, text: str, address: IPAddress) -> tuple[Member, ...]:
        """The owner of the address, or of the addresses in the prefix that begins with it."""
        number = self._reach.group_at(address)
        if number is None:
            raise UnknownEndError(f"{text} is of the cluster's own pod addresses, but no pod's")
        end = self._reach.end_at(address)
        if not isinstance(end, IPAddress):
            return (end,)
        holding = [p for p in self._reach.groups[number].prefixes if address in p]
        return (max(holding, key=lambda prefix: prefix.prefixlen, default=INTERNET),)

    @cached_property
    def _offers(self) -> Offers:
        return Offers(self._reach)

    @cached_property
    def _outside(self) -> Outside:
        return Outside(self._offers)

    @cached_property
    def _members(self) -> tuple[Member, ...]:
        return tuple(member for group in self._reach.groups for member in group.members)

    @cached_property
    def _workloads(self) -> frozenset[str]:
        pods = (pod for group in self._reach.groups for pod in group.pods)
        return frozenset(f"{pod.namespace}/{self._names.workload(pod)}" for pod in pods)


def _at_port(offers: tuple[Offer, ...], written: Written) -> Iterator[Offer]:
    """The offers at the port that was written, or all of them."""
    for offer in offers:
        is_port = written.port in ("", offer.port.name, str(offer.port.port))
        if is_port and written.protocol in ("", offer.port.protocol):
            yield offer


def _ports(text: str, written: Written) -> PortSet | None:
    if not written.port:
        return None
    try:
        return parse_ports("/".join(filter(None, (written.port, written.protocol))))
    except ValueError as error:
        raise UnknownEndError(f"{text!r}: {error}") from error
