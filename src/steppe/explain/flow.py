"""Finds the flow that text means: its ends, and its port and protocol if they are left out."""

from typing import get_args

import msgspec

from steppe.ends.loopback import loopback_fault, on_loopback
from steppe.ends.parse import split_port
from steppe.ends.target import (
    Named,
    PodTarget,
    RangeTarget,
    ServiceTarget,
    resolve,
)
from steppe.errors import SteppeError
from steppe.explain.model import Flow
from steppe.kube.cluster import Cluster
from steppe.kube.services import ServicePort
from steppe.net.packet import Protocol
from steppe.net.ports import LAST_PORT

_PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


class BadFlowError(SteppeError):
    """The flow is not possible or not completely given; the message says what is missing."""


class _Port(msgspec.Struct, frozen=True):
    """A port of the destination: a Service's, or one that a pod's containers declare."""

    name: str
    protocol: Protocol
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}" + (f" ({self.name})" if self.name else "")


def flow_of(
    cluster: Cluster,
    source: str,
    destination: str,
    port: str = "",
    protocol: Protocol | None = None,
    *,
    namespace: str = "",
) -> tuple[Flow, tuple[str, ...]]:
    """The flow that these texts mean, and notes on it; BadFlowError says why there is none.

    Short names are relative to `namespace`.
    """
    sender = resolve(cluster, source, namespace)
    receiver = on_loopback(sender.target, resolve(cluster, destination, namespace))
    loopback = loopback_fault(cluster, sender.target, receiver, port)
    if loopback:
        raise BadFlowError(loopback)
    if isinstance(sender.target, ServiceTarget):
        raise BadFlowError(f"{sender.target} sends nothing itself: name one of its pods as SRC")
    if isinstance(sender.target, RangeTarget) and isinstance(receiver.target, RangeTarget):
        raise BadFlowError(f"neither {source} nor {destination} is in the cluster")
    if sender.port:
        raise BadFlowError(f"SRC takes no port ({source}): senders use any")
    text, protocol = _written_port(destination, receiver, port, protocol)
    if isinstance(receiver.target, ServiceTarget) and not receiver.target.addresses:
        raise BadFlowError(_no_address(receiver.target))
    chosen, number = _port(cluster, receiver, text, protocol)
    notes = tuple(filter(None, (sender.note, receiver.note)))
    return Flow(sender.target, receiver.target, chosen, number), notes


def _written_port(
    destination: str, to: Named, port: str, protocol: Protocol | None
) -> tuple[str, Protocol | None]:
    """The port and protocol that were given, after DST or as options."""
    number, of_port = split_port(port)
    if number and to.port and number != to.port:
        raise BadFlowError(f"{destination} says port {to.port} and --port says {number}")
    text = number or to.port
    said = {protocol, of_port, to.protocol, "ICMP" if text.lower() == "icmp" else ""}
    asked = [each for each in _PROTOCOLS if each in said]
    if len(asked) > 1:
        raise BadFlowError(f"{destination} on {' and '.join(asked)} at once: say one protocol")
    return ("" if text.lower() == "icmp" else text), (asked[0] if asked else None)


def _no_address(to: ServiceTarget) -> str:
    service = to.service
    if service.external_name:
        return (
            f"{to} is an ExternalName: DNS answers with the name {service.external_name}, and "
            "policies see the addresses of that: name one of them as DST, or internet"
        )
    if service.headless:
        return f"{to} is headless and has no endpoint that is ready, so DNS has no address for it"
    return (
        f"{to} has no address of its own (none was given to it yet, or it is another proxy's): "
        "name one of its pods as DST"
    )


def _port(
    cluster: Cluster, to: Named, text: str, protocol: Protocol | None
) -> tuple[Protocol, int]:
    if protocol == "ICMP":
        if text:
            raise BadFlowError(f"ICMP has no ports, so {text} means nothing")
        return "ICMP", 0
    known = [each for each in _ports(cluster, to) if protocol in (None, each.protocol)]
    if text.isascii() and text.isdecimal():
        number = int(text)
        if not 1 <= number <= LAST_PORT:
            raise BadFlowError(f"port {text} is not between 1 and {LAST_PORT}")
        same = sorted((each.protocol for each in known if each.number == number), key=_rank)
        return protocol or (same[0] if same else "TCP"), number
    found = [each for each in known if each.name == text] if text else known
    if len({(each.protocol, each.number) for each in found}) == 1:
        return found[0].protocol, found[0].number
    raise BadFlowError(_which_port(to, text, found or known))


def _rank(protocol: Protocol) -> int:
    return _PROTOCOLS.index(protocol)


def _which_port(to: Named, text: str, known: list[_Port]) -> str:
    ports = ", ".join(sorted(map(str, known)))
    if text:
        has = f"its ports are {ports}" if ports else "none of its ports has a name"
        return f"{to.target} has no port {text!r}: {has}"
    has = f" (its ports are {ports})" if ports else ""
    return f"which port of {to.target}?{has} Say --port, or --protocol icmp"


def _ports(cluster: Cluster, to: Named) -> tuple[_Port, ...]:
    match to.target:
        case PodTarget(pod, _):
            return tuple(
                _Port(port.name, protocol, port.number)
                for port in (*pod.ports, *pod.nameless_ports)
                for protocol in _PROTOCOLS
                if port.protocol == protocol
            )
        case ServiceTarget(service, _) if service.headless:
            # Nothing translates the port: SRV records contain the endpoints' own ports.
            ports = (port for slice_ in cluster.slices_of(service) for port in slice_.ports)
            return tuple(_Port(*port) for port in dict.fromkeys(ports))
        case ServiceTarget(service, _):
            return tuple(map(_of_service, service.ports))
        case _:
            return ()


def _of_service(port: ServicePort) -> _Port:
    return _Port(port.name, port.protocol, port.port)
