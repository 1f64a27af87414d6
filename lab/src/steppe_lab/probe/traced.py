"""Which rule of nftables drops a probe, by the kernel's own trace of it.

    table inet steppe-verify    marks probes as traced, before all other rules, while this lasts
    NFNLGRP_NFTRACE             a message for each rule that such a packet matches: its verdict

Rules of every program are seen, also those of iptables' nft variant. What no rule drops (a route, a
reverse path filter, a link) shows as the last chain that the packet got to. Names are those of
linux/netfilter/nf_tables.h.
"""

import contextlib
import re
import socket
from collections.abc import Iterable
from errno import ENOBUFS
from functools import partial
from typing import Self

import msgspec

from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.hearing import join
from steppe.drivers.netlink.message import Message
from steppe.drivers.netlink.socket import open_socket
from steppe.drivers.nftables.library import Library, NftError, Output
from steppe.errors import SteppeError
from steppe.net.packet import PROTOCOLS
from steppe_lab import netns
from steppe_lab.probe import wire

TABLE = "steppe-verify"
_NFNLGRP_NFTRACE = 9
_TRACE = nfnl.kind(nfnl.NFTABLES, 17)
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID = 1, 2, 3, 4, 5, 6
_NETWORK, _TRANSPORT, _OIF, _FAMILY, _POLICY = 8, 9, 12, 15, 16
_BY_POLICY, _BY_RULE = 1, 3
_DROP = 0
_COUNTED = re.compile(r"counter packets \d+ bytes \d+ ?")
"""It differs from packet to packet, and the rule is the same."""
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_BUFFER = 8 << 20
_DATAGRAM = 1 << 16

Chain = tuple[str, str, str]
"""Family, table and name."""


class Dropped(msgspec.Struct, frozen=True):
    """The namespace and chain in which a probe was last seen, and the rule that dropped it there:
    "" if none did. `routed`: it was known by which link it leaves.
    """

    netns: str
    chain: Chain
    rule: str = ""
    routed: bool = False

    @property
    def text(self) -> str:
        if self.rule:
            return f"{' '.join(self.chain)}: {self.rule}"
        if self.routed:
            return "no rule: lost after routing, by its route's next hop or a link"
        return "no rule: lost before or by routing (no route, a blackhole, rp_filter)"


class _Pass(msgspec.Struct, frozen=True):
    """A probe in the chains of one hook; `place` is higher the later the hook is on its way.

    A router takes one from the TTL before it forwards; of hooks with one TTL those that know by
    which link the packet leaves come first, for they are of the machine before.
    """

    number: int
    answer: bool
    place: tuple[int, bool]


class _At(msgspec.Struct, frozen=True):
    place: tuple[int, bool]
    netns: str
    family: str
    table: str
    chain: str
    handle: int = 0
    dropped: bool = False


class Traces:
    """Follows the probes with these numbers through the rules of some namespaces.

    Invariant: the tables and sockets that it makes are gone on exit.
    """

    def __init__(self, names: Iterable[str], first: int, count: int) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._first, self._count = first, count
        self._begun: list[str] = []
        self._sockets: dict[str, socket.socket] = {}
        self._passes: dict[tuple[str, int], _Pass] = {}
        self._last: dict[tuple[int, bool], _At] = {}
        self._lists: dict[tuple[str, str], str] = {}
        """By namespace and command: what nft listed; many packets end in one chain."""

    def __enter__(self) -> Self:
        try:
            for name in self._names:
                self._begun.append(name)
                self._sockets[name] = netns.inside(name, self._begin)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets.values():
            sock.close()
        for name in self._begun:
            # Where it was not made, or has gone with its namespace, the others still have to go.
            with contextlib.suppress(SteppeError):
                netns.inside(name, partial(_run, f"delete table inet {TABLE}"))
        self._sockets.clear()
        self._begun.clear()

    def take(self) -> None:
        """Take in what the kernel has told so far; never waits."""
        for name, sock in self._sockets.items():
            while True:
                try:
                    data = sock.recv(_DATAGRAM)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != ENOBUFS:
                        raise
                    continue  # some were lost: what is known of these probes may be less
                for message in nl.messages(data):
                    if message.kind == _TRACE:
                        self._note(name, message)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """They are readable when there is something to take in."""
        return tuple(self._sockets.values())

    def dropped(self, number: int) -> Dropped | None:
        """Where the probe with this number ended, or its answer; None if no rule saw it."""
        at = self._last.get((number, True)) or self._last.get((number, False))
        if at is None:
            return None
        family, rule = self._found(at)
        chain = family, at.table, at.chain
        return Dropped(at.netns, chain, rule if at.dropped else "", routed=not at.place[1])

    def _begin(self) -> socket.socket:
        _run(_marking(self._first, self._first + self._count))
        sock = open_socket(None, _BUFFER, socket.SOCK_NONBLOCK, nfnl.NETLINK_NETFILTER)
        join(sock, [_NFNLGRP_NFTRACE])
        return sock

    def _note(self, name: str, message: Message) -> None:
        found = nfnl.attributes(message)
        key = name, _number(found.get(_ID))
        if _TRANSPORT in found and _NETWORK in found:
            self._passes.pop(key, None)
            begun = _pass(found)
            if begun is not None:
                self._passes[key] = begun
        table, chain = nl.string(found.get(_TABLE, b"")), nl.string(found.get(_CHAIN, b""))
        now = self._passes.get(key)
        if now is None:
            return
        which = now.number, now.answer
        before = self._last.get(which)
        if before is not None and (before.dropped or before.place > now.place):
            return
        family = _FAMILIES.get(_number(found.get(_FAMILY)), "?")
        handle, dropped = _verdict(found)
        self._last[which] = _At(now.place, name, family, table, chain, handle, dropped)

    def _found(self, at: _At) -> tuple[str, str]:
        """The family of the chain's table, and the rule there that gave the verdict.

        The kernel tells the packet's own family, also of a chain of an inet table.
        """
        there = self._listed(at)
        for family, listed in there:
            rule = re.search(rf"^\s*(.*) # handle {at.handle}$", listed, re.MULTILINE)
            if rule is not None:
                return family, _COUNTED.sub("", rule[1])
        family = there[0][0] if there else at.family
        return family, f"rule with handle {at.handle}" if at.handle else "policy drop"

    def _listed(self, at: _At) -> list[tuple[str, str]]:
        """The chains of this name, each with its family."""
        found: list[tuple[str, str]] = []
        for family in (at.family, "inet"):
            command = f"list chain {family} {at.table} {at.chain}"
            with contextlib.suppress(NftError):  # the table is of the other family, or is gone
                found.append((family, self._list(at.netns, command)))
        return found

    def _list(self, name: str, command: str) -> str:
        if (name, command) not in self._lists:
            self._lists[name, command] = netns.inside(name, partial(_run, command))
        return self._lists[name, command]


def _pass(found: dict[int, bytes]) -> _Pass | None:
    """The probe that the first message of a hook is about; None for other packets."""
    network = found[_NETWORK]
    probe = _probe(network, found[_TRANSPORT])
    if probe is None:
        return None
    lifetime = network[8] if network[0] >> 4 == 4 else network[7]
    return _Pass(*probe, (-lifetime, _OIF not in found))


def _verdict(found: dict[int, bytes]) -> tuple[int, bool]:
    """The rule that gave the verdict, 0 for a chain's policy, and whether it is to drop."""
    kind, policy = _number(found.get(_TYPE)), found.get(_POLICY)
    if kind == _BY_POLICY:
        return 0, policy is not None and _number(policy) == _DROP
    verdict = nl.attributes(found.get(_VERDICT, b"")).get(1)
    dropped = kind == _BY_RULE and verdict is not None and _number(verdict) == _DROP
    return _number(found.get(_HANDLE)), dropped


def _number(data: bytes | None) -> int:
    """A number in network order, as nf_tables writes them; 0 if it is missing."""
    return int.from_bytes(data or b"", "big")


def _run(text: str) -> str:
    with Library() as nft:
        return nft.ask(text, Output.TERSE | Output.HANDLE)


def _marking(first: int, last: int) -> str:
    mark = int.from_bytes(wire.MARK, "big")
    rules = (
        f"meta l4proto {{ udp, icmp, ipv6-icmp }} @th,64,32 {mark} meta nftrace set 1",
        f"meta l4proto tcp @th,32,32 >= {first} @th,32,32 <= {last} meta nftrace set 1",
        f"meta l4proto tcp @th,64,32 > {first} @th,64,32 <= {last + 1} meta nftrace set 1",
        f"meta l4proto sctp @th,128,32 >= {first} @th,128,32 <= {last} meta nftrace set 1",
    )
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -500; {'; '.join(rules)}; }}\n"
        for hook in ("prerouting", "output")
    )
    return f"add table inet {TABLE}; delete table inet {TABLE}; table inet {TABLE} {{\n{chains}}}"


def _probe(network: bytes, transport: bytes) -> tuple[int, bool] | None:
    """The number of a probe by the beginnings of its headers, and whether this is its answer."""
    if not network:
        return None
    version = network[0] >> 4
    protocol = PROTOCOLS.get(network[9] if version == 4 else network[6])
    if protocol is None:
        return None
    if protocol == "SCTP":
        return int.from_bytes(transport[16:20], "big"), False
    heard = wire.heard(protocol, version, transport)
    return (heard.number, heard.what != "asked") if heard is not None else None
