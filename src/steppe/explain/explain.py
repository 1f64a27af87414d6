"""Explains flows over one cluster: build an Explainer once, then ask it as often as you like.

Explainer(cluster, settings).explain(flow)    through Steppe's tables, held against the spec
Explainer(cluster, None).explain(flow)        another network's cluster: what the API promises
"""

import msgspec

from steppe.compile.node import compile_cluster
from steppe.explain.cases import cases_of
from steppe.explain.course import Courses
from steppe.explain.flow import BadFlowError, flow_of
from steppe.explain.index import Index
from steppe.explain.misses import misses
from steppe.explain.model import Case, Explanation, Flow, Path, kind_of
from steppe.explain.part import part_for
from steppe.explain.promised import promised_path
from steppe.explain.remedy import Ask, changes_for
from steppe.explain.say import verdict
from steppe.explain.tables import walked
from steppe.fabric.settings import Settings
from steppe.kube.cluster import Cluster
from steppe.kube.policies import Direction
from steppe.net.packet import Protocol
from steppe.spec.policy_match import world_of

INGRESS: Direction = "ingress"
EGRESS: Direction = "egress"


class Explainer:
    """One cluster, indexed; `settings` are those of Steppe's own network, None for any other."""

    def __init__(self, cluster: Cluster, settings: Settings | None = None) -> None:
        self.index = Index(cluster)
        self._settings = settings

    def flow(
        self, source: str, destination: str, port: str = "", protocol: Protocol | None = None
    ) -> tuple[Flow, tuple[str, ...]]:
        """The flow that these words mean, with notes on how they were understood."""
        return flow_of(self.index, source, destination, port, protocol)

    def explain(
        self, flow: Flow, family: int | None = None, notes: tuple[str, ...] = ()
    ) -> Explanation:
        """The verdict on the flow, its paths and, for a "no", what would open it."""
        cases: list[Case] = []
        asks: list[Ask] = []
        conflicts: list[str] = []
        wanted = [
            case
            for case in cases_of(self.index, flow)
            if family in (None, case.packet.source.version)
        ]
        if not wanted:
            raise BadFlowError(
                f"{flow.source} and {flow.destination} have no IPv{family} in common"
            )
        for case in wanted:
            part = part_for(self.index, case.packet, case.entering)
            done, found = self._case(part, case)
            cases.append(done)
            asks.append(Ask(part, done))
            conflicts += found
        kind = kind_of(path.open for case in cases for path in case.paths)
        return Explanation(
            flow=flow,
            kind=kind,
            verdict=verdict(flow, kind, cases),
            tables=self._settings is not None,
            cases=tuple(cases),
            changes=() if kind == "allowed" else changes_for(self.index, flow, asks),
            notes=notes,
            conflicts=tuple(conflicts),
        )

    def _case(self, part: Cluster, case: Case) -> tuple[Case, tuple[str, ...]]:
        courses = Courses(part).of(case.packet, case.entering)
        if self._settings is None:
            paths = tuple(promised_path(part, case.packet, course) for course in courses)
            conflicts: tuple[str, ...] = ()
        else:
            states, _ = compile_cluster(self._settings, part)
            paths, conflicts = walked(part, states, case, courses)
        ordered = sorted(paths, key=lambda path: path.receiver)
        shown = tuple(self._with_misses(part, path) for path in ordered)
        return msgspec.structs.replace(case, paths=shown), conflicts

    def _with_misses(self, part: Cluster, path: Path) -> Path:
        """The path with what the rules say that could have let it through."""
        if path.fate != "denied":
            return path
        packet, direction, decision = path.received, INGRESS, path.ingress
        own = packet.destination
        if not path.egress.allowed:
            packet = msgspec.structs.replace(packet, source=path.sent.source)
            own, direction, decision = packet.source, EGRESS, path.egress
        isolating = {cause.ref for cause in decision.because}
        world = world_of(part.pods.values(), part.namespaces.values(), part.nodes.values())
        pod = world.pods.get(own)
        found = (
            miss
            for policy in (self.index.policies_on(pod) if pod is not None else ())
            if policy.ref in isolating
            for miss in misses(world, policy, direction, packet)
        )
        return msgspec.structs.replace(path, misses=tuple(found))
