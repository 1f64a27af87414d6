"""What one Service puts into a node's tables: elements only, never a rule.

    service4  10.96.0.1 . tcp . 80        : goto spread-3       which chain decides
    endpoint4 10.96.0.1 . tcp . 80 . 0..2 : 10.244.1.5 . 8080   what it chooses from

The chains are fixed (service_chains.py): one a number of endpoints and a way to treat the
sender's address. Families never mix: each map has a twin for IPv6.

Where two Services name one place, the older has all of it; not one element is the other's, so
nobody can widen another's source ranges or divert its traffic by naming its address.
"""

from collections.abc import Callable, Iterable, Iterator
from zlib import crc32

from steppe.dataplane.nft.service_chains import DROP, REFUSE, guarded, spread, spread_local
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.objects import Workload
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPAddress, IPNetwork
from steppe.service.backends import (
    Backend,
    Frontend,
    Place,
    Vantage,
    Way,
    frontends,
    ways,
)
from steppe.state.claim import Claim
from steppe.state.nft import Atom, Element, ElementKey
from steppe.state.node import NodeClaim

_LARGEST_ID = 0x7FFFFFFF
"""0 is nobody's, and nft has a word of its own for the largest number of 32 bits."""


def service_claims(
    vantage: Vantage,
    service: Service,
    slices: Iterable[EndpointSlice],
    owner: Callable[[Place], ObjectRef],
) -> Iterator[NodeClaim | Problem]:
    """Every element that a Service and its slices ask for on this node."""
    for index, address in enumerate(service.cluster_ips):
        cause = Cause(service.ref, f"spec.clusterIPs[{index}]")
        yield _claim(cause, f"cluster_ip{address.version}", (address,))
    own: list[Way] = []
    for way in ways(vantage, service):
        rival = owner(way.place)
        if rival == service.ref:
            own.append(way)
        else:
            yield _taken(service, way, rival)
    for front in frontends(vantage, service, slices, own):
        yield from _frontend_claims(service, front)


def service_range_elements(prefixes: Iterable[IPNetwork], cause: Cause) -> Iterator[NodeClaim]:
    """Where cluster IPs are taken from: what no Service has there must not leave the node."""
    for prefix in prefixes:
        yield _claim(cause, f"service_range{prefix.version}", (prefix,))


def hairpin_elements(workload: Workload) -> Iterator[NodeClaim]:
    """A pod that reaches itself through a Service must not see its own address as the sender."""
    cause = Cause(workload.ref, "status.podIPs")
    for address in workload.addresses:
        yield _claim(cause, f"hairpin{address.version}", (address, address))


def _taken(service: Service, way: Way, rival: ObjectRef) -> Problem:
    address, protocol, number = way.place
    return Problem(
        Cause(service.ref, way.field),
        f"{address} {protocol} {number} is already served for {rival}, which is older; "
        "change one of the two Services",
    )


def _frontend_claims(service: Service, front: Frontend) -> Iterator[NodeClaim]:
    address, protocol, number = front.way.place
    version, key = address.version, (address, protocol.lower(), number)
    cause = Cause(service.ref, front.way.field)
    is_guarded = front.way.kind == "balancer" and service.restricted
    chain = _chain(front, service.affinity_seconds)
    verdict = guarded(chain) if is_guarded else chain
    yield _claim(cause, f"service{version}", key, (verdict,))
    yield from _endpoints(f"endpoint{version}", key, front.inside)
    if front.local:
        yield from _endpoints(f"local_endpoint{version}", key, front.outside)
    if service.affinity_seconds:
        # Besides, not instead: whoever asks what a Service leads to looks into one map only.
        yield from _sticky_endpoints("sticky", key, front.inside)
        if front.local:
            yield from _sticky_endpoints("sticky_local", key, front.outside)
    if is_guarded:
        ranges = Cause(service.ref, "spec.loadBalancerSourceRanges")
        for allowed in service.source_ranges:
            if allowed.version == version:
                yield _claim(ranges, f"admitted{version}", (allowed, *key))


def _chain(front: Frontend, seconds: int) -> str:
    """The chain that decides, or what becomes of a packet where there is nothing to decide."""
    if front.refuse:
        return REFUSE
    if not front.inside:
        return DROP
    choices = len(front.inside)
    if front.local:
        return spread_local(choices, len(front.outside), seconds)
    return spread(choices, masquerade=front.way.kind != "cluster", seconds=seconds)


def _endpoints(
    name: str, key: tuple[Atom, ...], backends: tuple[Backend, ...]
) -> Iterator[NodeClaim]:
    for index, backend in enumerate(backends):
        value = Element((backend.address, backend.port))
        yield Claim(ElementKey(name, (*key, index)), value, backend.cause)


def _sticky_endpoints(
    name: str, key: tuple[IPAddress, str, int], backends: tuple[Backend, ...]
) -> Iterator[NodeClaim]:
    """An id a backend, which it keeps whatever becomes of the others: senders remember it."""
    version = key[0].version
    taken: set[int] = set()
    for index, backend in enumerate(backends):
        number = crc32(f"{backend.address} {backend.port}".encode()) & _LARGEST_ID or 1
        while number in taken:
            number = number % _LARGEST_ID + 1
        taken.add(number)
        yield _claim(backend.cause, f"{name}_id{version}", (*key, index), (number,))
        value = (backend.address, backend.port)
        yield _claim(backend.cause, f"{name}_endpoint{version}", (*key, number), value)


def _claim(
    cause: Cause, name: str, key: tuple[Atom, ...], data: tuple[Atom, ...] = ()
) -> NodeClaim:
    return Claim(ElementKey(name, key), Element(data), cause)
