"""What each object asks of BGP on one node: its sessions, its announcements, its filters.

    other Nodes   a session with each, if the mesh is on and it is on this node's own subnet
    BGPPeers      a session with each router whose selector fits this node
    own Node      its pod prefixes are announced
    Services      their addresses, where this node would deliver

Routes that come from another node may be for that node's prefixes alone. Those from a router are
for anything but what this node has itself, and nothing that is learned is handed on: no node is a
way through for others' traffic.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from steppe.bgp.objects import Announced, BgpSettings, Community, Peer, Rule
from steppe.bgp.tables import (
    Announcement,
    AnnouncementKey,
    BgpClaim,
    BgpTables,
    Filter,
    FilterKey,
    Session,
    SessionKey,
    session_name,
)
from steppe.kube.cause import Cause, Problem
from steppe.kube.objects import Node
from steppe.kube.services import Service
from steppe.net.address import IPAddress, IPNetwork, host_prefix, of_version, sort_key
from steppe.state.claim import Claim, Entry, settle_key

SHUTDOWN = Community((65535, 0))
"""GRACEFUL_SHUTDOWN: who gets it prefers any other way (RFC 8326)."""
LARGE_MESH = 100
"""Nodes from which on a mesh should have reflectors: each node has a session with each other."""
_BALANCER_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Nodes with this label serve no load balancer (Well-Known Labels)."""

K = TypeVar("K")
V = TypeVar("V")


class BgpWorld(msgspec.Struct, frozen=True):
    """Everything that BGP on one node depends on. `mesh`: whether the fabric asks for one.

    `services`: each with those of its addresses that this node would deliver.
    `passwords`: which keys have one that can be used. `leaving`: the node is drained or deleted.
    """

    here: Node
    nodes: tuple[Node, ...] = ()
    settings: BgpSettings = BgpSettings()
    routers: tuple[Peer, ...] = ()
    services: tuple[tuple[Service, frozenset[IPAddress]], ...] = ()
    passwords: frozenset[str] = frozenset()
    mesh: bool = True
    leaving: bool = False

    @property
    def is_meshed(self) -> bool:
        return self.mesh if self.settings.mesh is None else self.settings.mesh

    def reflects(self, node: Node) -> bool:
        chosen = self.settings.reflectors
        return chosen is not None and chosen.matches(node.labels)


def compile_bgp(world: BgpWorld) -> tuple[BgpTables, tuple[Problem, ...]]:
    """The tables of one node, and a Problem for all that cannot be had."""
    problems: list[Problem] = []
    claims: list[BgpClaim] = []
    made = _claims(world) if world.settings.usable else iter(())
    for found in made:
        if isinstance(found, Problem):
            problems.append(found)
        else:
            claims.append(found)
    sessions = _settled(claims, SessionKey, problems)
    # A session that lost its neighbour to an older object has no filters either.
    names = {entry.value.name for entry in sessions.values()}
    filters = _settled(claims, FilterKey, problems)
    sources = (_own(world.here, version) for version in (4, 6))
    tables = BgpTables(
        router_id(world.here),
        sessions,
        _settled(claims, AnnouncementKey, problems),
        {key: entry for key, entry in filters.items() if key.session in names},
        tuple(address for address in sources if address is not None),
    )
    return tables, tuple(sorted(set(problems)))


def _settled(claims: Iterable[BgpClaim], kind: type[K], problems: list[Problem]) -> dict[K, Any]:
    by_key: dict[K, list[Claim[K, Any]]] = {}
    for claim in claims:
        if isinstance(claim.key, kind):
            by_key.setdefault(claim.key, []).append(claim)  # type: ignore[arg-type]
    found: dict[K, Entry[K, Any]] = {}
    for key, rivals in by_key.items():
        found[key], lost = settle_key(rivals)
        problems += lost
    return found


def _claims(world: BgpWorld) -> Iterator[BgpClaim | Problem]:
    if world.is_meshed:
        yield from _mesh(world)
    for peer in world.routers:
        if peer.usable and peer.nodes.matches(world.here.labels):
            yield from _router(world, peer)
    yield from _pod_prefixes(world)
    yield from _service_addresses(world)


def _mesh(world: BgpWorld) -> Iterator[BgpClaim | Problem]:
    here, settings = world.here, world.settings
    key = settings.password_key
    if key and key not in world.passwords:
        yield Problem(Cause(settings.ref, "spec.passwordKey"), _no_password(key, "between nodes"))
        return
    others = tuple(node for node in world.nodes if node.name != here.name and node.prefixes)
    near = tuple(node for node in others if _address_of(here, node) is not None)
    chosen = tuple(node for node in (here, *near) if world.reflects(node))
    yield from _reflector_problems(world, chosen, len(near) + 1)
    for node in near:
        if not chosen or world.reflects(here) or node in chosen:
            yield from _node(world, node, near, reflected=bool(chosen))
    if not any(p.usable and p.nodes.matches(here.labels) for p in world.routers):
        for node in others:
            if node not in near:
                yield Problem(
                    Cause(node.ref, "status.addresses"),
                    f"no session with {node.name}, which is not on {here.name}'s subnet, and no "
                    "router that could know the way: make a BGPPeer for the router between them, "
                    "or use the auto fabric",
                )


def _reflector_problems(world: BgpWorld, chosen: tuple[Node, ...], size: int) -> Iterator[Problem]:
    settings, field = world.settings, "spec.reflectors"
    if settings.reflectors is None:
        if size > LARGE_MESH:
            why = (
                f"{size} nodes have {size * (size - 1) // 2} sessions with each other; label two "
                f"nodes or more and name the label here"
            )
            yield Problem(Cause(settings.ref, field), why)
    elif len(chosen) < 2:
        then = "all nodes have sessions with each other" if not chosen else "it is a single one"
        why = f"{len(chosen)} nodes on this subnet fit {settings.reflectors}: {then}; label two"
        yield Problem(Cause(settings.ref, field), why)


def _node(
    world: BgpWorld, node: Node, near: tuple[Node, ...], *, reflected: bool
) -> Iterator[BgpClaim]:
    """The session with another node, which has one AS number with us (iBGP)."""
    here, settings = world.here, world.settings
    address = _address_of(here, node)
    if address is None:
        return
    cause, name = Cause(node.ref, "status.addresses"), session_name("node", node.name)
    session = Session(
        name=name,
        about=node.ref,
        asn=settings.asn,
        own_asn=settings.asn,
        local=_own(here, address.version),
        next_hops=_own_addresses(here),
        client=reflected and world.reflects(here) and not world.reflects(node),
        password_key=settings.password_key,
        restart_seconds=settings.restart_seconds,
    )
    yield Claim(SessionKey(address), session, cause, node.created)
    sent = near if reflected and world.reflects(node) else (node,)
    rules = tuple(_exactly(network) for each in sent for network in each.networks)
    rules = tuple(sorted(set(rules), key=lambda rule: sort_key(rule.prefix)))
    yield Claim(FilterKey(name, "import"), Filter(rules=rules), cause, node.created)
    reflecting = reflected and world.reflects(here)
    out = Filter(sources=("pods",), reflected=reflecting)
    yield Claim(FilterKey(name, "export"), out, cause, node.created)


def _router(world: BgpWorld, peer: Peer) -> Iterator[BgpClaim | Problem]:
    here, settings = world.here, world.settings
    cause = Cause(peer.ref, "spec.address" if peer.address else "spec.interface")
    if peer.password_key and peer.password_key not in world.passwords:
        yield Problem(Cause(peer.ref, "spec.passwordKey"), _no_password(peer.password_key, "here"))
        return
    local = _own(here, peer.address.version) if peer.address else None
    if peer.address is not None and local is None:
        yield Problem(cause, f"no session from {here.name}: it has no IPv{peer.address.version}")
        return
    if peer.address in here.addresses:
        return  # the node is the router itself
    name = session_name("peer", peer.name)
    session = Session(
        name=name,
        about=peer.ref,
        asn=peer.asn,
        own_asn=settings.asn,
        local=local,
        next_hops=_own_addresses(here),
        password_key=peer.password_key,
        bfd=peer.bfd,
        hops=peer.hops,
        restart_seconds=settings.restart_seconds,
    )
    yield Claim(SessionKey(peer.address, peer.interface), session, cause, peer.created)
    taken = Filter(refused=_not_from_routers(world), rules=peer.imports)
    yield Claim(FilterKey(name, "import"), taken, cause, peer.created)
    given = Filter(("pods", "services"), rules=peer.exports, communities=peer.communities)
    yield Claim(FilterKey(name, "export"), given, cause, peer.created)


def _not_from_routers(world: BgpWorld) -> tuple[IPNetwork, ...]:
    """What this node has itself, or reaches on its own subnet: a router knows no better way."""
    near = (n for n in world.nodes if _address_of(world.here, n) is not None)
    held = {network for node in (world.here, *near) for network in node.networks}
    return tuple(sorted(held, key=sort_key))


def _pod_prefixes(world: BgpWorld) -> Iterator[BgpClaim]:
    if "Pods" in world.settings.announce or world.is_meshed:
        for prefix in world.here.prefixes:
            yield Claim(AnnouncementKey(prefix.network), Announcement("pods"), prefix.cause)


def _service_addresses(world: BgpWorld) -> Iterator[BgpClaim]:
    """The addresses of Services that this node would deliver to a backend."""
    wanted = world.settings.announce
    excluded = _BALANCER_LABEL in world.here.labels
    value = Announcement("services", (SHUTDOWN,) if world.leaving else ())
    for service, delivered in world.services:
        for address, kind, field in service_addresses(service):
            if kind not in wanted or address not in delivered:
                continue
            if kind == "LoadBalancerIPs" and excluded:
                continue
            key = AnnouncementKey(host_prefix(address))
            yield Claim(key, value, Cause(service.ref, field), service.created)


def service_addresses(service: Service) -> Iterator[tuple[IPAddress, Announced, str]]:
    """A Service's own addresses, what each is, and the field it is in."""
    for index, address in enumerate(service.cluster_ips):
        yield address, "ClusterIPs", f"spec.clusterIPs[{index}]"
    for index, address in enumerate(service.external_ips):
        if address not in service.refused:
            yield address, "ExternalIPs", f"spec.externalIPs[{index}]"
    for address in service.load_balancer_ips:
        if address not in service.refused:
            yield address, "LoadBalancerIPs", "status.loadBalancer.ingress"


def _exactly(network: IPNetwork) -> Rule:
    return Rule(network, network.prefixlen, network.prefixlen)


def _address_of(here: Node, node: Node) -> IPAddress | None:
    """The node's address for a session: of a family that both have, and on our own subnet; the
    newer family first.
    """
    for version in (6, 4):
        address = node.address(version)
        if address is None or _own(here, version) is None:
            continue
        if not here.underlay.addresses or here.underlay.on_link(address):
            return address
    return None


def _own(here: Node, version: int) -> IPAddress | None:
    """The machine's own address of the family, if the API's address for it is one."""
    address = here.address(version)
    held = {own.ip for own in here.underlay.addresses}
    return address if not held or address in held else None


def _own_addresses(here: Node) -> tuple[IPAddress, ...]:
    found = (_own(here, version) for version in (4, 6))
    return tuple(address for address in found if address is not None)


def router_id(here: Node) -> str:
    """The node's IPv4 address, or 32 bits that are the same for the same name.

    "a 4-octet, unsigned, non-zero integer" that is unique in the AS (RFC 6286).
    """
    own = of_version(here.addresses, 4)
    if own is not None:
        return str(own)
    digest = hashlib.sha256(here.name.encode("utf-8", "surrogatepass")).digest()
    return ".".join(str(each) for each in (1 + digest[0] % 223, *digest[1:4]))


def _no_password(key: str, where: str) -> str:
    return (
        f"no session {where}: the Secret steppe-bgp-passwords, as this agent sees it, has no "
        f"usable value for {key!r}; put one there of 1 to 80 printable ASCII characters without "
        'quotes (")'
    )
