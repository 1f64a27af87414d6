"""`netcases/1` files: their shape, checked, and what they cover.

What a file says and this module does not understand is an error, never passed over.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal

import msgspec

Protocol = Literal["TCP", "UDP", "SCTP"]
Pair = tuple[str, str]
SCHEMA = "netcases/1"
OTHER_RUNNERS = {"svcflows/1": "tests.conformance.service_flows"}


class NotUnderstood(Exception):  # noqa: N818 - it says what is the matter better than "Error"
    """The file asks for something that this runner does not know."""


class _Strict(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    pass


class Port(_Strict, frozen=True):
    port: int
    protocol: Protocol
    name: str | None = None


class Namespace(_Strict, frozen=True):
    name: str
    labels: dict[str, str]


class Pod(_Strict, frozen=True):
    namespace: str
    name: str
    labels: dict[str, str]
    node: str
    ips: list[str]
    ports: list[Port]
    host_network: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


class Node(_Strict, frozen=True):
    name: str
    labels: dict[str, str]
    ips: list[str]


class External(_Strict, frozen=True):
    name: str
    ips: list[str]
    ports: list[Port]


class Setup(_Strict, frozen=True):
    namespaces: list[Namespace]
    pods: list[Pod]
    nodes: list[Node]
    externals: list[External] = []


class Apply(_Strict, frozen=True, tag_field="op", tag="apply"):
    manifest: dict[str, Any]
    manifest_template: dict[str, Any] | None = None


class Delete(_Strict, frozen=True, tag_field="op", tag="delete"):
    kind: Literal["NetworkPolicy", "ClusterNetworkPolicy"]
    name: str
    namespace: str | None = None


class SetNamespaceLabels(_Strict, frozen=True, tag_field="op", tag="set-namespace-labels"):
    namespace: str
    labels: dict[str, str]


class SetPodLabels(_Strict, frozen=True, tag_field="op", tag="set-pod-labels"):
    namespace: str
    name: str
    labels: dict[str, str]


class CreateNamespace(_Strict, frozen=True, tag_field="op", tag="create-namespace"):
    namespace: str
    labels: dict[str, str]


class DeleteNamespace(_Strict, frozen=True, tag_field="op", tag="delete-namespace"):
    namespace: str


class CreatePod(_Strict, frozen=True, tag_field="op", tag="create-pod"):
    pod: Pod


class DeletePod(_Strict, frozen=True, tag_field="op", tag="delete-pod"):
    namespace: str
    name: str


Action = (
    Apply
    | Delete
    | SetNamespaceLabels
    | SetPodLabels
    | CreateNamespace
    | DeleteNamespace
    | CreatePod
    | DeletePod
)


class Expectation(_Strict, frozen=True):
    """Form 1: `default` and the exceptions to it. Form 2: `pairs`, and only those."""

    default: Literal["allow", "deny"] | None = None
    allow: list[Pair] | None = None
    deny: list[Pair] | None = None
    pairs: list[tuple[str, str, bool]] | None = None

    def __post_init__(self) -> None:
        exceptions = {"allow": self.deny, "deny": self.allow}
        if self.pairs is not None:
            sound = (self.default, self.allow, self.deny) == (None, None, None)
        else:
            sound = self.default is not None and exceptions[self.default] is not None
            sound = sound and (self.allow is None or self.deny is None)
        if not sound:
            raise ValueError("expect is neither a default with its exceptions nor pairs alone")


class Probe(_Strict, frozen=True):
    protocol: Protocol
    family: Literal["IPv4", "IPv6", "any"]
    expect: Expectation
    count: int
    port: int | None = None
    port_name: str | None = None

    def __post_init__(self) -> None:
        if (self.port is None) == (self.port_name is None):
            raise ValueError("a probe has either port or portName")

    @property
    def versions(self) -> tuple[int, ...]:
        return {"IPv4": (4,), "IPv6": (6,), "any": (4, 6)}[self.family]


class Step(_Strict, frozen=True):
    actions: list[Action]
    probes: list[Probe]
    note: str | None = None


class Case(_Strict, frozen=True):
    """Steps that change a cluster, and who may reach whom after each."""

    id: str
    suite: str
    title: str
    description: str
    tags: list[str]
    source: str
    via_service: bool
    deny_mode: Literal["any", "drop"]
    requires_fixed_ips: bool = msgspec.field(name="requiresFixedIPs")
    setup: Setup
    steps: list[Step]
    api_server_rejects: bool = False


class ValidationCase(_Strict, frozen=True):
    """An object that an API server takes or refuses."""

    id: str
    suite: str
    source: str
    description: str
    manifest: dict[str, Any]
    expect: Literal["accept", "reject"]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal["netcases/1"]
    cases: list[msgspec.Raw]


def read_folder(folder: Path) -> Iterator[Case | ValidationCase]:
    """All cases of a folder's files, in order."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise NotUnderstood(f"{folder}: no *.json files there")
    for file in files:
        try:
            yield from _read(file)
        except (OSError, msgspec.MsgspecError) as error:
            raise NotUnderstood(f"{file.name}: {error}") from error


def _read(file: Path) -> Iterator[Case | ValidationCase]:
    text = file.read_bytes()
    head = msgspec.json.decode(text)
    if isinstance(head, dict) and head.get("schema") in OTHER_RUNNERS:
        return
    for raw in msgspec.json.decode(text, type=_File).cases:
        shape = msgspec.json.decode(raw)
        type_ = Case if isinstance(shape, dict) and "steps" in shape else ValidationCase
        try:
            yield msgspec.json.decode(raw, type=type_)
        except msgspec.ValidationError as error:
            name = shape.get("id", "?") if isinstance(shape, dict) else "?"
            raise NotUnderstood(f"{file.name}: case {name}: {error}") from error


_TEMPLATE = re.compile(r"\$\{cidr([46]) ([^ ]+) ([0-9]+)\}")


def rendered(template: Any, addresses: dict[str, list[str]]) -> Any:
    """The template with each `${cidr4 ns/pod len}` replaced by the network it stands for."""

    def network(found: re.Match[str]) -> str:
        version, pod, length = int(found[1]), found[2], found[3]
        for address in addresses.get(pod, ()):
            if ip_address(address).version == version:
                return str(ip_network(f"{address}/{length}", strict=False))
        raise NotUnderstood(f"{found[0]}: {pod} has no IPv{version} address")

    if isinstance(template, dict):
        return {key: rendered(value, addresses) for key, value in template.items()}
    if isinstance(template, list):
        return [rendered(value, addresses) for value in template]
    if not isinstance(template, str):
        return template
    text = _TEMPLATE.sub(network, template)
    if "${" in text:
        raise NotUnderstood(f"template {template!r}")
    return text
