"""The kernel's connection table, by ctnetlink: lists flows, and ends single ones.

    message   nfgenmsg {family, version, resource} | CTA_TUPLE_ORIG | CTA_TUPLE_REPLY | …
    tuple     CTA_TUPLE_IP {source, destination} | CTA_TUPLE_PROTO {number, ports}
                                                 or CTA_TUPLE_PROTO {number, ICMP id, type, code}

Names are those of linux/netfilter/nfnetlink_conntrack.h. The table is never flushed.
"""

import socket
from collections.abc import Collection, Iterable, Iterator
from errno import ENOENT
from typing import Self

import msgspec

from steppe.drivers import nfnetlink as nfnl
from steppe.drivers.errors import KernelError, kernel_error
from steppe.drivers.netlink import message as nl
from steppe.drivers.netlink.message import Message, Request
from steppe.drivers.netlink.socket import NetlinkError, NetlinkSocket
from steppe.net.address import address_of
from steppe.net.flow import Endpoints, Flow
from steppe.net.packet import NUMBERS, PROTOCOLS, Protocol

_GET = nfnl.kind(nfnl.CTNETLINK, 1)
_DELETE = nfnl.kind(nfnl.CTNETLINK, 2)

_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_REPLY = 2
_CTA_STATUS = 3
_IPS_SEEN_REPLY = 1 << 1  # linux/netfilter/nf_conntrack_common.h
_CTA_TUPLE_IP = 1
_CTA_TUPLE_PROTO = 2
_ADDRESSES: dict[int, tuple[int, int]] = {socket.AF_INET: (1, 2), socket.AF_INET6: (3, 4)}
"""CTA_IP_V4_SRC and DST, CTA_IP_V6_SRC and DST."""
_CTA_PROTO_NUM = 1
_CTA_PROTO_SRC_PORT = 2
_CTA_PROTO_DST_PORT = 3

_ICMP: dict[int, tuple[int, int, int]] = {1: (4, 5, 6), 58: (7, 8, 9)}
"""By protocol: CTA_PROTO_ICMP_ID, TYPE and CODE, and those of ICMPv6."""


class Conntrack:
    """The connection table of one network namespace."""

    def __init__(self, netns_fd: int | None = None) -> None:
        self._socket = NetlinkSocket(netns_fd, nfnl.NETLINK_NETFILTER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def flows(
        self, protocols: Collection[Protocol], opening: Collection[Protocol] = ()
    ) -> tuple[Flow, ...]:
        """All flows of these protocols, of both families; of `opening`, those never answered."""
        return tuple(self._flows(protocols, opening))

    def _flows(
        self, protocols: Collection[Protocol], opening: Collection[Protocol]
    ) -> Iterator[Flow]:
        # Both families at once: each dump goes through all buckets of the kernel's one hash table,
        # which all namespaces share (ctnetlink_dump_table in nf_conntrack_netlink.c).
        try:
            found = self._socket.dump(Request(_GET, nfnl.header(socket.AF_UNSPEC)))
        except NetlinkError as error:
            what = "list the connection table"
            raise kernel_error(what, error) from error
        for message in found:
            flow = read_flow(message)
            if flow is None:
                continue
            if flow.protocol in protocols or (
                flow.protocol in opening and not _is_answered(message)
            ):
                yield flow

    def end(self, flows: Iterable[Flow]) -> int:
        """Delete these flows from the table; returns how many still existed."""
        requests = [_deletion(flow) for flow in flows]
        ended = 0
        for error in self._socket.batch(requests) if requests else ():
            if error is None:
                ended += 1
            elif error.errno != ENOENT:
                raise KernelError("end a flow", error.errno, error.detail) from error
        return ended


def read_flow(message: Message) -> Flow | None:
    """The flow of a message; None for one of a protocol that is not known here."""
    family = nfnl.family_of(message)
    if family not in _ADDRESSES:
        return None
    found = nfnl.attributes(message)
    original = _read_tuple(found.get(_CTA_TUPLE_ORIG, b""), family)
    reply = _read_tuple(found.get(_CTA_TUPLE_REPLY, b""), family)
    if original is None or reply is None:
        return None
    answers = reply.ends
    if original.protocol == "ICMP":  # the answer has the identifier too: it is the sender's port
        answers = Endpoints(answers.source, 0, answers.destination, answers.source_port)
    return Flow(original.protocol, original.ends, answers, original.query)


class _Way(msgspec.Struct, frozen=True):
    """One direction of a flow, as the kernel tells it."""

    protocol: Protocol
    ends: Endpoints
    query: tuple[int, int] = (0, 0)


def _is_answered(message: Message) -> bool:
    """Whether a packet of the other direction has been seen."""
    status = nfnl.attributes(message).get(_CTA_STATUS, b"")
    return bool(int.from_bytes(status, "big") & _IPS_SEEN_REPLY)


def _read_tuple(data: bytes, family: int) -> _Way | None:
    parts = nl.attributes(data)
    addresses = nl.attributes(parts.get(_CTA_TUPLE_IP, b""))
    proto = nl.attributes(parts.get(_CTA_TUPLE_PROTO, b""))
    number = nl.number(proto.get(_CTA_PROTO_NUM, b""))
    protocol = PROTOCOLS.get(number)
    source, destination = _ADDRESSES[family]
    if protocol is None or source not in addresses or destination not in addresses:
        return None

    def value(name: int) -> int:
        return int.from_bytes(proto.get(name, b""), "big")

    ends = address_of(addresses[source]), address_of(addresses[destination])
    if number in _ICMP:
        identifier, kind, code = map(value, _ICMP[number])
        return _Way(protocol, Endpoints(ends[0], identifier, ends[1], 0), (kind, code))
    ports = value(_CTA_PROTO_SRC_PORT), value(_CTA_PROTO_DST_PORT)
    return _Way(protocol, Endpoints(ends[0], ports[0], ends[1], ports[1]))


def _deletion(flow: Flow) -> Request:
    version = flow.original.source.version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    source, destination = _ADDRESSES[family]
    way = flow.original
    number = NUMBERS[flow.protocol][version]
    body = nl.nested(
        _CTA_TUPLE_ORIG,
        nl.nested(
            _CTA_TUPLE_IP,
            nl.attribute(source, way.source.packed),
            nl.attribute(destination, way.destination.packed),
        ),
        nl.nested(_CTA_TUPLE_PROTO, nl.u8(_CTA_PROTO_NUM, number), *_ports(flow, number)),
    )
    return Request(_DELETE, nfnl.header(family) + body)


def _ports(flow: Flow, number: int) -> Iterator[bytes]:
    way = flow.original
    if number in _ICMP:
        identifier, kind, code = _ICMP[number]
        yield nl.attribute(identifier, way.source_port.to_bytes(2, "big"))
        yield nl.u8(kind, flow.query[0])
        yield nl.u8(code, flow.query[1])
    else:
        yield nl.attribute(_CTA_PROTO_SRC_PORT, way.source_port.to_bytes(2, "big"))
        yield nl.attribute(_CTA_PROTO_DST_PORT, way.destination_port.to_bytes(2, "big"))
