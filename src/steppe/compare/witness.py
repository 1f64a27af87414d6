"""One flow that proves an answer, and what each set of policies says of it."""

from typing import Literal

import msgspec

from steppe.judge.doubts import BOUNDS
from steppe.judge.judge import Judge
from steppe.judge.pieces import piece_at
from steppe.kube.cause import Cause
from steppe.kube.objects import Node, Pod
from steppe.net.address import IPAddress, of_version
from steppe.net.ports import OTHER, PROTOCOLS, PortSet

Said = Literal["yes", "no", "unknown"]


class Ruling(msgspec.Struct, frozen=True):
    """What the judge says of a flow under one set of policies, and the objects that decide."""

    said: Said
    because: tuple[Cause, ...] = ()


class Witness(msgspec.Struct, frozen=True):
    """A flow: two ends by name and address, the family, protocol and port.

    `protocol` is "ICMP" for those without ports, with port 0. `rulings` are those of each set.
    """

    sender: str
    receiver: str
    source: IPAddress
    destination: IPAddress
    protocol: str
    port: int
    rulings: tuple[Ruling, ...]

    @property
    def family(self) -> str:
        return f"IPv{self.source.version}"

    def __str__(self) -> str:
        port = self.protocol if self.protocol == "ICMP" else f"{self.protocol} {self.port}"
        return f"{self.sender} → {self.receiver} {port} ({self.family})"


class Flow(msgspec.Struct, frozen=True):
    """Two ends in one family, by their names and as the judge knows them."""

    sender: str
    receiver: str
    source: Pod | Node | IPAddress
    destination: Pod | Node | IPAddress
    version: int


def witness(judges: tuple[Judge, ...], flow: Flow, ports: PortSet) -> Witness:
    """The witness at one of these ports: each judge is asked about it."""
    protocol, port = example(ports)
    return Witness(
        flow.sender,
        flow.receiver,
        _address(flow.source, flow.version),
        _address(flow.destination, flow.version),
        "ICMP" if protocol == OTHER else protocol,
        port,
        tuple(ruling(judge, flow, protocol, port) for judge in judges),
    )


def ruling(judge: Judge, flow: Flow, protocol: str, port: int) -> Ruling:
    """What the judge says of one port, with all its doubts."""
    least, most = (
        piece_at(
            judge.between(flow.source, flow.destination, flow.version, bound=bound), protocol, port
        )
        for bound in BOUNDS
    )
    if least is None or most is None:
        return Ruling("unknown")
    if least.allowed:
        return Ruling("yes", least.because)
    return Ruling("no" if not most.allowed else "unknown", most.because)


def example(ports: PortSet) -> tuple[str, int]:
    """A protocol and port of the set; TCP first, and never port 0 where there is another."""
    first = min(ports.ranges, key=lambda each: PROTOCOLS.index(each.protocol))
    return first.protocol, max(first.first, min(1, first.last))


def _address(end: Pod | Node | IPAddress, version: int) -> IPAddress:
    if not isinstance(end, Pod | Node):
        return end
    found = of_version(end.addresses, version)
    if found is None:
        raise ValueError(f"{end.name} has no address of IPv{version}")
    return found


def unwatched(whose: str) -> None:
    """What is told where nobody waits for progress."""
    del whose
