"""Rules of iptables-legacy and ip6tables-legacy, read as their own library does (libiptc).

    getsockopt(IPT_SO_GET_INFO)      how large a table is, where its hooks begin
    getsockopt(IPT_SO_GET_ENTRIES)   its rules: a header, matches, a target (linux/…/ip_tables.h)

Only tables that are in use are read: to ask for another one would make it. Read only.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from steppe.drivers.errors import KernelError
from steppe.drivers.nftables.expressions import both, target
from steppe.drivers.nftables.ways import ways_from
from steppe.net.address import IPNetwork, prefix_of
from steppe.net.packet import protocol_word
from steppe.state.surroundings import Matching, PacketRule, Ports

_NAMES = "/proc/thread-self/net"
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32s13I")
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_EXTENSION = struct.Struct("=H29sB")
_STANDARD, _ERROR = "", "ERROR"
_VERDICT = struct.Struct("=i")
_TRANSPORT = struct.Struct("=HHHH")
_DROP = -1
_MARK = 0xFFFFFFFF
_libc = ctypes.CDLL(None, use_errno=True)


class _Family(msgspec.Struct, frozen=True):
    """How the two programs differ; `head` ends with protocol, flags and inverted flags."""

    program: str
    names: str
    version: int
    domain: int
    level: int
    entry: int
    offsets: int
    address: int
    proto: int


_FAMILIES = (
    _Family("iptables-legacy", "ip_tables_names", 4, socket.AF_INET, socket.SOL_IP, 112, 88, 4, 80),
    _Family("ip6tables-legacy", "ip6_tables_names", 6, socket.AF_INET6, 41, 168, 140, 16, 128),
)


class _Rule(msgspec.Struct, frozen=True):
    """`named`: it is no rule, but stands before those of a chain of this name. `jump`: the offset
    of the first rule of the chain that follows.
    """

    matching: Matching
    does: str
    named: str
    jump: int
    words: str


_Chain = tuple[str, list[_Rule]]
"""Its name, and its rules."""


def packet_rules() -> tuple[PacketRule, ...]:
    """All rules that do more than let pass; KernelError where they cannot be read."""
    return tuple(rule for family in _FAMILIES for rule in _of_family(family))


def _of_family(family: _Family) -> Iterator[PacketRule]:
    try:
        names = Path(_NAMES, family.names).read_text().split()
    except FileNotFoundError:
        return  # no such kernel module
    except OSError as error:
        raise KernelError(f"list {family.program}'s tables", error.errno or 0) from error
    for table in names:
        yield from _in_table(family, table)


def _in_table(family: _Family, table: str) -> Iterator[PacketRule]:
    info, data = _read(family, table)
    valid, starts, ends = info[1], info[2:7], info[7:12]
    rules = dict(_rules(family, data))
    chains = _chains(rules)
    hooks = {starts[n]: (hook, ends[n]) for n, hook in enumerate(_HOOKS) if valid >> n & 1}
    for start, (hook, end) in hooks.items():
        own = [rule for offset, rule in rules.items() if start <= offset < end]
        chains[start] = hook.upper(), [*own, _policy(rules[end])]
    jumps = {
        first: [(rule.jump, rule.matching) for rule in own if rule.jump in chains]
        for first, (_, own) in chains.items()
    }
    for start, (hook, _) in hooks.items():
        for first, ways in ways_from(start, jumps).items():
            yield from _of_chain(f"{family.program} {table}", hook, chains[first], ways)


def _policy(rule: _Rule) -> _Rule:
    """The last rule of a hook: it takes what no other has taken."""
    asked = both(rule.matching, Matching(partial=True))
    return msgspec.structs.replace(rule, matching=asked, words="policy drop")


def _of_chain(
    table: str, hook: str, chain: _Chain, ways: Iterable[Matching]
) -> Iterator[PacketRule]:
    name, rules = chain
    for rule in rules:
        bits = _MARK if rule.does == "mark" else 0
        for asked in dict.fromkeys(both(way, rule.matching) for way in ways) if rule.does else ():
            yield PacketRule(f"{table} {name}", hook, rule.words, rule.does, asked, bits)


def _chains(rules: Mapping[int, _Rule]) -> dict[int, _Chain]:
    """The chains of somebody's own, by the offset of the first rule; those of hooks come before."""
    found: dict[int, _Chain] = {}
    name, own = "", list[_Rule]()
    for offset, rule in rules.items():
        if rule.named:
            name, own = rule.named, []
        elif name:
            own.append(rule)
            if len(own) == 1:
                found[offset] = name, own
    return found


def _rules(family: _Family, data: bytes) -> Iterator[tuple[int, _Rule]]:
    offset = 0
    while offset + family.entry <= len(data):
        at_target, at_next = struct.unpack_from("=HH", data, offset + family.offsets)
        if at_next < family.entry or at_target < family.entry:
            raise KernelError(f"read {family.program}'s rules", detail="they make no sense")
        yield offset, _rule(family, data[offset : offset + at_next], at_target)
        offset += at_next


def _rule(family: _Family, entry: bytes, at_target: int) -> _Rule:
    found, words = _head(family, entry)
    at = family.entry
    while at + _EXTENSION.size <= at_target:
        size, raw, _ = _EXTENSION.unpack_from(entry, at)
        name = _text(raw)
        found, more = _extension(found, name, entry[at + 32 : at + size])
        words = f"{words} {more}"
        at += max(size, _EXTENSION.size)
    _, raw, _ = _EXTENSION.unpack_from(entry, at_target)
    name, does, jump, own = _text(raw), "", -1, ""
    if name == _ERROR:
        own = _text(entry[at_target + 32 : at_target + 62])
    elif name == _STANDARD:
        (verdict,) = _VERDICT.unpack_from(entry, at_target + 32)
        does, jump = ("drop", -1) if verdict == _DROP else ("", verdict)
        name = "DROP" if does else ""
    else:
        does = target(name)
    text = " ".join(f"{words} -j {name}".split())
    return _Rule(found, does, own, jump, text)


def _head(family: _Family, entry: bytes) -> tuple[Matching, str]:
    size = family.address
    of, to, of_mask, to_mask = (entry[n * size : (n + 1) * size] for n in range(4))
    links = 4 * size
    iif, oif = _text(entry[links : links + 16]), _text(entry[links + 16 : links + 32])
    (number,) = struct.unpack_from("=H", entry, family.proto)
    inverted = entry[family.proto + (4 if family.version == 6 else 3)]
    protocol = protocol_word(number)
    source, destination = _prefix(of, of_mask), _prefix(to, to_mask)
    named = (("-s", source), ("-d", destination), ("-i", iif), ("-o", oif), ("-p", protocol))
    # IPT_INV_VIA_IN, VIA_OUT, TOS, SRCIP, DSTIP, FRAG, PROTO
    bits = {"-i": 1, "-o": 2, "-s": 8, "-d": 16, "-p": 64}
    words, kept = [], dict[str, Any]()
    for word, value in named:
        if not value:
            continue
        turned = bool(inverted & bits[word])
        words.append(f"{'! ' if turned else ''}{word} {value}")
        kept[word] = None if turned else value
    found = Matching(
        version=family.version,
        sources=(kept["-s"],) if kept.get("-s") else (),
        destinations=(kept["-d"],) if kept.get("-d") else (),
        protocol=kept.get("-p") or "",
        iif=_wild(kept.get("-i") or ""),
        oif=_wild(kept.get("-o") or ""),
        partial=bool(inverted),
    )
    return found, " ".join(words)


def _wild(name: str) -> str:
    return name.replace("+", "*")


def _extension(found: Matching, name: str, data: bytes) -> tuple[Matching, str]:
    """What one match asks for (`-m NAME`), as far as it is understood."""
    if name == "comment":
        return found, f'-m comment --comment "{_text(data)}"'
    if name in ("tcp", "udp") and len(data) >= _TRANSPORT.size:
        first, last, low, high = _TRANSPORT.unpack_from(data)
        inverted = data[11] if name == "tcp" else data[8]
        ports: tuple[Ports, ...] = () if (low, high) == (0, 0xFFFF) else ((low, high),)
        partial = (
            bool(inverted) or (first, last) != (0, 0xFFFF) or (name == "tcp" and any(data[8:11]))
        )
        dport = f" --dport {low}" + (f":{high}" if high != low else "") if ports else ""
        return both(found, Matching(ports=ports, partial=partial)), f"-m {name}{dport}"
    return both(found, Matching(partial=True)), f"-m {name}"


def _prefix(address: bytes, mask: bytes) -> IPNetwork | None:
    length = int.from_bytes(mask, "big").bit_count()
    return prefix_of(address, length) if length else None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def _read(family: _Family, table: str) -> tuple[tuple[Any, ...], bytes]:
    what = f"read table {table} of {family.program}"
    name = table.encode().ljust(32, b"\0")
    try:
        # Any socket of the family will do, and this one needs no CAP_NET_RAW.
        with socket.socket(family.domain, socket.SOCK_DGRAM) as opened:
            info = _INFO.unpack(_ask(opened, family.level, _GET_INFO, name, _INFO.size - 32))
            asked = name + struct.pack("=I4x", info[-1])
            return info, _ask(opened, family.level, _GET_ENTRIES, asked, info[-1])[40:]
    except OSError as error:
        raise KernelError(what, error.errno or 0) from error


def _ask(opened: socket.socket, level: int, option: int, asked: bytes, more: int) -> bytes:
    buffer = ctypes.create_string_buffer(asked, len(asked) + more)
    length = ctypes.c_uint32(len(buffer))
    result = _libc.getsockopt(opened.fileno(), level, option, buffer, ctypes.byref(length))
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw
