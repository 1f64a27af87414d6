"""Why each port of a flow is open or closed, with near misses: rules of the policies that close it
which take the peer but other ports, or the port but other peers.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from steppe.explain.unmatched_rules import peer_text, port_text
from steppe.judge.classes import DIRECTIONS, EGRESS, VERSIONS
from steppe.judge.pieces import allowed_of
from steppe.kube.cause import Cause
from steppe.kube.objects import NamedPort
from steppe.kube.policies import Anyone, AnyTraffic, Direction, NetworkPolicy, PortName, Rule
from steppe.net.ports import EVERYTHING, NOTHING, PortRange, PortSet, one_port
from steppe.policy.guards import Piece
from steppe.policy.identities import Identity
from steppe.reach.flows import Flow
from steppe.reach.matrix import Mask, bits
from steppe.reach.reach import Reach


class Near(msgspec.Struct, frozen=True):
    """A rule that nearly lets a flow through, and what it takes instead."""

    cause: Cause
    text: str


class Reason(msgspec.Struct, frozen=True):
    """Ports with one answer for one reason.

    `allowed` is None where it is not known; `because` then has what cannot be read, or the policies
    that may deny. `direction` is whose policies deny: the sender's (egress) or the receiver's; ""
    where nothing is denied.
    """

    ports: PortSet
    allowed: bool | None
    because: tuple[Cause, ...]
    direction: Direction | str = ""
    near: tuple[Near, ...] = ()


class Explained(msgspec.Struct, frozen=True):
    """The reasons for some senders to one receiver, by IP version; a family that they have not in
    common is left out.
    """

    receiver: int
    senders: Mask
    reasons: tuple[tuple[int, tuple[Reason, ...]], ...]


def explained(reach: Reach, flows: Iterable[Flow]) -> Iterator[Explained]:
    """The reasons of all flows; senders for which they are the same are told together."""
    found: dict[tuple[int, tuple[tuple[int, tuple[Reason, ...]], ...]], Mask] = {}
    for flow in flows:
        for sender in bits(flow.senders) if not flow.row.always else ():
            by_version = ((v, _reasons(reach, sender, flow.receiver, v)) for v in VERSIONS)
            key = (flow.receiver, tuple((v, reasons) for v, reasons in by_version if reasons))
            found[key] = found.get(key, 0) | 1 << sender
    for (receiver, reasons), senders in found.items():
        yield Explained(receiver, senders, reasons)


def _reasons(reach: Reach, sender: int, receiver: int, version: int) -> tuple[Reason, ...]:
    ends = (reach.class_of_group[sender], reach.class_of_group[receiver])
    if ends[0] is None or ends[1] is None:
        return ()
    sides = (ends[0].side(version), ends[1].side(version))
    if sides[0] is None or sides[1] is None:
        return ()
    numbers = {
        "egress": (ends[0].egress, sides[1].receiver),
        "ingress": (ends[1].ingress, sides[0].sender),
    }
    pieces = reach.pieces(sender, receiver, version)
    opened = _joined(p for p in pieces if p.allowed)
    most = allowed_of(reach.pieces(sender, receiver, version, "most"))
    open_ = most - allowed_of(pieces) if reach.possible is not reach.matrix else NOTHING
    unknown = (
        Reason(ports & open_ & reach.wanted, allowed=None, because=because)
        for because, ports in _joined(p for p in pieces if not p.allowed).items()
    )
    allowed = (
        Reason(ports & reach.wanted, allowed=True, because=because)
        for because, ports in opened.items()
    )
    denied = (
        reason
        for direction in DIRECTIONS
        for reason in _denied(reach, direction, *numbers[direction], but=open_)
    )
    return tuple(reason for reason in (*allowed, *unknown, *denied) if reason.ports)


def _denied(
    reach: Reach, direction: Direction, guard: int, identity: int, *, but: PortSet
) -> Iterator[Reason]:
    """What one end's policies deny, and why."""
    pieces = reach.classes.pieces(direction, guard, identity)
    known = reach.classes.identities[direction].values[identity]
    own = reach.classes.guards[direction].values[guard]
    names = own.ports if direction == "ingress" else known.ports
    for because, ports in _joined(p for p in pieces if not p.allowed).items():
        asked = (ports & reach.wanted) - but
        near = tuple(_near(reach, _Asked(direction, known, names, asked), because)) if asked else ()
        yield Reason(asked, allowed=False, because=because, direction=direction, near=near)


def _joined(pieces: Iterable[Piece]) -> dict[tuple[Cause, ...], PortSet]:
    """The ports of pieces with the same causes."""
    found: dict[tuple[Cause, ...], PortSet] = {}
    for piece in pieces:
        ports = PortSet((PortRange(piece.protocol, piece.first, piece.last),))
        found[piece.because] = found.get(piece.because, NOTHING) | ports
    return found


class _Asked(msgspec.Struct, frozen=True):
    """What is denied: the peer, the named ports of the receiver, and the ports."""

    direction: Direction
    peer: Identity
    names: frozenset[NamedPort]
    ports: PortSet


def _near(reach: Reach, asked: _Asked, because: Sequence[Cause]) -> Iterator[Near]:
    """The near misses among the rules of these policies, those that take the peer first."""
    policies = reach.cluster.network_policies
    found: list[tuple[bool, Near]] = []
    for cause in because:
        policy = policies.get((cause.ref.namespace, cause.ref.name))
        if cause.ref.kind != "NetworkPolicy" or policy is None:
            continue
        for rule in policy.rules(asked.direction):
            near = _miss(policy, rule, asked)
            if near is not None:
                found.append(near)
        if not policy.rules(asked.direction):
            text = f"has no {asked.direction} rule, so it lets nothing through"
            found.append((False, Near(cause, text)))
    yield from (near for _, near in sorted(found, key=lambda each: not each[0]))


def _miss(policy: NetworkPolicy, rule: Rule, asked: _Asked) -> tuple[bool, Near] | None:
    """Whether the rule takes the peer, and what it takes; None if it takes neither."""
    cause = Cause(policy.ref, rule.field)
    what = ", ".join(map(port_text, rule.ports)) or "no port"
    if Anyone() in rule.peers or cause in asked.peer.rules:
        held = {name.name for name in asked.names}
        unmet = [p.name for p in rule.ports if isinstance(p, PortName) and p.name not in held]
        none = f" (the receiver has no port named {', '.join(unmet)})" if unmet else ""
        return True, Near(cause, f"takes this peer, but only {what}{none}")
    if not _ranges(rule, asked.names) & asked.ports:
        return None
    side = "to" if asked.direction == EGRESS else "from"
    who = ", ".join(map(peer_text, rule.peers)) or "nobody"
    return False, Near(cause, f"takes {what}, but only {side} {who}")


def _ranges(rule: Rule, names: Iterable[NamedPort]) -> PortSet:
    """The rule's ports as numbers."""
    found = NOTHING
    for port in rule.ports:
        if isinstance(port, AnyTraffic):
            return EVERYTHING
        if isinstance(port, PortRange):
            found |= PortSet((port,))
            continue
        for name in names:
            if name.name == port.name and port.protocol in ("", name.protocol):
                found |= one_port(name.protocol, name.number)
    return found
