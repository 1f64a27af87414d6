"""What one Service puts into a node's tables: elements only, never a rule.

    service4  10.96.0.1 . tcp . 80        : goto spread-3       which chain decides
    endpoint4 10.96.0.1 . tcp . 80 . 0..2 : 10.244.1.5 . 8080   what it chooses from

The chains are fixed (state/skeleton.py): one a number of endpoints and a way to treat the
sender's address. Families never mix: each map has a twin for IPv6.
"""

from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses

from steppe.compile.backends import Backend, Frontend, frontends
from steppe.kube.cause import Cause
from steppe.kube.objects import Node
from steppe.kube.services import EndpointSlice, Service
from steppe.net.address import IPNetwork
from steppe.state.claim import Claim
from steppe.state.nft import Atom, Element, ElementKey
from steppe.state.node import NodeClaim

DROP = "drop"
REFUSE = "refuse"


def service_claims(
    here: Node, zone: str, service: Service, slices: Iterable[EndpointSlice]
) -> Iterator[NodeClaim]:
    """Every element that a Service and its slices ask for on this node."""
    for front in frontends(here, zone, service, slices):
        cause = Cause(service.ref, front.field)
        yield _element(service, cause, f"service{_v(front)}", _key(front), _inside(front))
        yield from _endpoints(service, f"endpoint{_v(front)}", front, front.inside)
        if front.local:
            yield _element(service, cause, f"outside{_v(front)}", _key(front), _outside(front))
            yield from _endpoints(service, f"local_endpoint{_v(front)}", front, front.outside)
        if front.kind == "cluster":
            yield _element(service, cause, f"cluster_ip{_v(front)}", (front.address,))
        if front.kind == "balancer" and service.source_ranges:
            yield from _source_ranges(service, front)


def _v(front: Frontend) -> int:
    return front.address.version


def _key(front: Frontend) -> tuple[Atom, ...]:
    return (front.address, front.port.protocol.lower(), front.number)


def _inside(front: Frontend) -> str:
    """The chain for senders on this node."""
    if front.refuse:
        return REFUSE
    if not front.inside:
        return DROP
    how = "spread" if front.kind == "cluster" else "spread-keep" if front.local else "spread-masq"
    return f"{how}-{len(front.inside)}"


def _outside(front: Frontend) -> str:
    """The chain for everyone else, where a Local policy makes a difference."""
    if front.refuse:
        return REFUSE
    return f"spread-local-{len(front.outside)}" if front.outside else DROP


def _endpoints(
    service: Service, name: str, front: Frontend, backends: tuple[Backend, ...]
) -> Iterator[NodeClaim]:
    for index, backend in enumerate(backends):
        key = ElementKey(name, (*_key(front), index))
        value = Element((backend.address, backend.port))
        yield Claim(key, value, backend.cause, _rank(service))


def _source_ranges(service: Service, front: Frontend) -> Iterator[NodeClaim]:
    cause = Cause(service.ref, "spec.loadBalancerSourceRanges")
    yield _element(service, cause, f"guarded{_v(front)}", _key(front))
    ranges: list[IPNetwork] = [r for r in service.source_ranges if r.version == _v(front)]
    # An interval set holds no range inside another.
    for allowed in collapse_addresses(ranges):  # type: ignore[type-var]
        yield _element(service, cause, f"admitted{_v(front)}", (allowed, *_key(front)))


def _element(
    service: Service, cause: Cause, name: str, key: tuple[Atom, ...], verdict: str = ""
) -> NodeClaim:
    value = Element((verdict,) if verdict else ())
    return Claim(ElementKey(name, key), value, cause, _rank(service))


def _rank(service: Service) -> str:
    """The older Service keeps an address and port that two claim."""
    return f"{service.created} {service.namespace}/{service.name}"
