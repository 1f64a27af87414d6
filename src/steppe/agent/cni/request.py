"""Reads a request of the runtime from the plugin's document; pure.

The plugin has checked environment and configuration. They are checked here again, by the same
functions: the agent does not trust its clients.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from steppe.cni.plugin import (
    BAD_ENVIRONMENT,
    DECODING_FAILURE,
    VALID_ATTACHMENTS,
    CniError,
    check_config,
    check_environment,
    check_version,
)
from steppe.kube.objects import NO_POD, Workload
from steppe.net.address import IPAddress
from steppe.state.workload import link_name

# RFC 1123 names, as in the API; such names cannot be misread in an alias.
_POD_PART = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_OWNER_LENGTH = 24


class Previous(msgspec.Struct, frozen=True):
    """A prevResult that came with the request, in the format of any CNI version."""

    interfaces: tuple[dict[str, Any], ...] = ()
    ips: tuple[dict[str, Any], ...] = ()
    routes: tuple[dict[str, Any], ...] = ()
    dns: dict[str, Any] = {}


class Request(msgspec.Struct, frozen=True):
    """One verb for one attachment. GC and STATUS name no attachment; `valid` is GC's list."""

    command: str
    version: str
    container: str = ""
    netns: str = ""
    interface: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    host_allowed: bool = False
    dns: dict[str, Any] = {}
    previous: Previous | None = None
    valid: frozenset[str] | None = None

    @property
    def link(self) -> str:
        """The host-side link's name: from the pod's UID if known, else from the container ID."""
        return link_name(self.uid or self.container, self.interface)

    @property
    def owner(self) -> str:
        """The word in the link's alias that names container and interface."""
        return owner_word(self.container, self.interface)

    @property
    def pod(self) -> str:
        return f"{self.namespace}/{self.name}" if self.name else ""

    def workload(self, node: str, addresses: tuple[IPAddress, ...]) -> Workload:
        namespace, name = self.namespace, self.name
        if not name:
            namespace, name = NO_POD, self.container
        return Workload(self.link, namespace, name, node, addresses, self.owner)


def owner_word(container: str, interface: str) -> str:
    """`container/interface`; a long container ID is cut and gets a hash to stay unique."""
    if len(container) > _OWNER_LENGTH:
        digest = sha256(container.encode()).hexdigest()
        container = f"{container[:12]}~{digest[: _OWNER_LENGTH - 13]}"
    return f"{container}/{interface}"


def request_from(document: Mapping[str, Any]) -> Request:
    """The request; CniError with one of CNI's codes if it cannot be served."""
    env, config = document.get("env"), document.get("config")
    if not isinstance(env, dict) or not isinstance(config, dict):
        raise CniError(DECODING_FAILURE, "the request holds no env and config objects")
    if not all(isinstance(value, str) for value in env.values()):
        raise CniError(BAD_ENVIRONMENT, "an environment variable is not text")
    command = check_environment(env)
    check_version(config, command)
    check_config(config, command)
    args = _args(env.get("CNI_ARGS", ""))
    return Request(
        command=command,
        version=config["cniVersion"],
        container=env.get("CNI_CONTAINERID", ""),
        netns=env.get("CNI_NETNS", ""),
        interface=env.get("CNI_IFNAME", ""),
        namespace=args["K8S_POD_NAMESPACE"] if args["K8S_POD_NAME"] else "",
        name=args["K8S_POD_NAME"],
        uid=args["K8S_POD_UID"],
        host_allowed=env.get("CNI_NETNS_OVERRIDE", "").lower() in ("1", "true"),
        dns=_object(config.get("dns")),
        # DEL does not need prevResult: if it cannot be read, the pod must still be detached.
        previous=_previous(config.get("prevResult")) if command in ("ADD", "CHECK") else None,
        valid=_valid(config.get(VALID_ATTACHMENTS)) if command == "GC" else None,
    )


def _args(text: str) -> dict[str, str]:
    """The arguments that we use; "" if one is not given.

    Unknown arguments are ignored, with or without IgnoreUnknown: an error could keep a pod from
    being detached.
    """
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    if not all(equals for _, equals, _ in pairs):
        raise CniError(BAD_ENVIRONMENT, "CNI_ARGS must have the form KEY=VALUE;KEY=VALUE")
    given = {key: value for key, _, value in pairs}
    args = {key: given.get(key, "") for key in ("K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID")}
    parts = (args["K8S_POD_NAMESPACE"], args["K8S_POD_NAME"]) if args["K8S_POD_NAME"] else ()
    for part in parts:
        if _POD_PART.fullmatch(part) is None:
            raise CniError(
                BAD_ENVIRONMENT,
                f"CNI_ARGS: {part!r} is no pod's name or namespace",
                "K8S_POD_NAMESPACE and K8S_POD_NAME must be as the API has them",
            )
    return args


def _previous(given: dict[str, Any] | None) -> Previous | None:
    if given is None:
        return None
    # Go writes an empty list as null.
    said = {key: value for key, value in given.items() if value is not None}
    try:
        return msgspec.convert(said, Previous)
    except msgspec.ValidationError as error:
        raise CniError(DECODING_FAILURE, f"prevResult cannot be read: {error}") from error


def _valid(given: list[dict[str, str]] | None) -> frozenset[str] | None:
    if given is None:
        return None
    return frozenset(owner_word(entry["containerID"], entry["ifname"]) for entry in given)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
