"""Rules that choose among routing tables (`ip rule`, ip-rule(8))."""

import struct

import msgspec

from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.net.address import prefix_of
from steppe.state.route import PROTOCOL, Rule, RuleKey

RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34

_FIB_RULE = struct.Struct("=BBBBBxxBI")
_FRA_SRC = 2
_FRA_PRIORITY = 6
_FRA_TABLE = 15
_FRA_PROTOCOL = 21
_FR_ACT_TO_TBL = 1
_AF_INET = 2
_AF_INET6 = 10


class RuleInfo(msgspec.Struct, frozen=True):
    """A rule and who put it there."""

    key: RuleKey
    rule: Rule
    protocol: int


def list_rules(family: int) -> Request:
    return Request(RTM_GETRULE, _FIB_RULE.pack(family, 0, 0, 0, 0, 0, 0))


def add_rule(key: RuleKey, rule: Rule) -> Request:
    return Request(RTM_NEWRULE, _body(key, rule), nl.NLM_F_CREATE | nl.NLM_F_EXCL)


def delete_rule(key: RuleKey, rule: Rule) -> Request:
    return Request(RTM_DELRULE, _body(key, rule))


def _body(key: RuleKey, rule: Rule) -> bytes:
    source = key.source
    family = _AF_INET if source.version == 4 else _AF_INET6
    parts = [
        _FIB_RULE.pack(family, 0, source.prefixlen, 0, 0, _FR_ACT_TO_TBL, 0),
        nl.u32(_FRA_PRIORITY, key.priority),
        nl.u32(_FRA_TABLE, rule.routing_table),
        nl.u8(_FRA_PROTOCOL, PROTOCOL),
    ]
    if source.prefixlen:
        parts.append(nl.attribute(_FRA_SRC, source.network_address.packed))
    return b"".join(parts)


def read_rule(message: Message) -> RuleInfo | None:
    """The rule of a RTM_NEWRULE or RTM_DELRULE; None for an action that we never write."""
    family, _, length, _, table, action, _ = _FIB_RULE.unpack_from(message.body)
    if action != _FR_ACT_TO_TBL or family not in (_AF_INET, _AF_INET6):
        return None
    found = nl.attributes(message.body, _FIB_RULE.size)
    anything = bytes(4 if family == _AF_INET else 16)
    source = prefix_of(found.get(_FRA_SRC, anything), length)
    if _FRA_TABLE in found:
        table = nl.number(found[_FRA_TABLE])
    key = RuleKey(source, nl.number(found.get(_FRA_PRIORITY, b"")))
    return RuleInfo(key, Rule(table), nl.number(found.get(_FRA_PROTOCOL, b"")))
