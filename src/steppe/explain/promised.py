"""A path as the API promises it: what happens, and not by which means."""

from collections.abc import Iterator

from steppe.explain.course import Course
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
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.kube.services import Service
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.walk.trace import Stage


def promised_path(part: Cluster, sent: Packet, course: Course) -> Path:
    """The path of one course."""
    steps = (*first_steps(part, sent, course), *_steps(part, sent, course))
    return Path(
        fate=course.fate,
        share=course.share,
        receiver=receiver_of(part, course.received.destination),
        sent=sent,
        received=course.received,
        egress=course.egress,
        ingress=course.ingress,
        reason=course.reason,
        decisive=course.decisive,
        steps=steps,
        reply=tuple(_reply(sent, course)),
    )


def receiver_of(part: Cluster, address: IPAddress) -> str:
    """Who has the address: `shop/db-0`, `node/node-a`, or the address itself."""
    for pod in part.pods.values():
        if address in pod.addresses and not pod.host_network and not pod.finished:
            return f"{pod.namespace}/{pod.name}"
    for node in part.nodes.values():
        if address in node.addresses:
            return f"node/{node.name}"
    return str(address)


def first_steps(part: Cluster, sent: Packet, course: Course) -> Iterator[Step]:
    """Who sends, and where the packet comes to the network."""
    for pod in part.pods.values():
        if sent.source in pod.addresses and not pod.host_network and not pod.finished:
            what = Sent(f"{pod.namespace}/{pod.name}", sent)
            yield Step(pod.node, Stage.SEND, what, (Cause(pod.ref, "status.podIPs"),))
            return
    for node in part.nodes.values():
        if sent.source in node.addresses:
            because = (Cause(node.ref, "status.addresses"),)
            yield Step(node.name, Stage.SEND, Sent(f"node/{node.name}", sent), because)
            return
    yield Step(course.entered, Stage.SEND, CameIn(sent), promised=not course.entered)


def _steps(part: Cluster, sent: Packet, course: Course) -> Iterator[Step]:
    for done in course.served:
        what = Balanced(done.dialled, done.endpoint, done.choices)
        because = tuple(_behind(part, done.dialled, done.endpoint))
        yield Step(done.node, Stage.SERVICE, what, because, promised=True)
    if course.reason:
        stage, stopped = Stage(course.fate), Stopped(course.reason)
        yield Step(course.entered, stage, stopped, course.because, promised=True)
        return
    if course.received.source != sent.source:
        hidden = Hidden(sent.source, course.received.source)
        yield Step(course.served[-1].node, Stage.MASQUERADE, hidden, promised=True)
    if course.egress.allowed:
        yield from _delivery(part, course)


def _delivery(part: Cluster, course: Course) -> Iterator[Step]:
    """The network model's part: everyone reaches pods by their own addresses."""
    to = receiver_of(part, course.received.destination)
    match course.kind:
        case "pod" | "node" | "outside" as kind:
            what = Carried(kind, to, course.received.destination)
            yield Step("", Stage.ROUTE, what, promised=True)


def _behind(part: Cluster, dialled: Packet, endpoint: Packet) -> Iterator[Cause]:
    """The Service that has the address, and where its slice lists the endpoint."""
    services = [s for s in part.services.values() if _names(s, dialled)]
    for service in services:
        yield Cause(service.ref)
    names = {(service.namespace, service.name) for service in services}
    for slice_ in sorted(part.slices.values(), key=lambda slice_: slice_.name):
        for index, each in enumerate(slice_.endpoints):
            mine = (slice_.namespace, slice_.service) in names
            if mine and each.address == endpoint.destination:
                yield Cause(slice_.ref, f"endpoints[{index}]")
                return


def _names(service: Service, dialled: Packet) -> bool:
    own = (*service.cluster_ips, *service.external_ips, *service.load_balancer_ips)
    wanted = (dialled.protocol, dialled.destination_port)
    if dialled.destination in own:
        return any((port.protocol, port.port) == wanted for port in service.ports)
    return any((port.protocol, port.node_port) == wanted for port in service.ports)


def _reply(sent: Packet, course: Course) -> Iterator[Step]:
    if course.fate != "delivered":
        return
    for done in reversed(course.served):
        what = Answered(done.dialled.destination, sent.source)
        yield Step(done.node, Stage.REPLY, what, promised=True)
    yield Step("", Stage.REPLY, Unasked(), promised=True)
