"""externalTrafficPolicy: Local as the change that opens a flow from outside.

Nodes replace the address of a client outside, unless the policy is Local; then rules that take the
client's own address match.
"""

from collections.abc import Iterator

import msgspec

from steppe.ends.target import RangeTarget, ServiceTarget
from steppe.explain.cases import cases_of
from steppe.explain.flow import BadFlowError
from steppe.explain.model import Case, Change, Flow, Patch
from steppe.explain.sentences import object_text
from steppe.judge.judge import Judge
from steppe.kube.cause import Cause
from steppe.kube.cluster import Cluster
from steppe.settings import Settings


def local_changes(
    part: Cluster, flow: Flow, cases: tuple[Case, ...], settings: Settings
) -> Iterator[Change]:
    """The change, if masqueraded packets are denied and it opens the whole flow."""
    to = flow.destination
    if not (isinstance(flow.source, RangeTarget) and isinstance(to, ServiceTarget)):
        return
    hidden = (
        path.fate == "denied" and path.sent.source != path.received.source
        for case in cases
        for path in case.paths
    )
    if to.service.external_local or not any(hidden):
        return
    service = msgspec.structs.replace(to.service, external_local=True)
    services = {**part.services, (service.namespace, service.name): service}
    after = msgspec.structs.replace(part, services=services)
    asked = msgspec.structs.replace(flow, destination=ServiceTarget(service, to.addresses))
    if _opens(after, asked, settings):
        text = (
            f"set externalTrafficPolicy: Local in {object_text(service.ref)}: clients then keep "
            "their addresses, and only nodes with endpoints take them"
        )
        field = Cause(service.ref, "spec.externalTrafficPolicy")
        patch = Patch(service.ref, "/spec/externalTrafficPolicy", "Local")
        yield Change(text, (field,), (patch,))


def _opens(after: Cluster, asked: Flow, settings: Settings) -> bool:
    try:
        cases = cases_of(after, asked, settings.node_port_addresses)
    except BadFlowError:
        return False
    judge = Judge(after, settings)
    return all(judge.verdict(case.packet, case.entering).said == "yes" for case in cases)
