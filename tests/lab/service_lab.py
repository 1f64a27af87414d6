"""Services in a lab, asked over real sockets by pods, nodes and the outside host.

A client here is a socket that this process makes inside the client's network namespace: an answer
takes a millisecond, and a UDP client can keep its source port.
"""

import asyncio
import contextlib
import errno
import json
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Self, TypeVar

import msgspec

from steppe.agent.ask import AskError, ask
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.client.errors import ApiError
from steppe.client.resources import ENDPOINTSLICES, PODS, SERVICES, Resource
from steppe_lab import netns
from steppe_lab.kubelet.sandbox import namespace_name
from tests.lab.conftest import ECHO, Lab
from tests.waiting import patience, until

Json = dict[str, Any]
T = TypeVar("T")
Outcomes = Collection[str]

NODES = {"node-a": ("192.0.2.11", "2001:db8:0:1::11"), "node-b": ("192.0.2.12", "2001:db8:0:1::12")}
OUTSIDE = ("198.51.100.10", "2001:db8:ffff::10")
VIPS = ("198.18.0.5", "2001:db8:f::5")
"""Addresses that no machine has, but Services may."""
_ROUTED = ("10.96.0.0/16", "fd00:10:96::/112", "198.18.0.0/24", "2001:db8:f::/64")
PORTS = ({"name": "tcp", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"})
REFUSED, SILENT = "refused", "silent"
_SILENCE_SECONDS = 0.4
# Less than a second, after which a lost SYN is sent again and the loss would not be seen.
_CONNECT_SECONDS = 0.9
# What is lost after that is not sent again, and a server on a busy machine takes its time.
_ANSWER_SECONDS = 5.0
_MOST_TRIES = 80


def pods() -> list[Json]:
    """A server and a client on each node; the number of a server's port `line` is its own."""
    client = {"name": "pause", "image": "pause"}
    return [
        pod(f"{role}-{node[-1]}", node, container)
        for node, line in zip(NODES, (8, 9), strict=True)
        for role, container in (("echo", server(line)), ("client", client))
    ]


def server(line: int) -> Json:
    """An echo container that tells who asked: TCP and UDP on port 7, TCP on its own as well."""
    return ECHO | {
        "args": ["--http", "8080", "--tcp", f"7,{line}", "--udp", "7"],
        "ports": [{"name": "line", "containerPort": line}],
    }


def pod(name: str, node: str, container: Json) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"role": name.partition("-")[0]}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


class Target(msgspec.Struct, frozen=True):
    """Where a client sends to."""

    address: str
    port: int
    protocol: str = "TCP"


class World:
    """The lab's Services, those who send to them, and what comes of it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._kubeconfig = lab.record()["kubeconfig"]
        self._passes = 0
        self.addresses: dict[str, tuple[str, ...]] = {**NODES, "outside": OUTSIDE}
        self.namespaces = {name: f"st-{lab.name}-{name}" for name in self.addresses}
        for pod in self.api(lambda client: client.list(PODS, "default"))[0]:
            name = pod["metadata"]["name"]
            self.addresses[name] = tuple(each["ip"] for each in pod["status"]["podIPs"])
            self.namespaces[name] = namespace_name(lab.name, pod["metadata"]["uid"])
        for prefix in _ROUTED:
            six = ":" in prefix
            for host, via in (
                ("outside", ("198.51.100.1", "2001:db8:ffff::1")[six]),
                ("fabric", NODES["node-a"][six]),
            ):
                run("ip", "-n", f"st-{lab.name}-{host}", "route", "replace", prefix, "via", via)
        for node in NODES:
            # The kernel limits ICMP errors to six at once and one a second to each receiver.
            for setting in ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"):
                run("ip", "netns", "exec", self.namespaces[node], "sysctl", "-qw", setting)

    # Objects

    def api(self, work: Callable[[Client], Awaitable[T]]) -> T:
        async def called() -> T:
            async with Client(load_config(self._kubeconfig), user_agent="tests") as client:
                return await work(client)

        return asyncio.run(called())

    def get(self, resource: Resource, name: str) -> Json:
        return self.api(lambda client: client.get(resource, name, "default"))

    def patch(self, resource: Resource, name: str, patch: Json, subresource: str = "") -> Json:
        return self.api(
            lambda client: client.patch(resource, name, patch, "default", subresource=subresource)
        )

    def delete(self, resource: Resource, name: str) -> None:
        with contextlib.suppress(ApiError):
            self.api(lambda client: client.delete(resource, name, "default"))

    def service(self, name: str, ports: Iterable[Json] = PORTS, **spec: Any) -> Json:
        """Make a Service of both families anew; it has endpoints only if `endpoints` says so."""
        self.delete(SERVICES, name)
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"ipFamilyPolicy": "RequireDualStack", "ports": [*ports], **spec},
        }
        return self.api(lambda client: client.create(SERVICES, body, "default"))

    def endpoints(
        self,
        service: str,
        known: Mapping[str, Json],
        ports: Iterable[tuple[str, str, int]] = (("tcp", "TCP", 7), ("udp", "UDP", 7)),
    ) -> None:
        """One slice a family: pods by name, and what is said of each ({}: it is ready)."""
        for index, family in enumerate(("IPv4", "IPv6")):
            name = f"{service}-{family.lower()}"
            body = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
                "addressType": family,
                "ports": [{"name": n, "protocol": p, "port": number} for n, p, number in ports],
                "endpoints": [
                    {
                        "addresses": [self.addresses[pod][index]],
                        "nodeName": f"node-{pod[-1]}",
                        "conditions": {"ready": True},
                        **said,
                    }
                    for pod, said in known.items()
                ],
            }
            self.api(
                lambda client, n=name, b=body: client.patch(
                    ENDPOINTSLICES, n, b, "default", kind="apply"
                )
            )

    def remove(self, service: str) -> None:
        self.delete(SERVICES, service)
        for family in ("ipv4", "ipv6"):
            self.delete(ENDPOINTSLICES, f"{service}-{family}")

    def settle(self, nodes: Iterable[str] = NODES) -> None:
        """Return once every agent has put into its kernel all that was written so far.

        Each watch is in order, so a mark that comes last on both is enough.
        """
        self._passes += 1
        mark = 1000 + self._passes
        ports = [{"name": "mark", "port": mark}]
        if self._passes == 1:
            self.service("mark", ports)
        else:
            self.patch(SERVICES, "mark", {"spec": {"ports": ports}})
        self.endpoints("mark", {"echo-a": {}}, [("mark", "TCP", mark)])
        for node in nodes:
            until(lambda n=node: self._has(n, mark), 15, f"{node} has mark {mark}")

    def _has(self, node: str, mark: int) -> bool:
        path, cause = self.lab.root / "nodes" / node / "agent.sock", "EndpointSlice/default/mark"
        try:
            rows = ask(path, "show/elements", {"cause": cause}).get("rows", ())
        except AskError:
            return False  # it is being started
        return len(rows) == 2 and all(
            f" {mark} " in row["key"] and str(mark) in row["value"] and row["state"] == "in kernel"
            for row in rows
        )

    def slices(self, service: str) -> list[Json]:
        """The endpoints that are called ready, of all slices of the Service."""
        selector = f"kubernetes.io/service-name={service}"
        found, _ = self.api(
            lambda client: client.list(ENDPOINTSLICES, "default", label_selector=selector)
        )
        return [
            endpoint
            for each in found
            for endpoint in each.get("endpoints") or ()
            if endpoint["conditions"]["ready"]
        ]

    # Packets

    def inside(self, client: str, work: Callable[[], T]) -> T:
        return netns.inside(self.namespaces[client], work)

    def open(
        self,
        client: str,
        target: Target,
        *,
        source_port: int = 0,
        seconds: float = _ANSWER_SECONDS,
    ) -> socket.socket:
        """A socket of the client's that is connected, or raises what connecting raises."""
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        kind = socket.SOCK_DGRAM if target.protocol == "UDP" else socket.SOCK_STREAM
        sock = self.inside(client, lambda: socket.socket(family, kind))
        try:
            sock.settimeout(patience(min(seconds, _CONNECT_SECONDS)))
            if source_port:
                sock.bind(("", source_port))
            sock.connect((target.address, target.port))
            sock.settimeout(patience(seconds))
        except OSError:
            sock.close()
            raise
        return sock

    def ask(self, client: str, target: Target, seconds: float = _ANSWER_SECONDS) -> str:
        """`POD sees the client|a node|ADDRESS`, refused, or silent."""
        try:
            with self.open(client, target, seconds=seconds) as sock:
                return self.talk(sock, client)
        except OSError as error:
            return _word(error)

    def talk(self, sock: socket.socket, client: str) -> str:
        """What the echo server at the other end says of the client."""
        try:
            if sock.type == socket.SOCK_DGRAM:
                # A process of the node itself has EPERM for a packet that its own kernel stopped;
                # whether that was said aloud, only the next call tells.
                with contextlib.suppress(PermissionError):
                    sock.send(b"?")
            told = json.loads(sock.recv(4096))
        except OSError as error:
            return _word(error)
        return f"{told['pod']} sees {self.who(told['peer'], client)}"

    def who(self, peer: str, client: str) -> str:
        """Whose address an endpoint has seen, when this client has asked."""
        if peer in self.addresses[client]:
            return "the client"
        return "a node" if any(peer in addresses for addresses in NODES.values()) else peer

    def outcomes(self, client: str, target: Target, wanted: Outcomes) -> set[str]:
        """All that happened, in as many tries as it takes to see all that is wanted, and more."""
        seen: set[str] = set()
        least = 1 if {REFUSED, SILENT} & set(wanted) else 6
        seconds = _SILENCE_SECONDS if SILENT in wanted else _ANSWER_SECONDS
        for tries in range(_MOST_TRIES):
            seen.add(self.ask(client, target, seconds))
            if tries + 1 >= least and (seen >= set(wanted) or seen - set(wanted)):
                break
        return seen

    def expect(
        self, places: Iterable[tuple[str, int]], wanted: Mapping[str, Outcomes], *protocols: str
    ) -> None:
        """At each address and port, by each protocol, each client meets just these outcomes."""
        wrong = {}
        for address, port in places:
            for protocol in protocols or ("TCP", "UDP"):
                for client, outcomes in wanted.items():
                    got = self.outcomes(client, Target(address, port, protocol), outcomes)
                    if got != set(outcomes):
                        wrong[client, protocol, address, port] = got
        assert wrong == {}, f"not as wanted: {wrong}"

    def health(self, client: str, address: str, port: int) -> tuple[int, int] | None:
        """Status and number of endpoints of a health check port; None if nobody listens."""
        answer = self.http(client, address, port)
        return (answer[0], answer[1]["localEndpoints"]) if answer is not None else None

    def http(
        self, client: str, address: str, port: int, path: str = "/"
    ) -> tuple[int, Json] | None:
        """Status and JSON of an answer; None if nobody listens, or has no such page."""
        asked = f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
        try:
            with self.open(client, Target(address, port)) as sock:
                sock.sendall(asked.encode())
                answer = b"".join(iter(lambda: sock.recv(4096), b""))
                if answer.startswith(b"HTTP/1.1 404"):
                    return None
        except (ConnectionRefusedError, ConnectionResetError):
            return None
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


class Load:
    """HTTP requests at a steady rate, each on a connection of its own, while the context lasts.

    `place` says for each request where to send it; `done` counts, `failures` tells.
    """

    def __init__(
        self, world: World, client: str, place: Callable[[], tuple[str, int]], rate: float
    ) -> None:
        self.done = 0
        self.failures: list[str] = []
        self.slowest = 0.0
        self._world = world
        self._client = client
        self._place = place
        self._pause = 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        netns.enter(self._world.namespaces[self._client])
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic() - 1)
            began = time.monotonic()
            try:
                self._request()
            except (OSError, ValueError) as error:
                self.failures.append(f"{time.time():.2f} {self._place()}: {error!r}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.done += 1

    def _request(self) -> None:
        with socket.create_connection(self._place(), timeout=patience(5)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(4096), b""))
        if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"}\n"):
            raise ValueError(f"not a whole answer: {answer!r}")


def cluster(service: Json, port: int = 80) -> list[tuple[str, int]]:
    """A Service's cluster IPs."""
    return [(address, port) for address in service["spec"]["clusterIPs"]]


def node_port(service: Json, node: str, index: int = 0) -> list[tuple[str, int]]:
    """A Service's node port at a node's addresses."""
    return [(address, service["spec"]["ports"][index]["nodePort"]) for address in NODES[node]]


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=patience(60))
    assert done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
    return done.stdout


def _word(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return SILENT
    if error.errno == errno.ECONNREFUSED:
        return REFUSED
    return errno.errorcode.get(error.errno or 0, str(error))
