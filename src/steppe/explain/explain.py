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
from steppe.explain.model import Case, Explanation, Flow, kind_of
from steppe.explain.part import part_for
from steppe.explain.promised import promised_path
from steppe.explain.remedy import Ask, changes_for
from steppe.explain.say import verdict
from steppe.explain.tables import walked
from steppe.fabric.settings import Settings
from steppe.kube.cluster import Cluster
from steppe.net.packet import Protocol


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
            return msgspec.structs.replace(case, paths=paths), ()
        states, _ = compile_cluster(self._settings, part)
        walks = walked(part, states, case, courses)
        return msgspec.structs.replace(case, paths=walks.paths), walks.conflicts
