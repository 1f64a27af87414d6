"""Every rule that chooses a routing table, whoever made it (`ip rule`), but Steppe's own."""

import struct

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink import rule as own
from steppe.drivers.netlink.message import Message
from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.drivers.surroundings.look import Look
from steppe.net.address import prefix_of
from steppe.net.packet import protocol_word
from steppe.state.surroundings import Ports, RoutingRule

_FIB_RULE = struct.Struct("=BBBBBxxBI")
_AF_INET = 2
_AF_INET6 = 10
_INVERT = 2
_ACTIONS = {1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_PORTS = struct.Struct("=HH")
_NO_SUPPRESSION = 0xFFFFFFFF

# FRA_… in linux/fib_rules.h
_DST, _SRC, _IIFNAME, _GOTO, _PRIORITY, _FWMARK = 1, 2, 3, 4, 6, 10
_SUPPRESS_PREFIXLEN, _TABLE, _FWMASK, _OIFNAME = 14, 15, 16, 17
_PROTOCOL, _IP_PROTO, _SPORT_RANGE, _DPORT_RANGE = 21, 22, 23, 24
_UNKNOWN: dict[int, tuple[str, bytes]] = {
    12: ("tun_id", bytes(8)),
    13: ("suppress_ifgroup", b"\xff" * 4),
    19: ("l3mdev", bytes(1)),
    20: ("uidrange", b""),
    25: ("dscp", b""),
}
"""Selectors that depend on more than addresses and ports, with the value that means "any"."""


def read(look: Look) -> tuple[RoutingRule, ...]:
    """NetlinkError where they cannot be read."""
    with NetlinkSocket() as socket:
        found = [
            rule
            for family in (_AF_INET, _AF_INET6)
            for message in socket.dump(own.list_rules(family))
            if (rule := _rule(message)) is not None
        ]
    return tuple(rule for rule in found if not look.protocol or rule.origin != look.protocol)


def _rule(message: Message) -> RoutingRule | None:
    family, to, of, tos, table, action, flags = _FIB_RULE.unpack_from(message.body)
    if family not in (_AF_INET, _AF_INET6):
        return None
    found = nl.attributes(message.body, _FIB_RULE.size)
    unknown = [word for kind, (word, unset) in _UNKNOWN.items() if found.get(kind, unset) != unset]
    unknown += [f"tos {tos:#x}"] if tos else []
    known = _ACTIONS.get(action)
    if known is None:
        known, unknown = "nop", [*unknown, f"action {action}"]
    suppress = nl.number(found.get(_SUPPRESS_PREFIXLEN, b"\xff" * 4))
    mark = nl.number(found.get(_FWMARK, b""))
    number = nl.number(found.get(_IP_PROTO, b""))
    return RoutingRule(
        version=4 if family == _AF_INET else 6,
        priority=nl.number(found.get(_PRIORITY, b"")),
        action=known,  # type: ignore[arg-type]
        routing_table=nl.number(found[_TABLE]) if _TABLE in found else table,
        source=prefix_of(found[_SRC], of) if _SRC in found else None,
        destination=prefix_of(found[_DST], to) if _DST in found else None,
        iif=nl.string(found.get(_IIFNAME, b"")),
        oif=nl.string(found.get(_OIFNAME, b"")),
        mark=mark,
        mask=nl.number(found.get(_FWMASK, b"")) if mark or _FWMASK in found else 0,
        inverted=bool(flags & _INVERT),
        protocol=protocol_word(number),
        source_ports=_ports(found.get(_SPORT_RANGE)),
        destination_ports=_ports(found.get(_DPORT_RANGE)),
        unknown=tuple(unknown),
        suppress=-1 if suppress == _NO_SUPPRESSION else suppress,
        target=nl.number(found.get(_GOTO, b"")),
        origin=nl.number(found.get(_PROTOCOL, b"")),
    )


def _ports(payload: bytes | None) -> Ports | None:
    if payload is None:
        return None
    first, last = _PORTS.unpack_from(payload)
    return first, last
