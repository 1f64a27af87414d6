"""What objects ask for and may not have, as far as a flow's ends are concerned."""

from collections.abc import Iterable, Iterator

from steppe.explain.model import Case
from steppe.kube.cause import ObjectRef, Problem
from steppe.kube.cluster import Cluster
from steppe.service.claims import DOUBTFUL


def refusals(asking: Cluster, problems: Iterable[Problem], cases: Iterable[Case]) -> Iterator[str]:
    """Why an object that names an end of these cases does not get what it asks for.

    `asking` is the cluster as its objects have it, `problems` what service/granted.py says of it.
    """
    serious = tuple(problem for problem in problems if problem.message != DOUBTFUL)
    if not serious:
        return
    packets = [case.packet for case in cases]
    ends = dict.fromkeys(end for packet in packets for end in (packet.source, packet.destination))
    refs: set[ObjectRef] = set()
    for end in ends:
        refs.update(node.ref for node in (*asking.nodes_at(end), *asking.nodes_around(end)))
        refs.update(service.ref for service in asking.services_at(end))
    yield from (str(problem) for problem in serious if problem.cause.ref in refs)
