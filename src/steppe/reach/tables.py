"""The table entries that a change of the cluster adds, removes or changes, for each node."""

from collections.abc import Mapping

from steppe.compile.node import compile_cluster
from steppe.kube.cluster import Cluster
from steppe.plan.diff import Change, diff
from steppe.settings import Settings
from steppe.state.node import values

State = tuple[Settings, Cluster]

MANY_PAIRS = 2_000_000


def pairs(cluster: Cluster) -> int:
    """The number of pairs from which policy tables are compiled, to estimate the cost."""
    return len(cluster.pods) * len(cluster.pods)


def table_changes(before: State, after: State) -> Mapping[str, tuple[Change, ...]]:
    """The changes of each node that has any, sorted by key."""
    old, _ = compile_cluster(*before)
    new, _ = compile_cluster(*after)
    found: dict[str, tuple[Change, ...]] = {}
    for node in sorted(old.keys() | new.keys()):
        changes = diff(new.get(node, {}), values(old.get(node, {})))
        if changes:
            found[node] = tuple(sorted(changes, key=lambda c: (c.key.table, str(c.key))))
    return found
