"""What tells ends apart, one thing at a time: rare in random clusters, common in real ones."""

from ipaddress import ip_address

import yaml

from steppe.kube.cluster import Cluster
from steppe.manifests.cluster import cluster_from
from steppe.net.ports import EVERYTHING, NOTHING, PortSet, parse_ports
from steppe.reach.difference import Difference
from steppe.reach.reach import Reach, reach_of
from steppe.reach.services import Offers

NODES = """
{kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}}
---
{kind: Namespace, metadata: {name: x}}
---
"""


def pod(name: str, host: int, labels: str = "{}", port: int = 0, node: str = "n1") -> str:
    ports = f"[{{name: web, containerPort: {port}}}]" if port else "[]"
    return f"""
{{kind: Pod, metadata: {{name: {name}, namespace: x, labels: {labels}}},
  spec: {{nodeName: {node}, containers: [{{ports: {ports}}}]}},
  status: {{podIPs: [{{ip: 10.244.1.{host}}}]}}}}
---
"""


def policy(spec: str) -> str:
    return f"{{kind: NetworkPolicy, metadata: {{name: p, namespace: x}}, spec: {spec}}}\n---\n"


def cluster(*texts: str) -> Cluster:
    found, problems = cluster_from(yaml.safe_load_all(NODES + "".join(texts)))
    assert problems == ()
    return found


def ports(reach: Reach, sender: str, receiver: str) -> PortSet | None:
    """What a row says of two pods."""
    here, there = (reach.group_of_pod["x", name] for name in (sender, receiver))
    (row,) = reach.rows(there, 1 << here)
    return row.v4


def test_receivers_of_one_port_name_with_other_numbers_are_told_apart():
    world = cluster(
        pod("client", 2, "{app: client}"),
        pod("old", 3, port=80),
        pod("new", 4, port=8080),
        policy(
            "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress],"
            " egress: [{ports: [{port: web}]}]}"
        ),
    )
    reach = reach_of(world)
    assert ports(reach, "client", "old") == parse_ports("80")
    assert ports(reach, "client", "new") == parse_ports("8080")


def test_senders_are_told_apart_by_labels_that_only_rules_look_at():
    world = cluster(
        pod("good", 2, "{role: caller}"),
        pod("bad", 3, "{role: other}"),
        pod("server", 4),
        policy(
            "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {role: caller}}}]}]}"
        ),
    )
    reach = reach_of(world)
    assert ports(reach, "good", "server") == EVERYTHING
    assert ports(reach, "bad", "server") == NOTHING


def test_labels_that_no_policy_looks_at_tell_nobody_apart():
    world = cluster(
        pod("a", 2, "{hash: 1a}"), pod("b", 3, "{hash: 2b}"), policy("{podSelector: {}}")
    )
    reach = reach_of(world)
    assert reach.group_of_pod["x", "a"] == reach.group_of_pod["x", "b"]


def test_a_service_that_stays_on_the_node_answers_each_node_otherwise():
    world = cluster(
        pod("here", 2),
        pod("there", 3, node="n2"),
        """
{kind: Service, metadata: {name: s, namespace: x},
 spec: {clusterIP: 10.96.0.1, internalTrafficPolicy: Local, ports: [{port: 80}]}}
---
{kind: EndpointSlice, metadata: {name: s-1, namespace: x,
 labels: {kubernetes.io/service-name: s}}, addressType: IPv4, ports: [{port: 80}],
 endpoints: [{addresses: [10.244.1.2], nodeName: n1}]}
""",
    )
    reach = reach_of(world)
    offers = Offers(reach)
    (offer,) = offers.all
    said = {name: offers.outcome(world.pods["x", name], offer).said for name in ("here", "there")}
    assert said == {"here": "allowed", "there": "dropped"}
    rows = {(tuple(row.view.nodes), row.outcome.said) for row in offers.rows(offer)}
    assert rows == {(("n1",), "allowed"), (("n2",), "dropped")}


def test_an_address_belongs_to_the_longest_prefix_that_policies_name():
    block = "{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.64/26]}}"
    world = cluster(pod("a", 2), policy(f"{{podSelector: {{}}, ingress: [{{from: [{block}]}}]}}"))
    reach = reach_of(world)
    assert prefix_at(reach, "203.0.113.9") == "203.0.113.0/24"
    assert prefix_at(reach, "203.0.113.70") == "203.0.113.64/26"
    assert prefix_at(reach, "198.51.100.1") == "0.0.0.0/0"


def prefix_at(reach: Reach, text: str) -> str:
    address = ip_address(text)
    holding = [p for p in reach.groups[reach.group_at(address)].prefixes if address in p]
    return str(max(holding, key=lambda prefix: prefix.prefixlen))


def test_a_prefix_that_only_one_state_names_changes_for_its_own_addresses_alone():
    block = "{ipBlock: {cidr: 203.0.113.0/24}}"
    spec = "{podSelector: {}, ingress: [{from: [%s]}]}"
    shut = cluster(pod("a", 2), policy("{podSelector: {}}"))
    open_ = cluster(pod("a", 2), policy(spec % block))
    for before, after in ((shut, open_), (open_, shut)):
        difference = Difference(before, after)
        (change,) = difference.flows()
        senders = [p for i, p in enumerate(difference.groups) if change.senders >> i & 1]
        assert [str(m) for p in senders for m in p.members] == ["203.0.113.0/24"]
        assert (change.opened, change.closed) == (
            (EVERYTHING, NOTHING) if after is open_ else (NOTHING, EVERYTHING)
        )
