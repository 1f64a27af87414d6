"""Everyone that a parsed end (ends/parse.py) means, for --from, --to and --assert.

A name, a pattern or a namespace means everything that it matches. A Service can only be a
destination, and a port after it is the Service's. A port after any other end restricts the question
to that port.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property

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
from steppe.ends.known import no_match, service_called
from steppe.ends.parse import parse_end
from steppe.ends.workloads import is_called_after
from steppe.kube.objects import Pod
from steppe.net.address import IPAddress
from steppe.net.ports import PortSet, parse_ports
from steppe.reach.groups import INTERNET, Member
from steppe.reach.names import Names
from steppe.reach.reach import Reach
from steppe.reach.services import Offer, Offers


class Chosen(msgspec.Struct, frozen=True):
    """The members or Services that are meant, and the ports written after them."""

    members: tuple[Member, ...] = ()
    offers: tuple[Offer, ...] = ()
    ports: PortSet | None = None


class Ends:
    """Looks up ends in one cluster.

    Invariant: a result depends on the cluster and the text alone, not on earlier look-ups.
    """

    def __init__(self, reach: Reach, names: Names) -> None:
        self._reach = reach
        self._names = names

    def chosen(self, text: str) -> Chosen:
        """The members or Services of a text; UnknownEndError says why there are none."""
        written = parse_end(text)
        service = self._service(written.end)
        if service is not None:
            return self._services(written, service)
        match written.end:
            case AddressEnd(address):
                offers = tuple(offer for offer in self._offers.all if offer.address == address)
                if offers:
                    return Chosen(offers=tuple(_at_port(offers, written)))
                members = self._at(text, address)
            case PrefixEnd(prefix, _):
                members = self._at(text, prefix.network_address)
            case _:
                members = tuple(self._named(written.end))
        if not members:
            raise no_match(self._reach.cluster, written.end, self._workloads)
        return Chosen(members, ports=_ports(text, written))

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
                    fnmatchcase(pod.namespace, namespace)
                    and (fnmatchcase(workload(pod), name) or is_called_after(pod.name, name))
                )
            case WorkloadEnd(_, namespace, name):
                return lambda pod: (
                    fnmatchcase(pod.namespace, namespace) and fnmatchcase(workload(pod), name)
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
        if named and not offers:
            known = ", ".join(sorted({str(offer) for offer in named}))
            port = written.port + (f"/{written.protocol.lower()}" if written.protocol else "")
            raise UnknownEndError(f"{written.end} has no port {port}: there is {known}")
        if not offers:
            raise no_match(self._reach.cluster, written.end)
        return Chosen(offers=offers)

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
