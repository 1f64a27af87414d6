"""The operator's settings of the pod network, the same on every node."""

from typing import Literal

import msgspec

from steppe.net.address import IPNetwork, parse_prefix

SETTINGS_ANNOTATION = "steppe.dev/settings"
"""The annotation of a Node in which its agent publishes its settings (JSON), for offline tools."""

NodePortAddresses = tuple[IPNetwork, ...] | Literal["primary"]
"""Which of a node's addresses node ports are served on: `()` is all of them."""
ExternalIPs = Literal["allow", "warn", "deny"]
"""What becomes of Services' externalIPs: served, served with a Problem, or not served."""


def parse_prefixes(text: str) -> tuple[IPNetwork, ...]:
    """Prefixes with commas between them; ValueError says what is wrong."""
    try:
        return tuple(parse_prefix(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"{error}; give prefixes such as 192.0.2.0/24,2001:db8::/32") from error


class Settings(msgspec.Struct, frozen=True):
    """`fabric`: one that fabric/registry.py lists.

    `fabric_options`: options of single fabrics that differ from their defaults, sorted by
    name.

    `masquerade`: whether traffic that leaves the cluster takes the node's address.

    `services`: whether Steppe implements Services; if not, it leaves them to another proxy.

    `policies`: whether NetworkPolicies are enforced.

    `data_plane`: what implements Services, a name in dataplane/registry.py. It is not published,
    because there is only one so far.

    `node_port_addresses`: as kube-proxy's flag says it, "If set to a list of CIDRs, connections to
    NodePort services will only be accepted on node IPs in one of the indicated ranges. If set to
    'primary', NodePort services will only be accepted on the node's primary IPv4 and/or IPv6
    address according to the Node object."

    `pod_ranges`: the prefixes that all pods' addresses lie in; `()` where nobody has said. A Node's
    podCIDR outside of them is not used.

    `external_ips`: whether Services may have externalIPs (CVE-2020-8554).
    """

    fabric: str = "auto"
    fabric_options: tuple[tuple[str, int], ...] = ()
    masquerade: bool = True
    services: bool = True
    policies: bool = True
    data_plane: str = "nftables"
    node_port_addresses: NodePortAddresses = ()
    pod_ranges: tuple[IPNetwork, ...] = ()
    external_ips: ExternalIPs = "warn"


class _Wire(msgspec.Struct, rename="camel"):
    fabric: str
    masquerade: bool
    services: bool
    policies: bool
    node_port_addresses: tuple[str, ...] | Literal["primary"]
    fabric_options: dict[str, int] = {}
    pod_ranges: tuple[str, ...] = ()
    external_ips: ExternalIPs = "warn"


def settings_annotation(settings: Settings) -> str:
    """The annotation's text for these settings; `settings_from` reads it back."""
    given = settings.node_port_addresses
    fields = msgspec.structs.asdict(settings)
    fields["node_port_addresses"] = given if given == "primary" else tuple(map(str, given))
    fields["fabric_options"] = dict(settings.fabric_options)
    fields["pod_ranges"] = tuple(map(str, settings.pod_ranges))
    del fields["data_plane"]
    return msgspec.json.encode(_Wire(**fields)).decode()


def settings_from(text: str) -> Settings:
    """The settings in an annotation; ValueError if an agent did not write it."""
    fields = msgspec.structs.asdict(msgspec.json.decode(text, type=_Wire))
    given = fields["node_port_addresses"]
    fields["node_port_addresses"] = given if given == "primary" else tuple(map(parse_prefix, given))
    fields["fabric_options"] = tuple(sorted(fields["fabric_options"].items()))
    fields["pod_ranges"] = tuple(map(parse_prefix, fields["pod_ranges"]))
    return Settings(**fields)
