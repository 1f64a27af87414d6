"""What the Kubernetes API promises of Services, a test a promise, with real packets.

Each test asks over TCP and UDP and both families, and goes by what the servers say: which of them
answered, and whom it saw. Its docstring quotes the promise. One lab for all, a Service for each.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from steppe.client.resources import NODES as NODE_KIND
from steppe.client.resources import PODS, SERVICES
from tests.lab.conftest import make_labs
from tests.lab.sctp import Associations
from tests.lab.service_lab import (
    NODES,
    OUTSIDE,
    PORTS,
    REFUSED,
    SILENT,
    VIPS,
    Json,
    Target,
    World,
    cluster,
    node_port,
    pod,
    pods,
    server,
)
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

HERE, THERE = "echo-a", "echo-b"
SERVING = {"conditions": {"ready": False, "serving": True, "terminating": True}}
GONE = {"conditions": {"ready": False, "serving": False, "terminating": True}}
UNREADY = {"conditions": {"ready": False, "serving": False}}
VIP = [(address, 80) for address in VIPS]
TCP = ({"name": "tcp", "port": 80},)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[World]:
    with make_labs(tmp_path_factory.mktemp("services")) as make:
        yield World(make("serve", "--nodes", "2", pods=pods()))


@pytest.fixture(autouse=True)
def _clean(world: World) -> Iterator[None]:
    yield
    world.remove("web")


def both(who: str) -> set[str]:
    return {f"{name} sees {who}" for name in (HERE, THERE)}


def only(name: str, who: str) -> set[str]:
    return {f"{name} sees {who}"}


def serve(world: World, known: dict[str, Json] | None = None, **spec: Any) -> Json:
    """Service `web`, with a ready endpoint on each node unless told otherwise."""
    service = world.service("web", **spec)
    world.endpoints("web", {HERE: {}, THERE: {}} if known is None else known)
    world.settle()
    return service


def balance(
    world: World, known: dict[str, Json] | None = None, mode: str = "VIP", **spec: Any
) -> Json:
    """The same of type LoadBalancer, with the addresses that a provider gave it."""
    world.service("web", type="LoadBalancer", **spec)
    world.endpoints("web", {HERE: {}, THERE: {}} if known is None else known)
    ingress = [{"ip": address, "ipMode": mode} for address in VIPS]
    status = {"status": {"loadBalancer": {"ingress": ingress}}}
    service = world.patch(SERVICES, "web", status, "status")
    world.settle()
    return service


def test_a_cluster_ip_leads_to_every_ready_endpoint(world: World) -> None:
    """clusterIP: "the IP address of the service".

    Masqueraded only where the path needs it: pods are seen as themselves, by other nodes too.
    """
    world.expect(
        cluster(serve(world)),
        {
            "client-a": both("the client"),
            "client-b": both("the client"),
            "node-a": both("the client"),
            "outside": both("a node"),
        },
    )


def test_endpoints_are_the_pods_that_a_selector_chooses(world: World) -> None:
    """selector: "Route service traffic to pods with label keys and values matching this selector."

    targetPort: "If this is a string, it will be looked up as a named port in the target Pod's
    container ports." The pods number it differently.
    """
    ports = [{"name": "line", "port": 80, "targetPort": "line"}]
    service = world.service("web", ports, selector={"role": "echo"})

    def all_there() -> bool:
        return world.outcomes("client-a", Target(*cluster(service)[1]), both("the client")) == (
            both("the client")
        )

    until(all_there, 10, "both pods answer")
    wanted = {"client-a": both("the client"), "node-b": both("the client")}
    world.expect(cluster(service), wanted, "TCP")


def test_a_sidecars_port_has_a_name_too(world: World) -> None:
    """targetPort: "looked up as a named port in the target Pod's container ports": those of init
    containers that restart always are among them, for these run beside the others.
    """
    body = pod("sidecar-b", "node-b", {"name": "pause", "image": "pause"})
    sidecar = server(9) | {"restartPolicy": "Always"}
    del sidecar["readinessProbe"]
    body["spec"]["initContainers"] = [sidecar]
    world.api(lambda client: client.create(PODS, body, "default"))
    try:
        ports = [{"name": "line", "port": 80, "targetPort": "line"}]
        service = world.service("web", ports, selector={"role": "sidecar"})
        until(lambda: len(world.slices("web")) == 2, 15, "both families are listed")
        world.settle()
        wanted = {"client-a": only("sidecar-b", "the client")}
        world.expect(cluster(service), wanted, "TCP")
    finally:
        world.delete(PODS, "sidecar-b")


def test_each_port_has_its_own_target_and_goes_alone(world: World) -> None:
    """ports: "The list of ports that are exposed by this service."."""
    second = {"name": "line", "port": 81}
    service = world.service("web", [*PORTS, second])
    numbers = (("tcp", "TCP", 7), ("udp", "UDP", 7), ("line", "TCP", 8))
    world.endpoints("web", {HERE: {}}, numbers)
    world.settle()
    wanted = {"client-a": only(HERE, "the client"), "node-b": only(HERE, "the client")}
    world.expect(cluster(service), wanted)
    world.expect(cluster(service, 81), wanted, "TCP")
    world.patch(SERVICES, "web", {"spec": {"ports": [*PORTS]}})
    world.settle()
    world.expect(cluster(service), wanted)
    world.expect(cluster(service, 81), {"client-a": {REFUSED}}, "TCP")


def test_one_port_number_serves_two_protocols_and_one_may_go(world: World) -> None:
    """protocol: "The IP protocol for this port." A port is a number and a protocol."""
    service = serve(world, {THERE: {}}, ports=PORTS)
    wanted = {"client-a": only(THERE, "the client"), "outside": only(THERE, "a node")}
    world.expect(cluster(service), wanted)
    world.patch(SERVICES, "web", {"spec": {"ports": list(TCP)}})
    world.settle()
    world.expect(cluster(service), wanted, "TCP")
    world.expect(cluster(service), {"client-a": {REFUSED}, "node-a": {REFUSED}}, "UDP")


def test_an_unknown_port_of_a_cluster_ip_is_refused(world: World) -> None:
    """ports: "exposed by this service", and no others; nothing leaks to the fabric."""
    wanted = {name: {REFUSED} for name in ("client-a", "node-a", "outside")}
    world.expect(cluster(serve(world), 8080), wanted)


def test_a_node_port_is_open_on_every_node(world: World) -> None:
    """nodePort: "The port on each node on which this service is exposed"."""
    service = serve(world, type="NodePort")
    for node in NODES:
        wanted = {
            "outside": both("a node"),
            "client-a": both("a node"),
            # Another node masquerades it, as it does everyone who is not its own.
            "node-a": both("the client" if node == "node-a" else "a node"),
        }
        world.expect(node_port(service, node), wanted, "TCP")
        world.expect(node_port(service, node, 1), wanted, "UDP")
    world.expect(cluster(service), {"client-a": both("the client")})


def test_external_ips_are_accepted_though_no_machine_has_them(world: World) -> None:
    """externalIPs: "IP addresses for which nodes in the cluster will also accept traffic for this
    service".
    """
    serve(world, externalIPs=list(VIPS))
    wanted = {"outside": both("a node"), "client-b": both("a node"), "node-a": both("the client")}
    world.expect(VIP, wanted)


def test_a_load_balancers_address_is_served_on_the_node(world: World) -> None:
    """ipMode: "Setting this to "VIP" indicates that traffic is delivered to the node with the
    destination set to the load-balancer's IP and port."
    """
    balance(world)
    wanted = {"outside": both("a node"), "client-b": both("a node"), "node-a": both("the client")}
    world.expect(VIP, wanted)


def test_a_load_balancer_may_do_without_node_ports(world: World) -> None:
    """allocateLoadBalancerNodePorts: "It may be set to "false" if the cluster load-balancer does
    not rely on NodePorts."
    """
    service = balance(world, allocateLoadBalancerNodePorts=False)
    assert not any(port.get("nodePort") for port in service["spec"]["ports"])
    world.expect(VIP, {"outside": both("a node"), "client-a": both("a node")})


def test_a_load_balancers_address_of_mode_proxy_is_left_to_it(world: World) -> None:
    """ipMode: "Setting this to "Proxy" indicates that traffic is delivered to the node or pod with
    the destination set to the node's IP and node port or the pod's IP and port."
    """
    service = balance(world, mode="Proxy")
    for address, port in VIP:
        assert "sees" not in world.ask("outside", Target(address, port))
        assert "sees" not in world.ask("client-a", Target(address, port))
    world.expect(node_port(service, "node-a"), {"outside": both("a node")}, "TCP")


NOBODY = {"no endpoint": {}, "none ready": {HERE: UNREADY}, "all gone": {HERE: GONE, THERE: GONE}}


@pytest.mark.parametrize("what", NOBODY)
def test_a_service_without_endpoints_refuses_at_once(world: World, what: str) -> None:
    """ready: "this endpoint is prepared to receive traffic". No endpoint is, and clients are told
    so instead of left waiting.
    """
    service = balance(world, NOBODY[what])
    clients = {name: {REFUSED} for name in ("client-a", "node-a", "outside")}
    world.expect(cluster(service), clients)
    world.expect(VIP, clients)
    world.expect(node_port(service, "node-b"), clients, "TCP")
    world.expect(node_port(service, "node-b", 1), clients, "UDP")


def test_unready_pods_serve_where_the_service_says_so(world: World) -> None:
    """publishNotReadyAddresses: "any agent which deals with endpoints for this Service should
    disregard any indications of ready/not-ready".
    """
    never = server(9) | {"readinessProbe": {"exec": {"command": ["/bin/false"]}}}
    body = pod("unready-b", "node-b", never)
    world.api(lambda client: client.create(PODS, body, "default"))
    ports = [{**port, "targetPort": 7} for port in PORTS]
    service = world.service(
        "web", ports, selector={"role": "unready"}, publishNotReadyAddresses=True
    )
    wanted = {"client-a": only("unready-b", "the client"), "outside": only("unready-b", "a node")}

    def is_there() -> bool:
        return world.ask("client-a", Target(*cluster(service)[0])) != REFUSED

    try:
        until(is_there, 15, "the unready pod answers")
        until(lambda: len(world.slices("web")) == 2, 5, "both families are listed")
        world.settle()
        world.expect(cluster(service), wanted)
        world.patch(SERVICES, "web", {"spec": {"publishNotReadyAddresses": False}})
        until(lambda: not any(world.slices("web")), 10, "no endpoint is called ready")
        world.settle()
        world.expect(cluster(service), {"client-a": {REFUSED}, "outside": {REFUSED}})
    finally:
        world.delete(PODS, "unready-b")


def test_terminating_endpoints_serve_only_while_none_is_ready(world: World) -> None:
    """serving: "this endpoint is able to receive traffic"; terminating: "this endpoint is
    terminating". Together they are the last resort.
    """
    service = serve(world, {HERE: SERVING, THERE: GONE}, type="NodePort")
    world.expect(cluster(service), {"client-b": only(HERE, "the client")})
    world.expect(node_port(service, "node-b"), {"outside": only(HERE, "a node")}, "TCP")
    world.endpoints("web", {HERE: SERVING, THERE: {}})
    world.settle()
    world.expect(cluster(service), {"client-a": only(THERE, "the client")})
    world.expect(node_port(service, "node-a"), {"outside": only(THERE, "a node")}, "TCP")


def test_under_the_local_policies_terminating_endpoints_of_the_node_serve_last(
    world: World,
) -> None:
    """As above, for "endpoints of the service on the same node" alone."""
    service = serve(
        world,
        {HERE: SERVING, THERE: {}},
        type="NodePort",
        externalTrafficPolicy="Local",
        internalTrafficPolicy="Local",
    )
    world.expect(cluster(service), {"client-a": only(HERE, "the client")})
    world.expect(node_port(service, "node-a"), {"outside": only(HERE, "the client")}, "TCP")


def test_internal_policy_local_stays_on_the_node(world: World) -> None:
    """internalTrafficPolicy: "If set to "Local", the proxy will assume that pods only want to talk
    to endpoints of the service on the same node as the pod, dropping the traffic if there are no
    local endpoints."
    """
    service = serve(world, internalTrafficPolicy="Local", type="NodePort")
    wanted = {
        "client-a": only(HERE, "the client"),
        "client-b": only(THERE, "the client"),
        "node-a": only(HERE, "the client"),
        "outside": only(HERE, "a node"),
    }
    world.expect(cluster(service), wanted)
    world.expect(node_port(service, "node-a"), {"outside": both("a node")}, "TCP")
    world.endpoints("web", {THERE: {}})
    world.settle()
    world.expect(cluster(service), {"client-a": {SILENT}, "node-a": {SILENT}})
    world.expect(cluster(service), {"client-b": only(THERE, "the client")})


def test_external_policy_local_keeps_the_clients_address(world: World) -> None:
    """externalTrafficPolicy: "each node will deliver traffic only to the node-local endpoints of
    the service, without masquerading the client source IP."
    """
    service = balance(world, externalTrafficPolicy="Local")
    world.expect(VIP, {"outside": only(HERE, "the client")})
    for node, name in (("node-a", HERE), ("node-b", THERE)):
        world.expect(node_port(service, node), {"outside": only(name, "the client")}, "TCP")
        world.expect(node_port(service, node, 1), {"outside": only(name, "the client")}, "UDP")
    world.expect(cluster(service), {"client-a": both("the client"), "outside": both("a node")})


def test_external_policy_local_without_a_local_endpoint_is_silent(world: World) -> None:
    """externalTrafficPolicy: "Traffic mistakenly sent to a node with no endpoints will be
    dropped."
    """
    service = balance(world, {THERE: {}}, externalTrafficPolicy="Local")
    world.expect(VIP, {"outside": {SILENT}})
    world.expect(node_port(service, "node-a"), {"outside": {SILENT}}, "TCP")
    world.expect(node_port(service, "node-b"), {"outside": only(THERE, "the client")}, "TCP")


def test_external_policy_local_is_cluster_for_those_inside(world: World) -> None:
    """externalTrafficPolicy: "traffic sent to an External IP or LoadBalancer IP from within the
    cluster will always get "Cluster" semantics".
    """
    balance(world, externalTrafficPolicy="Local")
    world.expect(VIP, {"client-a": both("the client"), "node-a": both("the client")})


def test_source_ranges_guard_the_load_balancers_address_alone(world: World) -> None:
    """loadBalancerSourceRanges: "this will restrict traffic through the cloud-provider
    load-balancer … to the specified client IPs".
    """
    admitted = [f"{OUTSIDE[0]}/32", f"{OUTSIDE[1]}/128"]
    service = balance(world, loadBalancerSourceRanges=admitted)
    world.expect(VIP, {"outside": both("a node"), "client-a": {SILENT}, "node-a": {SILENT}})
    world.expect(cluster(service), {"client-a": both("the client")})
    others = {"spec": {"loadBalancerSourceRanges": ["203.0.113.0/24", "2001:db8:9::/64"]}}
    world.patch(SERVICES, "web", others)
    world.settle()
    world.expect(VIP, {"outside": {SILENT}})
    world.expect(node_port(service, "node-a"), {"outside": both("a node")}, "TCP")
    world.patch(SERVICES, "web", {"spec": {"loadBalancerSourceRanges": None}})
    world.settle()
    world.expect(VIP, {"outside": both("a node"), "client-a": both("a node")})


def test_a_pod_reaches_itself_through_its_service(world: World) -> None:
    """selector: "Route service traffic to pods": the sender may be one of them. It must not see
    its own address as the sender's, for it would answer itself.
    """
    service = serve(world, {HERE: {}})
    world.expect(cluster(service), {HERE: only(HERE, "a node"), THERE: only(HERE, "the client")})


def test_hints_keep_traffic_on_the_node_while_they_cover_all(world: World) -> None:
    """trafficDistribution: "PreferSameNode": "endpoints on the same node as the client"."""
    hinted = {
        HERE: {"hints": {"forNodes": [{"name": "node-a"}]}},
        THERE: {"hints": {"forNodes": [{"name": "node-b"}]}},
    }
    service = serve(world, hinted, trafficDistribution="PreferSameNode")
    wanted = {"client-a": only(HERE, "the client"), "client-b": only(THERE, "the client")}
    world.expect(cluster(service), wanted)
    world.endpoints("web", {**hinted, HERE: UNREADY | hinted[HERE]})
    world.settle()
    world.expect(cluster(service), {"client-a": only(THERE, "the client")})


def test_hints_keep_traffic_in_the_zone_while_they_cover_all(world: World) -> None:
    """trafficDistribution: "PreferSameZone": "endpoints in the same zone as the client". The hints
    count where every ready endpoint has some, one fits, and the node knows its zone.
    """

    def hinted(*zone: str) -> Json:
        return {"hints": {"forZones": [{"name": name} for name in zone]}}

    def in_zones(*zones: str | None) -> None:
        for node, zone in zip(NODES, zones, strict=True):
            labels = {"topology.kubernetes.io/zone": zone}
            world.patch(NODE_KIND, node, {"metadata": {"labels": labels}})

    in_zones("east", "west")
    try:
        known = {HERE: hinted("east"), THERE: hinted("west")}
        service = serve(world, known, trafficDistribution="PreferSameZone")
        wanted = {"client-a": only(HERE, "the client"), "client-b": only(THERE, "the client")}
        world.expect(cluster(service), wanted)
        everyone = {client: both("the client") for client in wanted}
        incomplete = {HERE: hinted("east"), THERE: {}}
        foreign = {HERE: hinted("north"), THERE: hinted("south")}
        for other in (incomplete, foreign):
            world.endpoints("web", other)
            world.settle()
            world.expect(cluster(service), everyone)
        # "hints of unready endpoints do not count"
        world.endpoints("web", {HERE: hinted("west"), THERE: UNREADY})
        world.settle()
        world.expect(cluster(service), {"client-b": only(HERE, "the client")})
    finally:
        in_zones(None, None)
    world.endpoints("web", known)
    world.settle()
    world.expect(cluster(service), everyone)


def test_a_service_made_anew_leads_to_its_new_endpoints_only(world: World) -> None:
    """A Service's name and addresses are its own only for as long as it is there."""
    service = serve(world, {HERE: {}})
    world.expect(cluster(service), {"client-a": only(HERE, "the client")})
    addresses = service["spec"]["clusterIPs"]
    world.remove("web")
    serve(world, {THERE: {}}, clusterIP=addresses[0], clusterIPs=addresses)
    world.expect(cluster(service), {"client-a": only(THERE, "the client")})


def test_a_load_balancer_is_told_where_endpoints_are(world: World) -> None:
    """healthCheckNodePort: "External systems (e.g. load-balancers) can use this port to determine
    if a given node holds endpoints for this service or not."
    """
    service = balance(world, {HERE: {}}, externalTrafficPolicy="Local")
    port = service["spec"]["healthCheckNodePort"]
    for index in (0, 1):
        assert world.health("outside", NODES["node-a"][index], port) == (200, 1)
        assert world.health("outside", NODES["node-b"][index], port) == (503, 0)
    world.endpoints("web", {HERE: SERVING})
    world.settle()
    assert world.health("outside", NODES["node-a"][0], port) == (503, 0)
    world.expect(node_port(service, "node-a"), {"outside": only(HERE, "the client")}, "TCP")
    cluster_wide = {"externalTrafficPolicy": "Cluster", "healthCheckNodePort": None}
    world.patch(SERVICES, "web", {"spec": cluster_wide})
    until(
        lambda: world.health("outside", NODES["node-a"][0], port) is None, 5, "the port is closed"
    )


def test_a_load_balancer_is_told_which_nodes_take_its_traffic(world: World) -> None:
    """externalTrafficPolicy Cluster: "all nodes are eligible load balancing targets as long as the
    node is not being deleted and kube-proxy is healthy … ${NODE_IP}:10256/healthz … will return
    either an HTTP code 200 or 503."
    """

    def told(node: str, path: str) -> list[int]:
        answers = (world.http("outside", address, 10256, path) for address in NODES[node])
        return [answer[0] for answer in answers if answer is not None]

    assert told("node-a", "/healthz") == told("node-b", "/healthz") == [200, 200]
    leaving = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
    world.patch(NODE_KIND, "node-a", {"spec": {"taints": [leaving]}})
    try:
        until(lambda: told("node-a", "/healthz") == [503, 503], 5, "node-a takes no more traffic")
        assert told("node-a", "/livez") == [200, 200]
        assert told("node-b", "/healthz") == [200, 200]
    finally:
        world.patch(NODE_KIND, "node-a", {"spec": {"taints": None}})
    until(lambda: told("node-a", "/healthz") == [200, 200], 5, "node-a takes traffic again")


def test_sctp_is_served_as_tcp_and_udp_are(world: World) -> None:
    """protocol: "The IP protocol for this port. Supports "TCP", "UDP", and "SCTP"." """
    ports = [{"name": "assoc", "port": 3868, "protocol": "SCTP"}]
    service = world.service("web", ports, type="NodePort")
    world.endpoints("web", {HERE: {}}, [("assoc", "SCTP", 7)])
    world.settle()
    numbers = itertools.count(40000)

    def met(client: str, places: list[tuple[str, int]]) -> set[str]:
        targets = (Target(*place, "SCTP") for place in places)
        return {sctp.ask(client, target, next(numbers)) for target in targets}

    with Associations(world).served_by([HERE, THERE]) as sctp:
        places = cluster(service, 3868)
        assert met("client-a", places) == met("client-b", places) == only(HERE, "the client")
        assert met("node-a", places) == only(HERE, "the client")
        assert met("outside", places) == only(HERE, "a node")
        assert met("outside", node_port(service, "node-b")) == only(HERE, "a node")
        assert met("client-a", cluster(service, 3869)) == {REFUSED}
        world.endpoints("web", {}, [("assoc", "SCTP", 7)])
        world.settle()
        for client in ("client-a", "node-a", "outside"):
            assert met(client, places) == {REFUSED}
        assert met("outside", node_port(service, "node-b")) == {REFUSED}
