"""Rules that add a packet's priority to a dynamic map, or delete it, as bytes of nf_tables.

    rule        NFTA_RULE_EXPRESSIONS { expression ... }
    expression  NFTA_LIST_ELEM { NAME | DATA { ... } }

nft 1.0.6 keeps 16 bytes of registers for the key of such a rule, whatever its length, and ends in
a failed assertion where that is not enough (netlink_linearize.c:799). It reads what we write.
"""

from steppe.drivers.netlink import message as nl
from steppe.drivers.nftables.library import NftError
from steppe.state.nft import Chain, Forget, Remember, Rule

_NFTA_LIST_ELEM = 1
_NFTA_EXPR_NAME = 1
_NFTA_EXPR_DATA = 2

_NETWORK, _TRANSPORT = 1, 2
_PRIORITY, _NFPROTO, _L4PROTO = 2, 15, 16
_DYNSET_UPDATE, _DYNSET_DELETE = 1, 2
_PROTOCOLS = {"ip": 2, "ip6": 10}  # NFPROTO_IPV4, NFPROTO_IPV6

_PAYLOADS = {
    "ip saddr": (_NETWORK, 12, 4),
    "ip daddr": (_NETWORK, 16, 4),
    "ip6 saddr": (_NETWORK, 8, 16),
    "ip6 daddr": (_NETWORK, 24, 16),
    "th dport": (_TRANSPORT, 2, 2),
}
"""Of each field the header that it is in, its place there and its length in bytes."""


def is_remembering(chain: Chain) -> bool:
    """Whether the chain's rules are written here; such rules are in chains of their own."""
    return any(isinstance(rule.action, Remember | Forget) for rule in chain.rules)


def packed_rule(rule: Rule) -> bytes:
    """The rule's expressions."""
    action = rule.action
    if not isinstance(action, Remember | Forget) or rule.matches or rule.comment:
        raise NftError(f"{rule}: not for a chain that remembers")
    protocol = _PROTOCOLS[action.field.partition(" ")[0]]
    parts = [_meta(_NFPROTO, 0), _equal(0, protocol)]
    at = 0  # in registers of 4 bytes
    for field in action.field.split(" . "):
        if field == "meta l4proto":
            parts.append(_meta(_L4PROTO, at))
            at += 1
        else:
            parts.append(_payload(field, at))
            at += -(-_PAYLOADS[field][2] // 4)
    parts += [_meta(_PRIORITY, at), _dynset(action, at)]
    return b"".join(parts)


def _payload(field: str, at: int) -> bytes:
    header, offset, length = _PAYLOADS[field]
    data = (_u32(1, _register(at)), _u32(2, header), _u32(3, offset), _u32(4, length))
    return _expression("payload", *data)


def _meta(key: int, at: int) -> bytes:
    return _expression("meta", _u32(2, key), _u32(1, _register(at)))


def _equal(at: int, value: int) -> bytes:
    data = nl.nested(3, nl.attribute(1, bytes((value,))))
    return _expression("cmp", _u32(1, _register(at)), _u32(2, 0), data)


def _dynset(action: Remember | Forget, priority_at: int) -> bytes:
    operation, timeout = _DYNSET_DELETE, b""
    if isinstance(action, Remember):
        operation = _DYNSET_UPDATE
        timeout = nl.attribute(6, (action.seconds * 1000).to_bytes(8, "big"))
    key, data = _u32(4, _register(0)), _u32(5, _register(priority_at))
    name = nl.text(1, action.map)
    return _expression("dynset", key, data, _u32(3, operation), timeout, name)


def _expression(name: str, *data: bytes) -> bytes:
    parts = (nl.text(_NFTA_EXPR_NAME, name), nl.nested(_NFTA_EXPR_DATA, *data))
    return nl.nested(_NFTA_LIST_ELEM, *parts)


def _register(at: int) -> int:
    """The number of a register of 4 bytes: NFT_REG_1 to 4 where one of 16 begins, or NFT_REG32."""
    return 8 + at if at % 4 else 1 + at // 4


def _u32(kind: int, number: int) -> bytes:
    return nl.attribute(kind, number.to_bytes(4, "big"))
