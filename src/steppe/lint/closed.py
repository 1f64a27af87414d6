"""Services that policies close for all clients, or for some of their connections.

Told only where it is sure: rules that may take somebody who is not known here (pods of other
manifests, private addresses) are given the benefit of the doubt.
"""

from collections.abc import Iterator

import msgspec

from steppe.ends.target import PodTarget, ServiceTarget
from steppe.explain.explain import Explainer
from steppe.explain.model import Flow
from steppe.explain.private import may_hold_pods
from steppe.judge.pieces import piece_at
from steppe.kube.cause import Cause
from steppe.kube.objects import Pod
from steppe.kube.policies import Block, Peer, Pods
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, listed, named
from steppe.reach.matrix import Mask
from steppe.reach.services import Offer, Offers


class _Outcomes(msgspec.Struct):
    """The results at one port of a Service of the pods that are not its endpoints: whether any is
    let through, one that is not, and all that get through at times, by how many endpoints are open.
    """

    allowed: bool = False
    denied: Pod | None = None
    partly: dict[tuple[int, int], list[Pod]] = msgspec.field(default_factory=dict)


def closed_services(facts: Facts) -> Iterator[Finding]:
    """Service ports at which policies deny every client, or only some connections of a client."""
    offers = Offers(facts.reach)
    for offer in offers.all:
        fared = _outcomes(facts, offers, offer)
        cause = Cause(offer.service.ref, _field(offer))
        for (open_, total), pods in sorted(fared.partly.items()):
            who = listed(sorted(named(pod.ref) for pod in pods))
            how = f"{who} reach{'es' if len(pods) == 1 else ''} {open_} of {total} endpoints"
            message = _some(offer, how) + _because(offers, pods[0], offer)
            yield Finding(cause, "partly-denied", message + _cure(facts, pods[0], offer))
        if fared.denied and not fared.allowed and not fared.partly:
            if _is_open_to_others(facts, offer) or _may_be_open(facts, offer):
                continue
            who = "pod" if facts.live else "pod that is known here"
            message = f"no {who} is let through to any endpoint"
            message += _because(offers, fared.denied, offer)
            yield Finding(cause, "all-denied", message)


def _some(offer: Offer, how: str) -> str:
    if not offer.service.affinity_seconds:
        return f"works part of the time: {how}"
    return (
        "works for some clients always and for others never, as ClientIP affinity gives each "
        f"client the same endpoint each time: {how}"
    )


def _cure(facts: Facts, caller: Pod, offer: Offer) -> str:
    """The change that lets in least, as explain tried it; "" if there is none."""
    target = ServiceTarget(offer.service, offer.service.cluster_ips)
    sender = PodTarget(caller, caller.addresses)
    flow = Flow(sender, target, offer.port.protocol, offer.port.port)
    changes = Explainer(facts.cluster).explain(flow).changes
    return f"; to let {named(caller.ref)} reach all: {changes[0].text}" if changes else ""


def _may_be_open(facts: Facts, offer: Offer) -> bool:
    """Whether a rule of the endpoints' policies may take somebody who is not known here."""
    if facts.doubts.endpoints(offer.service) or not facts.is_whole(offer.service.namespace):
        return True
    pods = {
        pod.ref: facts.cluster.policies_on(pod)
        for view in offer.views
        for backend in view.backends
        for pod in facts.cluster.pods_at(backend.address)
    }
    if any(facts.doubts.policies(facts.cluster.pods[r.namespace, r.name], "ingress") for r in pods):
        return True
    closing = [[p for p in policies if "ingress" in p.isolates] for policies in pods.values()]
    if not all(closing) and not facts.live:
        return True  # the senders are closed, and others may come
    peers = (
        peer
        for policies in closing
        for policy in policies
        for rule in policy.ingress
        for peer in rule.peers
    )
    return any(_may_be_somebody(facts, peer) for peer in peers)


def _may_be_somebody(facts: Facts, peer: Peer) -> bool:
    match peer:
        case Block():
            return bool(facts.loaded.invented) and may_hold_pods(peer)
        case Pods(within=within) if within:
            return not facts.is_whole(within)
        case _:
            return not facts.live


def _field(offer: Offer) -> str:
    service = offer.service
    return f"spec.ports[{(*service.ports, *service.unserved).index(offer.port)}]"


def _outcomes(facts: Facts, offers: Offers, offer: Offer) -> _Outcomes:
    own = {backend.address for view in offer.views for backend in view.backends}
    found = _Outcomes()
    for row in offers.rows(offer, facts.reach.of_kind("pods")):
        callers = (
            pod
            for pod in offers.members(row)
            # A pod always reaches itself, so an endpoint as client says nothing about policies.
            if isinstance(pod, Pod) and own.isdisjoint(pod.addresses)
        )
        match row.outcome.said:
            # One is enough: there may be as many rows as Services, with every pod in each.
            case "allowed":
                found.allowed = found.allowed or next(callers, None) is not None
            case "denied":
                found.denied = found.denied or next(callers, None)
            case "partly":
                key = (row.outcome.open, row.outcome.endpoints)
                if some := list(callers):
                    found.partly.setdefault(key, []).extend(some)
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
