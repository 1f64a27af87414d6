"""Flows of a Service world as real packets, compared with what must become of them."""

from collections.abc import Iterable
from fractions import Fraction

from steppe.kube.objects import Node, Workload
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.oracle.service import World
from tests.kernel.service_lab import Probe, ServiceLab
from tests.service_walk import Fate, tables

DOUBT = Fraction(1, 10**6)
"""How likely an endpoint may be missed although it is one of the choices."""

_RESULTS = {"reject": ("refused",), "drop": ("silent",), "pass": ("refused", "silent")}


def program(
    lab: ServiceLab,
    world: World,
    workloads: Iterable[Workload] = (),
    peers: Iterable[Node] = (),
) -> None:
    """Put a world's tables into the kernel, and a server behind every endpoint."""
    state, _ = tables(world, workloads, peers)
    lab.program(state)
    lab.serve(
        (endpoint.address, port.protocol, number)
        for slice_ in world.slices
        for service in world.services
        for port in service.ports
        if (number := slice_.port(port))
        for endpoint in slice_.endpoints
    )


def difference(lab: ServiceLab, own: Iterable[IPAddress], packet: Packet, fate: Fate) -> str:
    """How the kernel's treatment of a packet differs from this; "" where it does not."""
    if fate.action != "dnat":
        probe = lab.send(packet)
        return "" if probe.result in _RESULTS[fate.action] else f"{fate.action}, but {probe}"
    met = set()
    for _ in range(_tries(len(fate.backends))):
        probe = lab.send(packet)
        wrong = _wrong(probe, tuple(own), packet, fate)
        if wrong:
            return wrong
        met.add(probe.backend)
        if met == fate.backends:
            return ""
    return f"never reached {fate.backends - met}"


def _wrong(probe: Probe, own: tuple[IPAddress, ...], packet: Packet, fate: Fate) -> str:
    if probe.backend not in fate.backends:
        return f"not one of {sorted(map(str, fate.backends))}: {probe}"
    if probe.backend in fate.masqueraded:
        return "" if probe.seen in own else f"not seen as the node: {probe}"
    return "" if probe.seen == packet.source else f"not seen as {packet.source}: {probe}"


def _tries(choices: int) -> int:
    """Enough to miss none of so many but for a doubt."""
    tries = 1
    while choices * Fraction(choices - 1, choices) ** tries > DOUBT:
        tries += 1
    return tries
