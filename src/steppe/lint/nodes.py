"""Nodes of different MTUs, and addresses and prefixes that are somebody else's."""

from collections.abc import Iterator

from steppe.kube.cause import Cause
from steppe.kube.objects import DEFAULT_UNDERLAY
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding
from steppe.service.claims import DENIED, DOUBTFUL
from steppe.service.granted import granted


def refused_claims(facts: Facts) -> Iterator[Finding]:
    """Addresses and prefixes that are somebody else's, and externalIPs at all."""
    _, problems = granted(facts.cluster, facts.loaded.settings)
    for problem in problems:
        if problem.cause.ref in facts.loaded.invented:
            continue  # a real cluster would have given the Node another prefix
        check = "external-ips" if problem.message in (DOUBTFUL, DENIED) else "not-its-own"
        yield Finding(problem.cause, check, problem.message)


def different_mtus(facts: Facts) -> Iterator[Finding]:
    """Nodes whose underlay has a smaller MTU than others: large packets to them are lost."""
    known = {
        node.name: node.underlay.mtu
        for node in facts.cluster.nodes.values()
        # Only nodes whose agent has published its underlay: the others' MTU is not known.
        if node.underlay != DEFAULT_UNDERLAY
    }
    largest = max(known.values(), default=0)
    for name, mtu in known.items():
        if mtu < largest:
            message = (
                f"its underlay has an MTU of {mtu} bytes, that of other nodes {largest}: large "
                "packets between them depend on path MTU discovery; make them equal"
            )
            yield Finding(
                Cause(facts.cluster.nodes[name].ref, "metadata.annotations"), "mtu-differs", message
            )
