"""NetworkPolicies in a lab, asked over real sockets: who gets through, a test a promise.

Each question goes over TCP and UDP and both families. A packet that policy stops is not answered.
"""

import itertools
import json
import socket
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from steppe.client.resources import NAMESPACES, NETWORKPOLICIES, PODS, SERVICES
from steppe.cni.plugin import TRY_AGAIN
from steppe_lab.kubelet.sandbox import namespace_name
from tests.lab.conftest import make_labs
from tests.lab.service_lab import NODES, SILENT, Json, Target, World, pod, pods, run
from tests.lab.test_promises import call_cni
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

CLIENTS = ("client-a", "client-b", "stranger-b", "node-a", "node-b")
ECHO = {"role": "echo"}
CLIENT = {"podSelector": {"matchLabels": {"role": "client"}}}
_SECONDS = 0.3


class Policies:
    """The lab's policies, and who gets through to whom under them."""

    def __init__(self, world: World) -> None:
        self.world = world
        other = {"metadata": {"name": "other", "labels": {"team": "green"}}}
        world.api(lambda client: client.create(NAMESPACES, other))
        stranger = pod("stranger-b", "node-b", {"name": "pause", "image": "pause"})
        world.api(lambda client: client.create(PODS, stranger, "other"))
        until(self._stranger, 30, "the pod in the other namespace has its addresses")

    def _stranger(self) -> bool:
        found = self.world.api(lambda client: client.get(PODS, "stranger-b", "other"))
        self.world.addresses["stranger-b"] = tuple(
            each["ip"] for each in found.get("status", {}).get("podIPs", ())
        )
        self.world.namespaces["stranger-b"] = namespace_name(
            self.world.lab.name, found["metadata"]["uid"]
        )
        return bool(self.world.addresses["stranger-b"])

    def apply(self, name: str = "p", **spec: Any) -> None:
        body = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.world.delete(NETWORKPOLICIES, name)
        self.world.api(lambda client: client.create(NETWORKPOLICIES, body, "default"))

    def label(self, team: str) -> None:
        body = {"metadata": {"labels": {"team": team}}}
        self.world.api(lambda client: client.patch(NAMESPACES, "other", body))

    def through(
        self, to: str | tuple[str, ...], protocol: str = "TCP", port: int = 7
    ) -> dict[int, set[str]]:
        """The clients that get an answer, by the family they ask in."""
        addresses = self.world.addresses[to] if isinstance(to, str) else to
        clients = [client for client in CLIENTS if client != to]
        pairs = list(itertools.product(addresses, clients))
        # At once: each one that is silent takes its time to be so.
        with ThreadPoolExecutor(len(pairs)) as threads:
            answers = threads.map(
                lambda pair: self._gets(pair[1], Target(pair[0], port, protocol)), pairs
            )
            through = {pair for pair, answer in zip(pairs, answers, strict=True) if answer}
        return {
            6 if ":" in address else 4: {
                client for client in clients if (address, client) in through
            }
            for address in addresses
        }

    def _gets(self, client: str, target: Target) -> bool:
        """Whether an answer comes, be it a refusal: somebody was asked."""
        if target.protocol == "UDP":
            return self.world.ask(client, target, _SECONDS) != SILENT
        try:
            self.world.open(client, target, seconds=_SECONDS).close()
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            pass
        return True

    def expect(
        self,
        to: str | tuple[str, ...],
        allowed: Collection[str],
        protocols: tuple[str, ...] = ("TCP", "UDP"),
        port: int = 7,
    ) -> None:
        """Soon, just these clients get through, in both families."""
        wanted = {4: set(allowed), 6: set(allowed)}
        for protocol in protocols:
            got: list[dict[int, set[str]]] = []

            def as_wanted(protocol: str = protocol) -> bool:
                got.append(self.through(to, protocol, port))  # noqa: B023 - used in this round only
                return got[-1] == wanted  # noqa: B023 - used in this round only

            try:
                until(as_wanted, 15, "")
            except AssertionError:
                pytest.fail(f"{protocol} {port} to {to}: {sorted(allowed)} wanted, got {got[-1]}")


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory, _no_stale_labs: None) -> Iterator[Policies]:
    with make_labs(tmp_path_factory.mktemp("policies")) as make:
        yield Policies(World(make("policy", "--nodes", "2", pods=pods())))


@pytest.fixture(autouse=True)
def _clean(policies: Policies) -> Iterator[None]:
    yield
    for name in ("p", "q"):
        policies.world.delete(NETWORKPOLICIES, name)
    policies.label("green")


def block(policies: Policies, name: str) -> list[Json]:
    return [
        {"ipBlock": {"cidr": f"{address}/{128 if ':' in address else 32}"}}
        for address in policies.world.addresses[name]
    ]


def test_without_a_policy_everybody_gets_through(policies: Policies) -> None:
    policies.expect("echo-a", CLIENTS)


def test_an_isolated_pod_is_reached_by_its_own_node_alone(policies: Policies) -> None:
    """ingress: "Traffic is allowed to a pod if … the traffic source is the pod's local node"."""
    policies.apply(podSelector={"matchLabels": ECHO})
    policies.expect("echo-a", {"node-a"})
    policies.expect("echo-b", {"node-b"})
    policies.world.delete(NETWORKPOLICIES, "p")
    policies.expect("echo-a", CLIENTS)


def test_peers_are_chosen_by_their_labels_as_these_change(policies: Policies) -> None:
    """podSelector: "This is a label selector which selects pods."."""
    policies.apply(podSelector={"matchLabels": ECHO}, ingress=[{"from": [CLIENT]}])
    policies.expect("echo-a", {"node-a", "client-a", "client-b"})
    patch: Json = {"metadata": {"labels": {"role": "guest"}}}
    policies.world.patch(PODS, "client-b", patch)
    policies.expect("echo-a", {"node-a", "client-a"})
    patch = {"metadata": {"labels": {"role": "client"}}}
    policies.world.patch(PODS, "client-b", patch)
    policies.expect("echo-a", {"node-a", "client-a", "client-b"})


def test_peers_are_chosen_by_their_namespace(policies: Policies) -> None:
    """namespaceSelector: "selects namespaces using cluster-scoped labels"."""
    green = {"namespaceSelector": {"matchLabels": {"team": "green"}}}
    policies.apply(podSelector={"matchLabels": ECHO}, ingress=[{"from": [green]}])
    policies.expect("echo-a", {"node-a", "stranger-b"})
    policies.label("red")
    policies.expect("echo-a", {"node-a"})


def test_ports_are_let_through_by_protocol_number_range_and_name(policies: Policies) -> None:
    """ports: "If this field is present and contains at least one item, then this rule allows
    traffic only if the traffic matches at least one port in the list."."""
    policies.apply(podSelector={"matchLabels": ECHO}, ingress=[{"ports": [{"port": 7}]}])
    policies.expect("echo-a", CLIENTS, ("TCP",))
    policies.expect("echo-a", {"node-a"}, ("UDP",))
    policies.expect("echo-a", {"node-a"}, ("TCP",), 8080)
    ports: list[Json] = [{"port": 8000, "endPort": 8100}, {"port": "line"}]
    policies.apply(podSelector={"matchLabels": ECHO}, ingress=[{"ports": ports}])
    policies.expect("echo-a", CLIENTS, ("TCP",), 8080)
    policies.expect("echo-a", CLIENTS, ("TCP",), 8)
    policies.expect("echo-b", CLIENTS, ("TCP",), 9)
    policies.expect("echo-a", {"node-a"}, ("TCP",), 7)


def test_an_ip_block_lets_its_addresses_in_and_not_the_excepted(policies: Policies) -> None:
    """ipBlock: "except is a slice of CIDRs that should not be included within an IPBlock"."""
    excepted = [peer["ipBlock"]["cidr"] for peer in block(policies, "client-b")]
    everybody = [
        {"ipBlock": {"cidr": whole, "except": [but]}}
        for whole, but in zip(("0.0.0.0/0", "::/0"), sorted(excepted, key=len), strict=True)
    ]
    policies.apply(podSelector={"matchLabels": ECHO}, ingress=[{"from": everybody}])
    policies.expect("echo-a", set(CLIENTS) - {"client-b"})
    policies.apply(
        podSelector={"matchLabels": ECHO}, ingress=[{"from": block(policies, "client-b")}]
    )
    policies.expect("echo-a", {"node-a", "client-b"})


def test_egress_is_isolated_at_the_senders_node(policies: Policies) -> None:
    """policyTypes: a policy of Egress alone does not isolate for ingress."""
    policies.apply(podSelector=CLIENT["podSelector"], policyTypes=["Egress"])
    policies.expect("echo-a", {"stranger-b", "node-a", "node-b"})
    policies.expect("echo-b", {"stranger-b", "node-a", "node-b"})
    policies.apply(
        podSelector=CLIENT["podSelector"],
        policyTypes=["Egress"],
        egress=[{"to": block(policies, "echo-a"), "ports": [{"port": 7, "protocol": "UDP"}]}],
    )
    policies.expect("echo-a", CLIENTS, ("UDP",))
    policies.expect("echo-a", {"stranger-b", "node-a", "node-b"}, ("TCP",))


def test_a_pod_isolated_for_egress_does_not_even_reach_its_own_node(policies: Policies) -> None:
    """The text excepts the local node for ingress only; a refusal would show that it was asked."""
    policies.apply(podSelector=CLIENT["podSelector"], policyTypes=["Egress"])
    policies.expect(NODES["node-a"], {"stranger-b", "node-a", "node-b"}, ("TCP",))


def test_both_ends_have_to_allow_a_connection(policies: Policies) -> None:
    """ "both the egress policy on the source pod and the ingress policy on the destination pod
    need to allow the connection" (Network Policies)."""
    policies.apply(podSelector={"matchLabels": ECHO}, ingress=[{"from": [CLIENT]}])
    policies.apply("q", podSelector={}, policyTypes=["Egress"])
    policies.expect("echo-a", {"node-a"})
    policies.apply("q", podSelector={}, policyTypes=["Egress"], egress=[{"ports": [{"port": 7}]}])
    policies.expect("echo-a", {"node-a", "client-a", "client-b"}, ("TCP",))
    policies.expect("echo-a", {"node-a"}, ("UDP",))


def test_policy_sees_the_pod_behind_a_service(policies: Policies) -> None:
    """Rules name pods and their ports, whatever address and port a client has dialled."""
    world = policies.world
    world.service("web", selector=ECHO, ports=[{"port": 80, "targetPort": 7}])
    service = world.get(SERVICES, "web")["spec"]["clusterIPs"]
    to = {"to": [{"podSelector": {"matchLabels": ECHO}}], "ports": [{"port": 7}]}
    policies.apply(podSelector=CLIENT["podSelector"], policyTypes=["Egress"], egress=[to])
    policies.expect(tuple(service), CLIENTS, ("TCP",), 80)
    policies.apply(podSelector={"matchLabels": ECHO}, ingress=[{"ports": [{"port": 80}]}])
    policies.expect("echo-a", {"node-a"}, ("TCP",))
    world.remove("web")


def test_a_connection_goes_on_whose_reply_no_rule_names(policies: Policies) -> None:
    """ "the reply traffic for those allowed connections will also be implicitly allowed"."""
    policies.apply(podSelector={}, ingress=[{"from": [CLIENT]}], policyTypes=["Ingress"])
    policies.apply("q", podSelector={"matchLabels": ECHO}, policyTypes=["Egress"])
    policies.expect("echo-b", {"node-b", "client-a", "client-b"})


def echoes(connection: socket.socket) -> bool:
    connection.settimeout(_SECONDS)
    try:
        connection.sendall(b"?")
        return connection.recv(1024) != b""
    except OSError:
        return False


def test_a_connection_that_a_policy_forbids_ends_and_the_one_beside_it_lives(
    policies: Policies,
) -> None:
    for address in policies.world.addresses["echo-a"]:
        target = Target(address, 7, "TCP")
        with (
            policies.world.open("client-a", target, seconds=5) as one,
            policies.world.open("client-b", target, seconds=5) as other,
        ):
            assert echoes(one)
            assert echoes(other)
            policies.apply(
                podSelector={"matchLabels": ECHO}, ingress=[{"from": block(policies, "client-b")}]
            )
            until(lambda one=one: not echoes(one), 15, "the forbidden connection ends")
            until(lambda other=other: echoes(other), 5, "the other one goes on")
        policies.world.delete(NETWORKPOLICIES, "p")
        policies.expect("echo-a", CLIENTS, ("TCP",))


def test_a_pod_the_api_has_not_told_of_starts_only_where_no_policy_may_select_it(
    policies: Policies,
) -> None:
    """A namespace without policies has none for the pod; else its labels would have to be known."""
    lab = policies.world.lab
    state = lab.root / "nodes" / "node-a"
    netns = f"st-{lab.name}-pod-00000000"
    run("ip", "netns", "add", netns)
    try:
        assert call_cni(lab, state, "ADD", netns).returncode == 0
        assert call_cni(lab, state, "DEL", netns).returncode == 0
        policies.apply(podSelector={"matchLabels": ECHO})
        policies.expect("echo-a", {"node-a"}, ("TCP",))
        refused = call_cni(lab, state, "ADD", netns)
        assert json.loads(refused.stdout)["code"] == TRY_AGAIN
    finally:
        run("ip", "netns", "del", netns)


def test_explain_says_of_tables_and_kernels_what_the_packets_do(policies: Policies) -> None:
    policies.apply(
        podSelector={"matchLabels": ECHO},
        ingress=[{"from": [CLIENT], "ports": [{"port": 7}]}],
    )
    allowed = {"client-a", "client-b", "node-a"}
    policies.expect("echo-a", allowed, ("TCP",))
    for client in CLIENTS:
        space = "other" if client == "stranger-b" else "default"
        source = f"node/{client}" if client.startswith("node-") else f"{space}/{client}"
        for actual in ((), ("--actual",)):
            words = (source, "default/echo-a", "--port", "7", "-o", "json")
            done = policies.world.lab.command("explain", *words, *actual)
            assert done.returncode == (0 if client in allowed else 1), done.stdout + done.stderr
            found = json.loads(done.stdout)
            assert found["basis"] == ("kernels" if actual else "tables")
            assert {case["verdict"] for case in found["cases"]} == {found["verdict"]}
            assert found["conflicts"] == found["differences"] == []
