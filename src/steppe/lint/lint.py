"""Runs all checks of a cluster."""

from collections.abc import Iterator

from steppe.kube.cause import Cause
from steppe.kube.objects import DEFAULT_UNDERLAY
from steppe.lint.covered import covered_rules
from steppe.lint.facts import Facts
from steppe.lint.finding import Check, Finding
from steppe.lint.policies import policy_findings
from steppe.lint.services import closed_services, service_findings
from steppe.manifests.cluster import Loaded
from steppe.service.claims import DOUBTFUL
from steppe.service.granted import granted
from steppe.settings import Settings


def lint(loaded: Loaded) -> tuple[Finding, ...]:
    """All findings in this cluster, sorted by object."""
    facts = Facts(loaded)
    found = {
        *(Finding(problem.cause, "problem", problem.message) for problem in loaded.problems),
        *policy_findings(facts),
        *covered_rules(facts),
        *service_findings(facts),
        *closed_services(facts),
        *_different_mtus(facts),
        *_refused(facts),
    }
    return tuple(sorted(found))


def _refused(facts: Facts) -> Iterator[Finding]:
    """Addresses and prefixes that are somebody else's, and externalIPs at all."""
    _, problems = granted(facts.cluster, Settings())
    for problem in problems:
        check: Check = "external-ips" if problem.message == DOUBTFUL else "not-its-own"
        yield Finding(problem.cause, check, problem.message)


def _different_mtus(facts: Facts) -> Iterator[Finding]:
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
