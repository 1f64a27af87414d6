"""BGPPeer and BGPSettings, checked: a part that cannot be used becomes a Problem.

Failing closed: a peer without a readable address, AS number or node selector has no session; a list
of rules with a rule that cannot be read lets nothing through in its direction.
"""

import re
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from steppe.bgp import wire
from steppe.kube.cause import Cause, ObjectRef, Problem
from steppe.kube.policy_wire import LabelSelector
from steppe.kube.selectors import Selector, selector_from
from steppe.net.address import IPAddress, IPNetwork, parse_address, parse_prefix

SETTINGS_NAME = "default"
"""The only BGPSettings that is used."""
OWN_ASN = 64512
"""The AS number where nobody gives one: the first for private use (RFC 6996, section 5)."""
RESTART_SECONDS = 120

Announced = Literal["Pods", "ClusterIPs", "ExternalIPs", "LoadBalancerIPs"]
ANNOUNCED: frozenset[Announced] = frozenset(("Pods", "ExternalIPs", "LoadBalancerIPs"))
"""What is announced where nobody says; cluster IPs are for clients inside the cluster."""

_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
"""The names that the kernel takes (at most 15 bytes), without those that are patterns to BIRD."""
_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
"""A key of a Secret: "alphanumeric characters, -, _ or ." (Secret.data)."""


class Rule(msgspec.Struct, frozen=True):
    """Accepts or rejects the prefixes in `prefix` that are `lowest` to `highest` bits long."""

    prefix: IPNetwork
    lowest: int
    highest: int
    accept: bool = True


NOTHING: tuple[Rule, ...] = ()
"""Rules that let nothing through."""


class Community(msgspec.Struct, frozen=True, order=True):
    """A community of two parts (RFC 1997, 16 bits each) or three (RFC 8092, 32 bits each)."""

    parts: tuple[int, ...]

    def __str__(self) -> str:
        return ":".join(map(str, self.parts))


class Peer(msgspec.Struct, frozen=True):
    """A router that nodes have a session with: by address, or the one found on an interface.

    `usable`: False if it must have no session. `imports`, `exports`: the first rule that fits a
    prefix decides, and without a fit it is rejected; None where no rules are given.
    """

    name: str
    created: str = ""
    usable: bool = True
    nodes: Selector = Selector()
    address: IPAddress | None = None
    interface: str = ""
    asn: int = 0
    password_key: str = ""
    bfd: bool = False
    hops: int = 1
    imports: tuple[Rule, ...] | None = None
    exports: tuple[Rule, ...] | None = None
    communities: tuple[Community, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("BGPPeer", "", self.name)


class BgpSettings(msgspec.Struct, frozen=True):
    """What is the same for all sessions; `mesh` is None where the fabric decides.

    `usable`: False if there must be no session at all.
    """

    name: str = SETTINGS_NAME
    usable: bool = True
    asn: int = OWN_ASN
    mesh: bool | None = None
    reflectors: Selector | None = None
    announce: frozenset[Announced] = ANNOUNCED
    password_key: str = ""
    restart_seconds: int = RESTART_SECONDS

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef("BGPSettings", "", self.name)


class _Reading:
    """Collects the Problems of one object."""

    def __init__(self, ref: ObjectRef) -> None:
        self.ref = ref
        self.problems: list[Problem] = []

    def wrong(self, field: str, why: str) -> None:
        self.problems.append(Problem(Cause(self.ref, field), why))

    def asn(self, number: int, field: str) -> int:
        """The AS number; 0 if it is none."""
        # "AS 0 … is reserved" (RFC 7607), and so is the last one (RFC 7300).
        if 0 < number < 0xFFFFFFFF:
            return number
        self.wrong(field, f"{number} is no AS number; give one from 1 to 4294967294")
        return 0

    def between(self, number: int, lowest: int, highest: int, field: str, otherwise: int) -> int:
        if lowest <= number <= highest:
            return number
        self.wrong(
            field, f"{number} is out of bounds, {otherwise} is used; give {lowest} to {highest}"
        )
        return otherwise

    def rules(self, seen: Iterable[wire.Rule] | None, field: str) -> tuple[Rule, ...] | None:
        if seen is None:
            return None
        found = [self._rule(each, f"{field}[{index}]") for index, each in enumerate(seen)]
        if None in found:
            return NOTHING
        return tuple(rule for rule in found if rule is not None)

    def _rule(self, seen: wire.Rule, field: str) -> Rule | None:
        then = "nothing passes in this direction until it is corrected"
        try:
            prefix = parse_prefix(seen.prefix)
        except ValueError as error:
            self.wrong(f"{field}.prefix", f"not a prefix: {error}; {then}")
            return None
        lowest = prefix.prefixlen if seen.min_length is None else seen.min_length
        highest = max(prefix.prefixlen, lowest) if seen.max_length is None else seen.max_length
        if not prefix.prefixlen <= lowest <= highest <= prefix.max_prefixlen:
            bounds = f"{prefix.prefixlen} ≤ minLength ≤ maxLength ≤ {prefix.max_prefixlen}"
            self.wrong(field, f"lengths {lowest} to {highest} of {prefix}: give {bounds}; {then}")
            return None
        if seen.action not in ("Accept", "Reject"):
            self.wrong(f"{field}.action", f"{seen.action!r} is not Accept or Reject; {then}")
            return None
        return Rule(prefix, lowest, highest, seen.action == "Accept")

    def communities(self, texts: Iterable[str] | None, field: str) -> tuple[Community, ...]:
        found: set[Community] = set()
        for index, text in enumerate(texts or ()):
            community = _community(text)
            if community is None:
                why = f"{text!r} is no community and is left out; give one such as 64512:100"
                self.wrong(f"{field}[{index}]", why)
            else:
                found.add(community)
        return tuple(sorted(found))

    def key(self, text: str, field: str) -> str | None:
        """The key of a password ("" for none); None if it is not one."""
        if not text or _KEY.fullmatch(text):
            return text
        self.wrong(field, f"{text!r} is no key of a Secret, so there is no session; correct it")
        return None

    def selector(self, seen: LabelSelector | None, field: str) -> Selector | None:
        selector, understood = selector_from(seen, self.ref, field, self.problems)
        return selector if understood else None


def _community(text: str) -> Community | None:
    parts = text.split(":")
    highest = {2: 0xFFFF, 3: 0xFFFFFFFF}.get(len(parts), -1)
    if not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts):
        return None
    numbers = tuple(map(int, parts))
    return Community(numbers) if all(number <= highest for number in numbers) else None


def peer_from(seen: wire.BGPPeer) -> tuple[Peer, tuple[Problem, ...]]:
    """The checked peer, and a Problem for each part that cannot be used."""
    spec, name = seen.spec, seen.metadata.name
    read = _Reading(ObjectRef("BGPPeer", "", name))
    address = _address(spec, read)
    nodes = read.selector(spec.nodes, "spec.nodes")
    key = read.key(spec.password_key, "spec.passwordKey")
    asn = read.asn(spec.asn, "spec.asn")
    found = not spec.address and bool(_INTERFACE.fullmatch(spec.interface))
    peer = Peer(
        name=name,
        created=seen.metadata.creation_timestamp or "",
        usable=(found or address is not None)
        and nodes is not None
        and key is not None
        and bool(asn),
        nodes=nodes or Selector(),
        address=address,
        interface=spec.interface,
        asn=asn,
        password_key=key or "",
        bfd=spec.bfd,
        hops=read.between(spec.hops, 1, 255, "spec.hops", 1),
        imports=read.rules(spec.imports, "spec.import"),
        exports=read.rules(spec.exports, "spec.export"),
        communities=read.communities(spec.communities, "spec.communities"),
    )
    return peer, tuple(read.problems)


def _address(spec: wire.PeerSpec, read: _Reading) -> IPAddress | None:
    """The peer's address, if it has one; a Problem if it has neither that nor an interface."""
    if bool(spec.address) == bool(spec.interface):
        read.wrong("spec.address", "no session: give either an address or an interface")
        return None
    if spec.interface:
        if not _INTERFACE.fullmatch(spec.interface):
            read.wrong("spec.interface", f"{spec.interface!r} is no name of a link; correct it")
        return None
    try:
        address = parse_address(spec.address)
    except ValueError as error:
        read.wrong("spec.address", f"no session, for it is not an address: {error}")
        return None
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        read.wrong("spec.address", f"no session: {address} is no router's address")
        return None
    if address.is_link_local:
        why = f"no session: {address} means nothing without its link; give spec.interface instead"
        read.wrong("spec.address", why)
        return None
    return address


def settings_from(seen: wire.BGPSettings) -> tuple[BgpSettings, tuple[Problem, ...]]:
    """The checked settings, and a Problem for each part that cannot be used."""
    spec, name = seen.spec, seen.metadata.name
    read = _Reading(ObjectRef("BGPSettings", "", name))
    if name != SETTINGS_NAME:
        read.wrong("metadata.name", f"not used: only the one with the name {SETTINGS_NAME!r} is")
    asn = OWN_ASN if spec.asn is None else read.asn(spec.asn, "spec.asn")
    key = read.key(spec.password_key, "spec.passwordKey")
    asked = spec.graceful_restart_seconds
    seconds = RESTART_SECONDS if asked is None else asked
    settings = BgpSettings(
        name=name,
        usable=bool(asn) and key is not None,
        asn=asn,
        mesh=spec.mesh,
        reflectors=read.selector(spec.reflectors, "spec.reflectors") if spec.reflectors else None,
        announce=_announced(spec.announce, read),
        password_key=key or "",
        # "Restart Time: … 12 bits" (RFC 4724, section 3)
        restart_seconds=read.between(
            seconds, 1, 4095, "spec.gracefulRestartSeconds", RESTART_SECONDS
        ),
    )
    return settings, tuple(read.problems)


def _announced(seen: Iterable[str] | None, read: _Reading) -> frozenset[Announced]:
    if seen is None:
        return ANNOUNCED
    known: dict[str, Announced] = {word: word for word in get_args(Announced)}
    given = tuple(seen)
    for index, word in enumerate(given):
        if word not in known:
            why = f"{word!r} is not announced: give some of {', '.join(known)}"
            read.wrong(f"spec.announce[{index}]", why)
    return frozenset(known[word] for word in given if word in known)
