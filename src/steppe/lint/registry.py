"""Every check of lint: its id, how serious it is, the trap, and the function that finds it.

A new check is a function in a module of its own family, a line here, and a row in docs/lint.md.
Ids never change: pipelines ignore findings by them.
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from steppe.lint.blocks import blocks_of_the_cluster
from steppe.lint.closed import closed_services
from steppe.lint.covered import covered_rules
from steppe.lint.dns import closed_dns
from steppe.lint.facts import Facts
from steppe.lint.finding import Finding, Severity
from steppe.lint.headless import headless_ports, nameless_pods
from steppe.lint.nodes import different_mtus, refused_claims
from steppe.lint.outside import masked_affinity, masqueraded_clients, one_family
from steppe.lint.peers import unmatched_peers
from steppe.lint.policy_ports import unserved_ports
from steppe.lint.policy_types import policy_types
from steppe.lint.services import service_findings
from steppe.lint.sharing import host_ports, shared_addresses
from steppe.lint.slices import odd_slices
from steppe.lint.subjects import idle_policies
from steppe.lint.void import void_exceptions

Find = Callable[[Facts], Iterator[Finding]]


class Check(msgspec.Struct, frozen=True):
    """One check; several may share a function that tells which of them it is."""

    id: str
    severity: Severity
    trap: str
    find: Find


def _problems(facts: Facts) -> Iterator[Finding]:
    return (Finding(found.cause, "problem", found.message) for found in facts.loaded.problems)


CHECKS: tuple[Check, ...] = (
    Check("problem", "error", "a part of an object that cannot be used", _problems),
    Check("not-its-own", "error", "an address or prefix that is somebody else's", refused_claims),
    Check("external-ips", "warning", "externalIPs, which anybody may set to any address",
          refused_claims),
    Check("selects-nothing", "warning", "a policy that selects no pod", idle_policies),
    Check("selects-host-network", "warning", "a policy for pods on their host's network",
          idle_policies),
    Check("other-namespace", "warning", "a policy whose pods are in another namespace",
          idle_policies),
    Check("not-compared", "note", "selectors of a namespace whose pods are not known here",
          idle_policies),
    Check("matches-nobody", "warning", "a peer that matches nobody", unmatched_peers),
    Check("namespace-not-here", "note", "a namespaceSelector for namespaces of other manifests",
          unmatched_peers),
    Check("and-as-or", "warning", "two entries of a list that were meant as one", unmatched_peers),
    Check("or-as-and", "warning", "two selectors of one entry that were meant as two",
          unmatched_peers),
    Check("label-of-pods", "warning", "a pod's label under namespaceSelector", unmatched_peers),
    Check("label-of-namespace", "warning", "a namespace's label under podSelector",
          unmatched_peers),
    Check("peer-elsewhere", "warning", "a podSelector alone for pods of another namespace",
          unmatched_peers),
    Check("host-network-peer", "warning", "pods on their host's network as peers",
          unmatched_peers),
    Check("exception-void", "warning", "NotIn or except beside an entry that takes all",
          void_exceptions),
    Check("already-covered", "note", "a rule that changes nothing beside another", covered_rules),
    Check("port-not-served", "warning", "a port's name that no pod meant has", unserved_ports),
    Check("service-port", "warning", "the Service's port where the pod's is meant",
          unserved_ports),
    Check("port-not-declared", "note", "a port that no pod meant declares", unserved_ports),
    Check("missing-policy-types", "warning", "policyTypes left out, and closed or open by that",
          policy_types),
    Check("rules-switched-off", "warning", "rules of a direction that policyTypes leaves out",
          policy_types),
    Check("dns-closed", "warning", "an egress policy that closes DNS", closed_dns),
    Check("ipblock-of-service", "warning", "an ipBlock of a cluster IP", blocks_of_the_cluster),
    Check("ipblock-of-pod", "warning", "an ipBlock of a pod's address", blocks_of_the_cluster),
    Check("masqueraded-clients", "warning", "an ipBlock of clients whose address nodes replace",
          masqueraded_clients),
    Check("no-endpoints", "warning", "a Service that selects no pod", service_findings),
    Check("no-target-port", "warning", "a targetPort's name that no selected pod has",
          service_findings),
    Check("target-port-undeclared", "note", "a targetPort that no selected pod declares",
          service_findings),
    Check("ports-differ", "warning", "a port's name with several numbers, or not in all pods",
          service_findings),
    Check("headless-port", "warning", "a headless Service's port that nothing translates",
          headless_ports),
    Check("no-service-name", "note", "a StatefulSet whose pods have no names in DNS",
          nameless_pods),
    Check("slice-without-service", "warning", "an EndpointSlice without its Service's label",
          odd_slices),
    Check("slice-port-name", "warning", "an EndpointSlice whose ports have other names",
          odd_slices),
    Check("all-denied", "warning", "a Service port that policies close to all", closed_services),
    Check("partly-denied", "warning", "a Service port that is open at some endpoints only",
          closed_services),
    Check("one-family", "warning", "a dual-stack Service with endpoints of one family",
          one_family),
    Check("affinity-masked", "note", "session affinity for clients from outside", masked_affinity),
    Check("same-address", "warning", "two Services on one address and port", shared_addresses),
    Check("host-port", "warning", "a hostPort, which not every network opens", host_ports),
    Check("host-port-conflict", "warning", "two pods of a node on one of its ports", host_ports),
    Check("mtu-differs", "warning", "nodes of different MTUs", different_mtus),
)  # fmt: skip

BY_ID: Mapping[str, Check] = {check.id: check for check in CHECKS}
