"""What a packet can be behind its two addresses: every transport, whole, cut and odd.

None of them is a datagram to port 53, the one thing that a `narrow` pod takes.
"""

from collections.abc import Callable, Iterable

from tests.attack import frames
from tests.attack.frames import (
    ACK,
    AUTHENTICATION,
    DESTINATION,
    EXPERIMENT,
    FIN,
    GRE,
    HOP_BY_HOP,
    ICMP,
    ICMP6,
    IP6IP6,
    IPIP,
    NO_NEXT,
    PSH,
    RST,
    SCTP,
    SYN,
    TCP,
    UDP,
    UDPLITE,
    URG,
)

Body = Callable[[str, str, bytes], Iterable[bytes]]
"""Source, destination and mark to packets."""

RECORD_ROUTE = bytes((7, 7, 4, 0, 0, 0, 0))
TIMESTAMP = bytes((68, 8, 5, 0, 0, 0, 0, 0))
ROUTER_ALERT = bytes((148, 4, 0, 0))


def udp(source: str, to: str, mark: bytes) -> Iterable[bytes]:
    return [frames.ip(source, to, UDP, frames.udp(source, to, mark, 9))]


def icmp(kind4: int = 8, kind6: int = 128) -> Body:
    """A message of this type, with code 0 and some identifier."""

    def made(source: str, to: str, mark: bytes) -> Iterable[bytes]:
        six = ":" in source
        data = frames.icmp(source, to, mark, kind6 if six else kind4)
        return [frames.ip(source, to, ICMP6 if six else ICMP, data)]

    return made


def error(kind4: int, kind6: int, code4: int = 0, code6: int = 0) -> Body:
    """An ICMP error about nothing that was ever sent."""

    def made(source: str, to: str, mark: bytes) -> Iterable[bytes]:
        six = ":" in source
        about = frames.ip(to, source, UDP, frames.udp(to, source, mark, 9))
        kind, code = (kind6, code6) if six else (kind4, code4)
        data = frames.icmp(source, to, about, kind, code)
        return [frames.ip(source, to, ICMP6 if six else ICMP, data)]

    return made


def tcp(flags: int) -> Body:
    return lambda source, to, mark: [
        frames.ip(source, to, TCP, frames.tcp(source, to, mark, 80, flags))
    ]


def other(protocol: int, head: bytes = b"") -> Body:
    """A protocol that no policy names: the mark behind some bytes of a header."""
    return lambda source, to, mark: [frames.ip(source, to, protocol, head + mark)]


def nested(source: str, to: str, mark: bytes) -> Iterable[bytes]:
    """A whole packet of the family inside another."""
    inner = frames.ip(source, to, UDP, frames.udp(source, to, mark, 9))
    return [frames.ip(source, to, IP6IP6 if ":" in source else IPIP, inner)]


def cut(at: int, *, tail_only: bool = False, twice: bool = False) -> Body:
    """In two fragments; or its second alone; or with a third that overlaps the first."""

    def made(source: str, to: str, mark: bytes) -> Iterable[bytes]:
        data = frames.udp(source, to, b"x" * 40 + mark, 9)
        head, tail = frames.fragments(source, to, UDP, data, at)
        if tail_only:
            return [tail]
        again, _ = frames.fragments(source, to, UDP, b"y" * len(data), at)
        return [head, again, tail] if twice else [head, tail]

    return made


def tiny_tcp(source: str, to: str, mark: bytes) -> Iterable[bytes]:
    """The flags are in the second fragment (RFC 1858, section 3)."""
    return frames.fragments(source, to, TCP, frames.tcp(source, to, mark, 80), 8)


def with_options(options: bytes) -> Body:
    return lambda source, to, mark: [
        frames.ip(source, to, UDP, frames.udp(source, to, mark, 9), options=options)
    ]


def extended(*kinds: int) -> Body:
    """UDP behind these extension headers, the first one first."""
    return lambda source, to, mark: [
        frames.extended(source, to, UDP, frames.udp(source, to, mark, 9), *kinds)
    ]


def extended_and_cut(source: str, to: str, mark: bytes) -> Iterable[bytes]:
    """The first fragment ends before the UDP header begins (RFC 7112)."""
    whole = frames.extended(source, to, UDP, frames.udp(source, to, mark, 9), DESTINATION)
    return frames.fragments(source, to, DESTINATION, whole[40:], 8)


def atomic(source: str, to: str, mark: bytes) -> Iterable[bytes]:
    """A fragment header on a packet that is whole (RFC 6946)."""
    head = bytes((UDP, 0, 0, 0, 0, 0, 0, 7))
    return [frames.ip(source, to, frames.FRAGMENT, head + frames.udp(source, to, mark, 9))]


BODIES: dict[str, Body] = {
    "UDP": udp,
    "ICMP echo": icmp(),
    "ICMP echo reply": icmp(0, 129),
    "ICMP timestamp or node information": icmp(13, 139),
    "ICMP error: port unreachable": error(3, 1, 3, 4),
    "ICMP error: too big": error(3, 2, 4),
    "ICMP error: hops exceeded": error(11, 3),
    "ICMP error: parameter": error(12, 4),
    "ICMP type that nobody knows": icmp(42, 200),
    "TCP SYN": tcp(SYN),
    "TCP SYN+ACK": tcp(SYN | ACK),
    "TCP ACK": tcp(ACK),
    "TCP RST": tcp(RST),
    "TCP RST+ACK": tcp(RST | ACK),
    "TCP FIN": tcp(FIN),
    "TCP SYN+FIN": tcp(SYN | FIN),
    "TCP no flags": tcp(0),
    "TCP all flags": tcp(SYN | ACK | RST | FIN | PSH | URG),
    "TCP with its flags in the second fragment": tiny_tcp,
    "SCTP INIT": other(SCTP, bytes.fromhex("9c400050000000000000000001000014")),
    "UDP-Lite": other(UDPLITE, bytes.fromhex("9c40000900080000")),
    "GRE": other(GRE, bytes.fromhex("00000800")),
    "a protocol without a name": other(EXPERIMENT),
    "IP in IP": nested,
    "UDP in fragments": cut(24),
    "UDP whose first fragment is short": cut(8),
    "UDP in fragments that overlap": cut(24, twice=True),
    "UDP's second fragment alone": cut(24, tail_only=True),
}
OF_FAMILY: dict[bool, dict[str, Body]] = {
    False: {
        "UDP with a recorded route": with_options(RECORD_ROUTE),
        "UDP with timestamps": with_options(TIMESTAMP),
        "UDP with a router alert": with_options(ROUTER_ALERT),
    },
    True: {
        "UDP behind hop-by-hop options": extended(HOP_BY_HOP),
        "UDP behind destination options": extended(DESTINATION),
        "UDP behind four headers": extended(HOP_BY_HOP, DESTINATION, DESTINATION, DESTINATION),
        "UDP behind an authentication header": extended(AUTHENTICATION),
        "UDP behind hop-by-hop options that come second": extended(DESTINATION, HOP_BY_HOP),
        "UDP whose first fragment is extension headers only": extended_and_cut,
        "UDP in a single fragment": atomic,
        "no next header": other(NO_NEXT),
    },
}
SMALL = (
    "UDP",
    "ICMP error: port unreachable",
    "TCP SYN",
    "TCP ACK",
    "UDP in fragments",
    "a protocol without a name",
    "UDP behind destination options",
)


def bodies(six: bool, *, full: bool) -> dict[str, Body]:
    found = BODIES | OF_FAMILY[six]
    return found if full else {name: found[name] for name in SMALL if name in found}
