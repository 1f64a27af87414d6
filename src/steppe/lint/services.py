"""Finds Services without endpoints, and Services that policies close for some or all clients."""

from collections.abc import Iterator

import msgspec

from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.objects import Pod, container_ports
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, listed, named
from steppe.manifests.documents import readable
from steppe.manifests.endpoint_plan import target_port
from steppe.manifests.endpoints import SeenPort, SeenService, front_port
from steppe.reach.matrix import Mask, bits, piece_at
from steppe.reach.services import Offer, Offers


def service_findings(facts: Facts) -> Iterator[Finding]:
    """Findings about the targets of Services."""
    for ref, document in facts.loaded.objects.items():
        service = readable(document, SeenService) if ref.kind == "Service" else None
        if service is None or not service.spec.selecting:
            continue
        pods = [pod for pod in facts.wire_pods(ref.namespace) if service.spec.selects(pod)]
        if not pods:
            labels = ", ".join(f"{k}={v}" for k, v in sorted((service.spec.selector or {}).items()))
            message = f"selects no pod ({labels}), so nobody answers; correct the selector"
            yield Finding(Cause(ref, "spec.selector"), "no-endpoints", message)
            continue
        for index, port in enumerate(service.spec.ports or ()):
            yield from _target_findings(
                facts, Cause(ref, f"spec.ports[{index}].targetPort"), port, pods
            )


def _target_findings(
    facts: Facts, cause: Cause, port: SeenPort, pods: list[wire.Pod]
) -> Iterator[Finding]:
    """Findings about a target port that pods do not have, or have with different numbers."""
    by_number: dict[int, list[str]] = {}
    for pod in pods:
        number = target_port(front_port(port), container_ports(pod.spec))
        by_number.setdefault(number, []).append(pod.metadata.name)
    lacking = by_number.pop(0, [])
    if not by_number:
        message = (
            f"no selected pod has a {port.protocol} port named {port.target_port!r}, so nobody "
            "answers; name a port of the pods"
        )
        yield Finding(cause, "no-target-port", message)
        return
    if lacking:
        message = (
            f"{listed(sorted(lacking))} have no {port.protocol} port named {port.target_port!r} "
            "and get no traffic; name it in their containers, or do not select them"
        )
        yield Finding(cause, "ports-differ", message)
    if len(by_number) > 1:
        numbers = " and ".join(f"{n} in {listed(sorted(by_number[n]))}" for n in sorted(by_number))
        message = f"{port.target_port!r} is {numbers}; policies that say a number fit only some"
        yield Finding(cause, "ports-differ", message)
    declared = facts.declared_by(
        ObjectRef("Pod", cause.ref.namespace, p.metadata.name) for p in pods
    )
    (only, *others) = by_number
    if declared and not others and (port.protocol, only) not in declared:
        have = ", ".join(f"{n} {protocol}" for protocol, n in sorted(declared))
        message = (
            f"no selected pod declares port {only} {port.protocol}: they declare {have}; "
            "correct targetPort, or declare the port"
        )
        yield Finding(cause, "no-target-port", message)


class _Outcomes(msgspec.Struct):
    """The results at one port of a Service of the pods that are not its endpoints."""

    allowed: int = 0
    denied: list[Pod] = msgspec.field(default_factory=list)
    partly: dict[tuple[int, int], list[Pod]] = msgspec.field(default_factory=dict)


def closed_services(facts: Facts) -> Iterator[Finding]:
    """Service ports at which policies deny every client, or only some connections of a client."""
    offers = Offers(facts.reach)
    for offer in offers.all:
        fared = _outcomes(facts, offers, offer)
        cause = Cause(offer.service.ref, _field(offer))
        for (open_, total), pods in sorted(fared.partly.items()):
            who = listed(sorted(named(pod.ref) for pod in pods))
            message = (
                f"works part of the time: {who} reach {open_} of {total} endpoints"
                f"{_because(offers, pods[0], offer)}; let them reach all or none"
            )
            yield Finding(cause, "partly-denied", message)
        if fared.denied and not fared.allowed and not fared.partly:
            if _is_open_to_others(facts, offer):
                continue
            message = (
                f"no pod is let through to any endpoint{_because(offers, fared.denied[0], offer)}; "
                "let somebody in, or remove the Service"
            )
            yield Finding(cause, "all-denied", message)


def _field(offer: Offer) -> str:
    service = offer.service
    return f"spec.ports[{(*service.ports, *service.unserved).index(offer.port)}]"


def _outcomes(facts: Facts, offers: Offers, offer: Offer) -> _Outcomes:
    own = {backend.address for view in offer.views for backend in view.backends}
    found = _Outcomes()
    for row in offers.rows(offer, facts.reach.of_kind("pods")):
        callers = [
            pod
            for number in bits(row.senders)
            for pod in facts.reach.groups[number].pods
            # A pod always reaches itself, so an endpoint as client says nothing about policies.
            if own.isdisjoint(pod.addresses)
        ]
        if not callers:
            continue
        match row.outcome.said:
            case "allowed":
                found.allowed += len(callers)
            case "denied":
                found.denied += callers
            case "partly":
                key = (row.outcome.open, row.outcome.endpoints)
                found.partly.setdefault(key, []).extend(callers)
            case _:
                pass  # no endpoints: reported by `service_findings`
    return found


def _because(offers: Offers, caller: Pod, offer: Offer) -> str:
    """The objects that deny a client, as ` (kept out by …)`."""
    causes: dict[str, None] = {}
    for backend, pieces in offers.between(caller, offer):
        piece = piece_at(pieces, offer.port.protocol, backend.port)
        if piece is not None and not piece.allowed:
            causes |= dict.fromkeys(str(cause) for cause in piece.because)
    return f" ({listed(list(causes))} keeps them out)" if causes else ""


def _is_open_to_others(facts: Facts, offer: Offer) -> bool:
    """Whether the Service is for clients that are no pods, and policies allow some of them."""
    service = offer.service
    if not (offer.port.node_port or service.external_ips or service.load_balancer_ips):
        return False
    others: Mask = facts.reach.of_kind("outside") | facts.reach.of_kind("nodes")
    for view in offer.views:
        for backend in view.backends:
            group = facts.reach.group_at(backend.address)
            if group is None:
                continue
            senders = facts.reach.matrix.senders_to(
                group, backend.address.version, offer.port.protocol, backend.port
            )
            if senders & others:
                return True
    return False
