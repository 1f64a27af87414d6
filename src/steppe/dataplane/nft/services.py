"""What one Service puts into a node's tables: elements only, never a rule.

    service4  10.96.0.1 . tcp . 80        : goto spread-3       the chain for the frontend
    endpoint4 10.96.0.1 . tcp . 80 . 0..2 : 10.244.1.5 . 8080   the backends it chooses from

The chains are fixed (service_chains.py): one for each number of backends and each way to treat the
source address. Each map exists for IPv4 and for IPv6.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from zlib import crc32

from steppe.dataplane.nft.declared import Choices
from steppe.dataplane.nft.service_chains import DROP, REFUSE, only_admitted, spread, spread_local
from steppe.dataplane.nft.sets import (
    ADMITTED,
    CLUSTER_IP,
    ENDPOINT,
    HAIRPIN,
    LOCAL_ENDPOINT,
    SERVICE,
    SERVICE_RANGE,
    STICKY_ENDPOINT,
    STICKY_ID,
    STICKY_LOCAL_ENDPOINT,
    STICKY_LOCAL_ID,
)
from steppe.kube.cause import Cause
from steppe.kube.objects import Workload
from steppe.net.address import IPNetwork
from steppe.service.table import Backend, Backends, Frontend, ServiceTable
from steppe.state.claim import Claim
from steppe.state.nft import Element, ElementKey
from steppe.state.node import Key, NodeClaim

_NOTHING = Element()
_LARGEST_ID = 0x7FFFFFFF
"""The largest id. 0 means no id, and nft has a word of its own for the largest 32-bit number."""


_FRONTED = frozenset((*SERVICE.names, *ENDPOINT.names, *LOCAL_ENDPOINT.names))


def service_claims(table: ServiceTable) -> Iterator[NodeClaim]:
    """All elements of a Service on this node."""
    for address, cause in table.addresses:
        yield Claim(CLUSTER_IP.key(address), _NOTHING, cause)
    for front, backends in table.rows:
        yield from _frontend_claims(front, backends)


def service_range_elements(prefixes: Iterable[IPNetwork], cause: Cause) -> Iterator[NodeClaim]:
    """The ranges of cluster IPs: packets to their unused addresses must not leave the node."""
    for prefix in prefixes:
        yield Claim(SERVICE_RANGE.key(prefix), _NOTHING, cause)


def service_ranges_in(kernel: Iterable[Key]) -> Iterator[IPNetwork]:
    """The prefixes of `service_range_elements`, read from a kernel's keys."""
    return filter(None, map(SERVICE_RANGE.read, kernel))


def hairpin_elements(workload: Workload) -> Iterator[NodeClaim]:
    """A pod that reaches itself through a Service must be masqueraded: its own address must not be
    the source.
    """
    cause = Cause(workload.ref, "status.podIPs")
    for address in workload.addresses:
        yield Claim(HAIRPIN.key(address, address), _NOTHING, cause)


def frontends_behind(keys: Iterable[Key], protocols: Collection[str]) -> frozenset[Frontend]:
    """The frontends of these protocols that these keys belong to."""
    names = frozenset(protocol.lower() for protocol in protocols)
    # When an agent starts these are all keys, and few have such a protocol: test that first.
    own = (
        key
        for key in keys
        if isinstance(key, ElementKey) and key.set in _FRONTED and key.key[1] in names
    )
    return frozenset(front for front in map(_front, own) if front is not None)


def _front(key: ElementKey) -> Frontend | None:
    front = SERVICE.read(key)
    if front is None and (found := ENDPOINT.read(key) or LOCAL_ENDPOINT.read(key)):
        front, _ = found
    return front


def _frontend_claims(front: Frontend, backends: Backends) -> Iterator[NodeClaim]:
    chain = _chain(backends)
    verdict = only_admitted(chain) if backends.admitted is not None else chain
    yield Claim(SERVICE.key(front), _verdict(verdict), backends.cause)
    yield from _endpoints(ENDPOINT, front, backends.inside)
    if backends.local:
        yield from _endpoints(LOCAL_ENDPOINT, front, backends.outside)
    if backends.affinity_seconds:
        yield from _sticky_endpoints(STICKY_ID, STICKY_ENDPOINT, front, backends.inside)
        if backends.local:
            outside = backends.outside
            yield from _sticky_endpoints(STICKY_LOCAL_ID, STICKY_LOCAL_ENDPOINT, front, outside)
    if backends.admitted is not None:
        for allowed in backends.admitted.prefixes:
            yield Claim(ADMITTED.key(allowed, front), _NOTHING, backends.admitted.cause)


@lru_cache(maxsize=1 << 12)
def _verdict(chain: str) -> Element:
    """Cached, since many frontends have the same one."""
    return Element((chain,))


def _chain(backends: Backends) -> str:
    """The chain for a frontend: it chooses a backend, or refuses or drops if there is none."""
    if backends.refuse:
        return REFUSE
    if not backends.inside:
        return DROP
    choices, seconds = len(backends.inside), backends.affinity_seconds
    if backends.local:
        return spread_local(choices, len(backends.outside), seconds)
    return spread(choices, masquerade=backends.masquerade, seconds=seconds)


def _endpoints(
    choices: Choices, front: Frontend, backends: tuple[Backend, ...]
) -> Iterator[NodeClaim]:
    keys = choices.keys(front, range(len(backends)))
    for key, backend in zip(keys, backends, strict=True):
        yield Claim(key, Element((backend.address, backend.port)), backend.cause)


def _sticky_endpoints(
    ids: Choices, endpoints: Choices, front: Frontend, backends: tuple[Backend, ...]
) -> Iterator[NodeClaim]:
    """An id for each backend, stored for senders: it stays the same when other backends change."""
    taken: set[int] = set()
    for index, backend in enumerate(backends):
        number = crc32(f"{backend.address} {backend.port}".encode()) & _LARGEST_ID or 1
        while number in taken:
            number = number % _LARGEST_ID + 1
        taken.add(number)
        yield Claim(ids.key(front, index), Element((number,)), backend.cause)
        value = (backend.address, backend.port)
        yield Claim(endpoints.key(front, number), Element(value), backend.cause)
