"""Which tests belong together, by what their full names match; and what is not run."""

import re

from tests.kubernetes.harness.errors import HarnessError

SIG = "[sig-network]"
GROUPS = {
    "NetworkPolicy": r"\[sig-network\] Netpol",
    "Conntrack": r"\[sig-network\] Conntrack",
    "HostPort": r"\[sig-network\] HostPort",
    "EndpointSlice": r"\[sig-network\] EndpointSlice",
    "Services": r"\[sig-network\] Services",
    "Granular": r"\[sig-network\] Networking Granular Checks",
    "Dual-stack": r"\[sig-network\] \[Feature:IPv6DualStack\]",
    "DNS": r"\[sig-network\] DNS",
    "Traffic Distribution": r"\[sig-network\] (Traffic Distribution|Topology Hints)",
    "NoSNAT": r"\[sig-network\] NoSNAT",
    "KubeProxy": r"\[sig-network\] KubeProxy",
    "Proxy": r"\[sig-network\] Proxy",
    "Networking": r"\[sig-network\] Networking (should|\[)",
    "Endpoints": r"\[sig-network\] Endpoints",
    "others": r"\[sig-network\] (Ingress|Connectivity|API Server|Service ?CIDR|Service end)",
}
"""Regular expressions, for Go as for Python; the first that matches a test's name takes it."""
LEFT_OUT = {
    r"SCTP": "SCTP: the kernel of the tests' machine has none",
    r"LoadBalancer": "a cloud's load balancers",
    r"\[Disruptive\]": "it stops parts of the cluster that the harness has started",
    r"\[Serial\]": "it wants the cluster to itself",
    r"\[Flaky\]": "Kubernetes marks it as unreliable",
    r"\[Slow\]": "it takes many minutes",
    r"Performance|IPerf2": "it measures, and promises nothing",
    r"\[Feature:Networking-(IPv4|DNS|IPv6)\]|\[Feature:NetworkingDNS\]": "it needs the internet",
}
"""What is not run, by what names match: what it would need, or why."""


def checked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, all of them groups; HarnessError says which groups there are."""
    if unknown := [name for name in names if name not in GROUPS]:
        raise HarnessError(f"no group {unknown[0]}: there are {', '.join(GROUPS)}")
    return names


def group_of(test: str) -> str:
    return next((name for name, match in GROUPS.items() if re.search(match, test)), "others")


def why_left_out(test: str) -> str:
    """ "" if the test is run."""
    return next((why for match, why in LEFT_OUT.items() if re.search(match, test)), "")
