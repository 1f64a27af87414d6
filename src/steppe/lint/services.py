"""Services without endpoints, and ports of Services that lead to no port of a pod."""

from collections.abc import Iterator, Mapping

from steppe.kube import wire
from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.objects import container_ports
from steppe.kube.policies import Pods
from steppe.kube.selectors import labels_are
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, listed
from steppe.manifests.documents import readable
from steppe.manifests.endpoint_plan import target_port
from steppe.manifests.endpoints import SeenPort, SeenService, front_port


def service_findings(facts: Facts) -> Iterator[Finding]:
    """Findings about the targets of Services."""
    for ref, document in facts.loaded.objects.items():
        service = readable(document, SeenService) if ref.kind == "Service" else None
        if service is None or not service.spec.selecting:
            continue
        pods = [pod for pod in facts.wire_pods(ref.namespace) if service.spec.selects(pod)]
        if not pods:
            yield from _without_pods(facts, ref, service.spec.selector or {})
            continue
        for index, port in enumerate(service.spec.ports or ()):
            yield from _target_findings(
                facts, Cause(ref, f"spec.ports[{index}].targetPort"), port, pods
            )


def _without_pods(facts: Facts, ref: ObjectRef, selector: Mapping[str, str]) -> Iterator[Finding]:
    """A Service that selects no pod, if the pods of its namespace are known."""
    labels = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
    elsewhere = sorted({p.namespace for p in facts.selected(Pods(pods=labels_are(selector)))})
    cause = Cause(ref, "spec.selector")
    if elsewhere and not facts.loaded.pods_unknown(ref.namespace):
        message = (
            f"selects no pod in its namespace, {ref.namespace}; pods with {labels} are in "
            f"{listed(elsewhere)}: a Service selects in its own namespace"
        )
        yield Finding(cause, "no-endpoints", message)
    elif facts.is_whole(ref.namespace):
        message = f"selects no pod ({labels}), so nobody answers; correct the selector"
        yield Finding(cause, "no-endpoints", message)
    else:
        why = facts.unknown_pods(ref.namespace)
        message = f"what it selects ({labels}) was not looked at: {why}"
        yield Finding(cause, "not-compared", message)


def _target_findings(
    facts: Facts, cause: Cause, port: SeenPort, pods: list[wire.Pod]
) -> Iterator[Finding]:
    """Findings about a target port that pods do not have, or have with different numbers."""
    by_number: dict[int, list[str]] = {}
    for pod in pods:
        number = target_port(front_port(port), container_ports(pod.spec))
        by_number.setdefault(number, []).append(pod.metadata.name)
    lacking = by_number.pop(0, [])
    if not by_number and not facts.is_whole(cause.ref.namespace):
        return
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
    if len(by_number) == 1:
        yield from _undeclared(facts, cause, port, next(iter(by_number)), pods)


def _undeclared(
    facts: Facts, cause: Cause, port: SeenPort, only: int, pods: list[wire.Pod]
) -> Iterator[Finding]:
    declared = facts.declared_by(
        ObjectRef("Pod", cause.ref.namespace, p.metadata.name) for p in pods
    )
    # "Not specifying a port here DOES NOT prevent that port from being exposed" (Container.ports):
    # a number may be served all the same, and one declared for another protocol often is.
    if declared and only not in {number for _, number in declared}:
        have = listed(f"{n} {protocol}" for protocol, n in sorted(declared))
        message = (
            f"no selected pod declares port {only} {port.protocol}, they declare {have}: right "
            "only if something listens there"
        )
        yield Finding(cause, "target-port-undeclared", message)
