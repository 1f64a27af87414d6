"""Explains flows over one cluster: build an Explainer once, then ask it as often as you like.

`Explainer(cluster)` says what the API promises on any network. For a cluster that runs Steppe,
`explainer_of(cluster, settings)` walks through its tables and compares the result with the promise.
"""

from collections.abc import Callable, Sequence

import msgspec

from steppe.explain.asked import refusals
from steppe.explain.cases import cases_of, claiming
from steppe.explain.cluster_part import part_for
from steppe.explain.dns import by_address
from steppe.explain.entrances import followed, joined
from steppe.explain.entries import with_entries
from steppe.explain.flow import BadFlowError, flow_of
from steppe.explain.judged import disagreement, doubts_of, kind_of_all
from steppe.explain.local_policy import local_changes
from steppe.explain.model import Case, Change, Explanation, Flow, Path
from steppe.explain.promised_steps import path_of
from steppe.explain.remedy import Asked, changes_for
from steppe.explain.sentences import verdict
from steppe.explain.unmatched_rules import misses
from steppe.judge.judge import Judge
from steppe.kube.cluster import Cluster
from steppe.kube.policies import Direction
from steppe.net.address import IPAddress
from steppe.net.packet import Protocol
from steppe.oracle.claims import honoured
from steppe.oracle.policy_match import World
from steppe.oracle.promised_path import Oracle, PromisedPath
from steppe.service.granted import granted
from steppe.settings import Settings

DEFAULTS = Settings()
_NOT_ALL = "Paths are told for {} kinds of ways in, of {} that are judged; the verdict is of all."
INGRESS: Direction = "ingress"
EGRESS: Direction = "egress"


Paths = tuple[tuple[Path, ...], tuple[str, ...]]
"""A case's paths, and sentences about differences from the oracle."""
Walk = Callable[[Case, Sequence[PromisedPath]], Paths]
"""Walks a case through tables; the promised paths are the oracle's result for it."""
InTables = Callable[[Cluster], Walk]
"""Returns a Walk through the tables of a part of the cluster."""


class Explainer:
    """Explains flows in one cluster.

    `in_tables` is set if it runs Steppe (see explain/tables.py).

    Invariant: it stores only what follows from the cluster, so an explanation does not depend on
    earlier ones.
    """

    def __init__(
        self,
        cluster: Cluster,
        in_tables: InTables | None = None,
        settings: Settings = DEFAULTS,
    ) -> None:
        self._asking = cluster
        self.cluster, self._refused = granted(cluster, settings)
        # Whether the oracle too lets Nodes and ServiceCIDRs have all that was granted.
        self._is_honoured = honoured(self.cluster) is self.cluster
        self._settings = settings
        self._node_port_addresses = settings.node_port_addresses
        self._external_ips = settings.external_ips
        self._in_tables = in_tables

    def flow(
        self,
        source: str,
        destination: str,
        port: str = "",
        protocol: Protocol | None = None,
        *,
        namespace: str = "",
    ) -> tuple[Flow, tuple[str, ...]]:
        """The flow that these texts mean, with notes on how they were understood."""
        return flow_of(self.cluster, source, destination, port, protocol, namespace=namespace)

    def explain(
        self,
        flow: Flow,
        family: int | None = None,
        notes: tuple[str, ...] = (),
        claimed: IPAddress | None = None,
    ) -> Explanation:
        """The verdict on the flow, its paths and, for a "no", what would open it.

        `claimed` is the source address that the sending pod puts into its packets; None for its
        own.
        """
        wanted = [
            case
            for case in cases_of(self.cluster, flow, self._node_port_addresses)
            if family in (None, case.packet.source.version)
        ]
        if claimed is not None:
            wanted = claiming(flow, wanted, claimed)
        if not wanted:
            raise BadFlowError(
                f"{flow.source} and {flow.destination} have no IPv{family} in common"
            )
        part = part_for(self.cluster, wanted)
        oracle = self._oracle(part)
        shown, others = followed(joined(wanted, Judge(part, self._settings)))
        told, conflicts = self._followed(part, oracle, shown)
        found = (*told, *others)
        kind = kind_of_all(found)
        asked = Asked(flow, part, found, oracle.world, self._settings)
        return Explanation(
            flow=flow,
            kind=kind,
            verdict=by_address(self.cluster, flow, kind, verdict(flow, kind, found)),
            basis="promises" if self._in_tables is None else "tables",
            cases=told,
            changes=() if kind in ("allowed", "unknown") else self._changes(asked),
            notes=(
                *(*notes, *refusals(self._asking, self._refused, wanted)),
                *([_NOT_ALL.format(len(told), len(found))] if others else ()),
            ),
            conflicts=conflicts,
            unknown=tuple(map(str, doubts_of(found))),
        )

    def _oracle(self, part: Cluster) -> Oracle:
        return Oracle(
            part,
            self._node_port_addresses,
            external_ips=self._external_ips,
            is_honoured=self._is_honoured,
        )

    def _changes(self, asked: Asked) -> tuple[Change, ...]:
        found = changes_for(self.cluster, asked)
        return (*found, *local_changes(asked.part, asked.flow, asked.cases, self._settings))

    def _followed(
        self, part: Cluster, oracle: Oracle, cases: Sequence[Case]
    ) -> tuple[tuple[Case, ...], tuple[str, ...]]:
        """The cases, each with every path that its packet may take."""
        walk = self._in_tables and self._in_tables(part)
        found: list[Case] = []
        conflicts: list[str] = []
        for case in cases:
            promised = oracle.paths(case.packet, case.entering, case.sender)
            if walk:
                paths, parted = walk(case, promised)
                conflicts += parted
            else:
                paths = tuple(path_of(part, case, each) for each in promised)
                conflicts += disagreement(case, promised)
            ordered = sorted(paths, key=lambda path: path.receiver)
            missed = (self._with_misses(oracle.world, path) for path in ordered)
            shown = tuple(with_entries(part, oracle.world, path) for path in missed)
            found.append(msgspec.structs.replace(case, paths=shown))
        return tuple(found), tuple(conflicts)

    def _with_misses(self, world: World, path: Path) -> Path:
        """The path with the rules that could have allowed it, and what they allow instead."""
        if path.fate != "denied":
            return path
        packet, direction, decision = path.received, INGRESS, path.ingress
        own = packet.destination
        if not path.egress.allowed:
            packet = msgspec.structs.replace(packet, source=path.sent.source)
            own, direction, decision = packet.source, EGRESS, path.egress
        isolating = {cause.ref for cause in decision.because}
        pod = world.pods.get(own)
        found = (
            miss
            for policy in (self.cluster.policies_on(pod) if pod is not None else ())
            if policy.ref in isolating
            for miss in misses(self.cluster, world, policy, direction, packet)
        )
        return msgspec.structs.replace(path, misses=tuple(found))
