"""A path of the oracle as steps: what happens, without how a node does it."""

from collections.abc import Iterator

from steppe.explain.model import Path, Step
from steppe.explain.steps import (
    Answered,
    Balanced,
    CameIn,
    Carried,
    Hidden,
    Sent,
    Stopped,
    Unasked,
)
from steppe.explain.stop_reasons import reason_of
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.services import Service
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.oracle.promised_path import PromisedPath
from steppe.oracle.stop import named_by
from steppe.walk.trace import Stage


def path_of(part: Cluster, sent: Packet, promised: PromisedPath) -> Path:
    """The explanation's path for one path of the oracle."""
    steps = (*first_steps(part, sent, promised), *_steps(part, sent, promised))
    return Path(
        fate=promised.fate,
        share=promised.share,
        receiver=receiver_of(part, promised.received.destination),
        sent=sent,
        received=promised.received,
        egress=promised.egress,
        ingress=promised.ingress,
        reason=reason_of(promised.stop),
        decisive=promised.decisive,
        steps=steps,
        reply=tuple(_reply(sent, promised)),
    )


def receiver_of(part: Cluster, address: IPAddress) -> str:
    """The name for an address: `shop/db-0`, `node/node-a`, or the address itself."""
    for pod in part.pods_at(address):
        return f"{pod.namespace}/{pod.name}"
    for node in part.nodes_at(address):
        if address in node.addresses:
            return f"node/{node.name}"
    return str(address)


def first_steps(part: Cluster, sent: Packet, promised: PromisedPath) -> Iterator[Step]:
    """The first steps: who sends, and where a packet from outside comes in."""
    for pod in part.pods_at(sent.source):
        what = Sent(f"{pod.namespace}/{pod.name}", sent)
        yield Step(pod.node, Stage.SEND, what, (Cause(pod.ref, "status.podIPs"),))
        return
    for node in part.nodes_at(sent.source):
        if sent.source in node.addresses:
            because = (Cause(node.ref, "status.addresses"),)
            yield Step(node.name, Stage.SEND, Sent(f"node/{node.name}", sent), because)
            return
    yield Step(promised.entered, Stage.SEND, CameIn(sent), promised=not promised.entered)


def _steps(part: Cluster, sent: Packet, promised: PromisedPath) -> Iterator[Step]:
    for done in promised.served:
        what = Balanced(done.dialled, done.endpoint, done.choices)
        because = tuple(_behind(part, done.dialled, done.endpoint))
        yield Step(done.node, Stage.SERVICE, what, because, promised=True)
    if promised.stop is not None:
        stage, stopped = Stage(promised.fate), Stopped(reason_of(promised.stop))
        yield Step(promised.entered, stage, stopped, promised.stop.because, promised=True)
        return
    if promised.received.source != sent.source:
        hidden = Hidden(sent.source, promised.received.source)
        yield Step(promised.served[-1].node, Stage.MASQUERADE, hidden, promised=True)
    if promised.egress.allowed:
        yield from _delivery(part, promised)


def _delivery(part: Cluster, promised: PromisedPath) -> Iterator[Step]:
    """The last step, by the Kubernetes network model: pods are reached at their own addresses."""
    to = receiver_of(part, promised.received.destination)
    match promised.kind:
        case "pod" | "node" | "outside" as kind:
            what = Carried(kind, to, promised.received.destination)
            yield Step("", Stage.ROUTE, what, promised=True)


def _behind(part: Cluster, dialled: Packet, endpoint: Packet) -> Iterator[Cause]:
    """The causes of a translation: the Service with the address, and the endpoint in its slice."""
    services = [s for s in named_by(part, dialled) if _names(s, dialled)]
    for service in services:
        yield Cause(service.ref)
    slices = (slice_ for service in services for slice_ in part.slices_of(service))
    for slice_ in sorted(slices, key=lambda slice_: slice_.name):
        for index, each in enumerate(slice_.endpoints):
            if each.address == endpoint.destination:
                yield Cause(slice_.ref, f"endpoints[{index}]")
                return


def _names(service: Service, dialled: Packet) -> bool:
    wanted = (dialled.protocol, dialled.destination_port)
    if dialled.destination in service.addresses:
        return any((port.protocol, port.port) == wanted for port in service.ports)
    return any((port.protocol, port.node_port) == wanted for port in service.ports)


def _reply(sent: Packet, promised: PromisedPath) -> Iterator[Step]:
    if promised.fate != "delivered":
        return
    for done in reversed(promised.served):
        what = Answered(done.dialled.destination, sent.source)
        yield Step(done.node, Stage.REPLY, what, promised=True)
    yield Step("", Stage.REPLY, Unasked(), promised=True)
