"""EndpointSlices that belong to no Service, or whose ports have other names than the Service's."""

from collections.abc import Iterator

from steppe.kube.cause import Cause
from steppe.kube.services import SERVICE_NAME_LABEL, EndpointSlice, Service
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, known_as, listed


def odd_slices(facts: Facts) -> Iterator[Finding]:
    """What keeps the endpoints of a slice that somebody wrote from their Service."""
    for slice_ in facts.cluster.slices.values():
        if slice_.ref in facts.loaded.invented:
            continue
        if not slice_.service:
            cause = Cause(slice_.ref, "metadata.labels")
            yield Finding(cause, "slice-without-service", _unlabelled(facts, slice_))
            continue
        service = facts.cluster.services.get((slice_.namespace, slice_.service))
        if service is not None and (slice_.endpoints or slice_.headless):
            yield from _port_names(service, slice_)


def _unlabelled(facts: Facts, slice_: EndpointSlice) -> str:
    text = f"has no label {SERVICE_NAME_LABEL}, so it belongs to no Service and nobody uses it"
    names = [name for space, name in facts.cluster.services if space == slice_.namespace]
    like = [n for n in names if slice_.name == n or slice_.name.startswith(f"{n}-")]
    return f"{text}; add {SERVICE_NAME_LABEL}: {max(like, key=len)}" if like else text


def _port_names(service: Service, slice_: EndpointSlice) -> Iterator[Finding]:
    """By "name": "The name of this port within the service. … Must match the 'name' field in the
    EndpointPort" (ServicePort.name).
    """
    have = [f"{name or 'one without a name'} ({p} {number})" for name, p, number in slice_.ports]
    for port in service.ports:
        alike = [n for n, protocol, _ in slice_.ports if protocol == port.protocol]
        if slice_.port(port) or not slice_.ports:
            continue
        text = (
            f"has no {port.protocol} port {_named(port.name)} for port {port.port} of "
            f"{known_as(service.ref)}, only {listed(have)}: a Service finds its endpoints' ports "
            "by their names"
        )
        fix = f"; write {_field(port.name)}" if len(alike) == len(service.ports) == 1 else ""
        yield Finding(Cause(slice_.ref, "ports"), "slice-port-name", text + fix)


def _named(name: str) -> str:
    return f"named {name!r}" if name else "without a name"


def _field(name: str) -> str:
    return f"name: {name}" if name else "no name"
