"""Rules in CEL (x-kubernetes-validations), known by their text: nothing here evaluates CEL.

A definition with other rules is stored, as Kubernetes would store it, and its author is warned
which of them this server does not enforce.
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from steppe.admission.model import Json
from steppe.admission.validate.fields import Errors, cidr


def _names_ports_of_addresses(egress_rule: Json) -> bool:
    nameless = ("networks", "nodes", "domainNames")
    by_address = any(name in peer for peer in egress_rule["to"] for name in nameless)
    named = any("destinationNamedPort" in item for item in egress_rule.get("protocols", ()))
    return by_address and named


def _is_cidr(text: str) -> bool:
    """Kubernetes' isCIDR, by Go's netip: it allows no zone and no IPv4-mapped IPv6 address."""
    prefix = cidr(text)
    if isinstance(prefix, ipaddress.IPv6Network):
        return prefix.network_address.ipv4_mapped is None
    return prefix is not None


def _is_canonical_cidr(text: str) -> bool:
    """Whether no bit is set beyond the prefix length, either."""
    prefix, address = cidr(text), text.partition("/")[0]
    return (
        _is_cidr(text)
        and prefix is not None
        and prefix.network_address == ipaddress.ip_address(address)
    )


_KNOWN: Mapping[str, Callable[[Any], bool]] = {
    # All those of ClusterNetworkPolicy, kube/crds/clusternetworkpolicies.yaml.
    "self.start < self.end": lambda ports: ports["start"] < ports["end"],
    "isCIDR(self)": _is_cidr,
    "isCIDR(self) && cidr(self) == cidr(self).masked()": _is_canonical_cidr,
    "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes) || has(peer.domainNames)) && "
    "has(self.protocols) && "
    "self.protocols.exists(protocol, has(protocol.destinationNamedPort)))": (
        lambda rule: not _names_ports_of_addresses(rule)
    ),
}


def _known(rule: str) -> Callable[[Any], bool] | None:
    # White space means nothing between the tokens of an expression, and YAML folds lines.
    return _KNOWN.get(" ".join(rule.split()))


def broken(errors: Errors, schema: Json, value: Any, where: str) -> None:
    """Put a value that fits its schema to the schema's own rules."""
    for item in schema.get("x-kubernetes-validations", ()):
        holds = _known(item["rule"])
        if holds is not None and not holds(value):
            detail = item.get("message") or f"failed rule: {item['rule'].strip()}"
            errors.invalid(where, schema.get("type", ""), detail)


def not_enforced(schema: Json, at: str) -> list[str]:
    """A warning for each rule of a schema, at any depth, that nobody here can judge."""
    found = [
        f"{at}.x-kubernetes-validations[{index}].rule: not enforced by this server: {item['rule']}"
        for index, item in enumerate(schema.get("x-kubernetes-validations", ()))
        if _known(item["rule"]) is None
    ]
    for name, child in schema.get("properties", {}).items():
        found += not_enforced(child, f"{at}.properties[{name}]")
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), dict):
            found += not_enforced(schema[field], f"{at}.{field}")
    return found
