"""The endpoints of a Service in each family, and the port numbers they have. Pure.

It has two users: manifests/endpoints.py invents EndpointSlices for manifests, and the lab's
EndpointSlice controller maintains those of a running cluster.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from steppe.kube.objects import NamedPort
from steppe.net.address import parse_address

T = TypeVar("T")
FINISHED = ("Succeeded", "Failed")
"""The phases of a finished pod: it will not start again."""


class FrontPort(msgspec.Struct, frozen=True):
    """A port of a Service, and the pod's port it leads to by number or name."""

    name: str
    protocol: str
    port: int
    target: int | str | None = None
    app_protocol: str | None = None


class BackPort(msgspec.Struct, frozen=True, order=True):
    """A port of endpoints: its name in the Service, and its number in the pods."""

    name: str
    protocol: str
    number: int
    app_protocol: str | None = None


class BackPod(msgspec.Struct, frozen=True):
    """A pod that a Service selects, with the fields that decide about its endpoints."""

    name: str
    phase: str
    addresses: tuple[str, ...]
    ports: tuple[NamedPort, ...]


class Conditions(msgspec.Struct, frozen=True):
    """An endpoint's conditions (EndpointConditions)."""

    ready: bool
    serving: bool
    terminating: bool


BackPorts = tuple[BackPort, ...]
Plan = dict[tuple[str, BackPorts], list[tuple[T, str]]]
"""By family and set of ports: the pods with their address of the family."""


def endpoint_plan(
    families: Iterable[str],
    ports: Iterable[FrontPort],
    pods: Iterable[T],
    seen: Callable[[T], BackPod],
) -> Plan[T]:
    """The endpoints of a Service, ordered by the names of their pods.

    A named port may have a different number in each pod, so a family may have several sets of
    ports.
    """
    fronts = tuple(ports)
    known = sorted(((pod, seen(pod)) for pod in pods), key=lambda each: each[1].name)
    plan: Plan[T] = {}
    for family in families:
        for pod, back in known:
            # "pods that are terminal, or have no address yet, are never endpoints"
            address = address_of(back.addresses, family)
            if address and back.phase not in FINISHED:
                group = plan.setdefault((family, back_ports(fronts, back.ports)), [])
                group.append((pod, address))
        if not any(held == family for held, _ in plan):
            # An empty slice says that the Service has no endpoint.
            plan[family, ()] = []
    return plan


def conditions(*, ready: bool, deleted: bool, publish_not_ready: bool) -> Conditions:
    """The conditions of a pod's endpoint.

    "ready … should never be true for terminating endpoints, except when the normal readiness
    behavior is being explicitly overridden" by publishNotReadyAddresses (EndpointConditions).
    """
    return Conditions(publish_not_ready or (ready and not deleted), ready, deleted)


def back_ports(fronts: Iterable[FrontPort], own: tuple[NamedPort, ...]) -> BackPorts:
    """The Service's ports with a pod's port numbers.

    A name that the pod does not have is left out.
    """
    found = ((front, target_port(front, own)) for front in fronts)
    ports = [BackPort(f.name, f.protocol, n, f.app_protocol) for f, n in found if n]
    return tuple(sorted(ports, key=lambda port: (port.name, port.protocol, port.number)))


def target_port(front: FrontPort, own: Iterable[NamedPort]) -> int:
    """The pod's port to which the Service's port leads; 0 if the pod has no port of that name."""
    target = front.target
    # "If this is not specified, the value of the 'port' field is used (an identity map)."
    # (ServicePort.targetPort)
    if isinstance(target, int) or (target and target.isdigit()):
        return int(target) or front.port
    if not target:
        return front.port
    # "If this is a string, it will be looked up as a named port in the target Pod's container
    # ports." (ServicePort.targetPort)
    for port in own:
        if (port.name, port.protocol) == (target, front.protocol):
            return port.number
    return 0


def address_of(texts: Iterable[str], family: str) -> str:
    """The first address of this family; invalid ones are skipped (kube.objects reports them)."""
    for text in texts:
        try:
            if f"IPv{parse_address(text).version}" == family:
                return text
        except ValueError:
            continue
    return ""
