"""From outside to a Service, by which node: nodes that act alike are one, and none is left out."""

from ipaddress import ip_address, ip_network

import pytest

from steppe.ends.target import RangeTarget, ServiceTarget
from steppe.explain.entrances import MOST
from steppe.explain.explain import Explainer
from steppe.explain.model import Explanation, Flow
from steppe.kube.cluster import Cluster, cluster_of
from steppe.kube.objects import NamedPort, Node, Pod
from steppe.kube.policies import AnyTraffic, Block, Namespace, NetworkPolicy, Rule
from steppe.kube.selectors import EVERYTHING
from steppe.kube.services import Endpoint, EndpointSlice, Service, ServicePort
from tests.worlds import node_at

NODES = 60
CLIENT = ip_address("203.0.113.9")


def nodes() -> list[Node]:
    return [node_at(number, 0, (4,)) for number in range(NODES)]


def cluster(hosting: range, blocks: tuple[str, ...], *, kinds: bool = False) -> Cluster:
    """A node port Service with an endpoint on each of these nodes, guarded by ipBlocks; `kinds`:
    each declares a port of its own, by which policies could tell it apart.
    """
    every = nodes()
    pods = [
        Pod(
            "x",
            f"p{number}",
            node=every[number].name,
            addresses=(every[number].networks[0][5],),
            ports=(NamedPort(f"web-{number}", "TCP", 8080),) if kinds else (),
        )
        for number in hosting
    ]
    service = Service(
        "x",
        "web",
        cluster_ips=(ip_address("10.96.0.9"),),
        ports=(ServicePort("", "TCP", 80, 30080),),
    )
    endpoints = tuple(Endpoint(pod.addresses[0], pod.node) for pod in pods)
    peers = tuple(Block(ip_network(block)) for block in blocks)
    rule = Rule("spec.ingress[0]", peers, (AnyTraffic(),))
    policy = NetworkPolicy("x", "guard", EVERYTHING, frozenset({"ingress"}), ingress=(rule,))
    return cluster_of(
        every,
        pods,
        [Namespace("x", {})],
        [policy],
        services=[service],
        slices=[EndpointSlice("x", "web-1", "web", (("", "TCP", 8080),), endpoints)],
    )


def explained(known: Cluster) -> Explanation:
    service = known.services["x", "web"]
    sender = RangeTarget(str(CLIENT), (ip_network(f"{CLIENT}/32"),), CLIENT)
    return Explainer(known).explain(
        Flow(sender, ServiceTarget(service, service.cluster_ips), "TCP", 80)
    )


def test_nodes_with_equal_endpoints_are_one_case_that_names_them_all() -> None:
    said = explained(cluster(range(40), ("203.0.113.0/24",)))
    assert said.kind == "partly"
    assert said.conflicts == ()
    by_size = {len(case.by_nodes): case.kind for case in said.cases}
    # A node with an endpoint leads the client there with its own address; all others hide it.
    assert by_size == {40: "partly", 20: "denied"}
    assert not any("kinds of ways in" in note for note in said.notes)


@pytest.mark.parametrize(("last", "kind"), [(NODES, "allowed"), (NODES - 1, "partly")])
def test_more_kinds_of_nodes_than_are_told_are_judged_all_the_same(last: int, kind: str) -> None:
    """Each node's own address is a block, but for one: nobody looks at 16 nodes and says yes."""
    own = [f"{node.addresses[0]}/32" for node in nodes()[:last]]
    said = explained(cluster(range(NODES - 2, NODES - 1), ("203.0.113.0/24", *own)))
    assert said.kind == kind
    assert len(said.cases) <= MOST
    if kind == "partly":
        closed = [case for case in said.cases if case.kind == "denied"]
        assert [case.by_nodes for case in closed] == [(f"node-{NODES - 1}",)]
        assert f"node-{NODES - 1}" in said.verdict


def test_what_is_not_told_is_said() -> None:
    """Endpoints of twenty kinds, each on a node of its own: by each node another one is open."""
    known = cluster(range(20), ("203.0.113.0/24",), kinds=True)
    said = explained(known)
    assert (said.kind, len(said.cases)) == ("partly", MOST)
    assert {case.kind for case in said.cases} == {"partly", "denied"}
    assert f"Paths are told for {MOST} kinds of ways in, of 21 that are judged" in said.notes[-1]
