"""NetworkPolicy, EndpointSlice, Endpoints, Ingress, IPAddress and ServiceCIDR."""

from typing import Any

from steppe.admission.model import Json
from steppe.admission.validate.fields import (
    Errors,
    address,
    is_label,
    is_port_name,
    is_subdomain,
    network,
    port,
)
from steppe.admission.validate.meta import selector
from steppe.net.address import IPAddress, holds, parse_address

PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_PORTS = 1000, 100, 20000


def network_policy(errors: Errors, obj: Json) -> None:
    spec = obj["spec"]
    selector(errors, "spec.podSelector", spec.get("podSelector", {}))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction, ())):
            where = f"spec.{direction}[{index}]"
            for number, item in enumerate(rule.get("ports", ())):
                _policy_port(errors, f"{where}.ports[{number}]", item)
            for number, peer in enumerate(rule.get(peers, ())):
                _peer(errors, f"{where}.{peers}[{number}]", peer)
    types = spec.get("policyTypes", [])
    if len(types) > 2:
        errors.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, type_ in enumerate(types):
        if type_ not in ("Ingress", "Egress"):
            errors.unsupported(f"spec.policyTypes[{index}]", type_, ("Ingress", "Egress"))


def _policy_port(errors: Errors, where: str, item: Json) -> None:
    if item.get("protocol") not in PROTOCOLS:
        errors.unsupported(f"{where}.protocol", item.get("protocol"), PROTOCOLS)
    number, end = item.get("port"), item.get("endPort")
    if isinstance(number, int):
        port(errors, f"{where}.port", number)
        if end is not None and end < number:
            errors.invalid(f"{where}.endPort", end, "must be greater than or equal to `port`")
        elif end is not None:
            port(errors, f"{where}.endPort", end)
    elif isinstance(number, str):
        if end is not None:
            errors.invalid(
                f"{where}.endPort", end, "may not be specified when `port` is non-numeric"
            )
        for message in is_port_name(number):
            errors.invalid(f"{where}.port", number, message)
    elif end is not None:
        errors.invalid(f"{where}.endPort", end, "may not be specified when `port` is not specified")


def _peer(errors: Errors, where: str, peer: Json) -> None:
    if not peer:
        errors.required(where, "must specify a peer")
    for name in ("podSelector", "namespaceSelector"):
        if name in peer:
            selector(errors, f"{where}.{name}", peer[name])
    if "ipBlock" in peer:
        if len(peer) > 1:
            errors.forbidden(where, "may not specify both ipBlock and another peer")
        _ip_block(errors, f"{where}.ipBlock", peer["ipBlock"])


def _ip_block(errors: Errors, where: str, block: Json) -> None:
    if not block.get("cidr"):
        errors.required(f"{where}.cidr")
        return
    whole = network(errors, f"{where}.cidr", block["cidr"])
    for index, text in enumerate(block.get("except", ())):
        field = f"{where}.except[{index}]"
        part = network(errors, field, text)
        if whole is None or part is None:
            continue
        inside = part.version == whole.version and holds(whole, part)
        if not inside or part == whole:
            errors.invalid(field, text, f"must be a strict subset of `{whole}`")


def endpoint_slice(errors: Errors, obj: Json) -> None:
    kinds = ("IPv4", "IPv6", "FQDN")
    errors.one_of("addressType", obj.get("addressType"), kinds)
    items = obj.get("endpoints", [])
    if len(items) > _MAX_ENDPOINTS:
        errors.too_long("endpoints", _MAX_ENDPOINTS)
        return
    for index, item in enumerate(items):
        _endpoint(errors, f"endpoints[{index}]", item, obj.get("addressType", ""))
    names: set[str] = set()
    for index, item in enumerate(obj.get("ports", ())):
        where, name = f"ports[{index}]", item.get("name", "")
        if name and is_label(name):
            errors.invalid(f"{where}.name", name, is_label(name)[0])
        if name in names:
            errors.duplicate(f"{where}.name", name)
        names.add(name)
        if item.get("protocol") not in PROTOCOLS:
            errors.unsupported(f"{where}.protocol", item.get("protocol"), PROTOCOLS)


def _endpoint(errors: Errors, where: str, item: Json, type_: str) -> None:
    addresses = item.get("addresses", [])
    if not addresses:
        errors.required(f"{where}.addresses", "must contain at least 1 address")
    elif len(addresses) > _MAX_ADDRESSES:
        errors.too_long(f"{where}.addresses", _MAX_ADDRESSES)
    for number, text in enumerate(addresses):
        field = f"{where}.addresses[{number}]"
        if type_ == "FQDN":
            for message in is_subdomain(text):
                errors.invalid(field, text, message)
        else:
            _endpoint_address(errors, field, text, type_)
    if item.get("hostname"):
        for message in is_label(item["hostname"]):
            errors.invalid(f"{where}.hostname", item["hostname"], message)
    if item.get("nodeName"):
        for message in is_subdomain(item["nodeName"]):
            errors.invalid(f"{where}.nodeName", item["nodeName"], message)


def _endpoint_address(errors: Errors, field: str, text: str, type_: str) -> None:
    try:
        parsed = parse_address(text)
    except ValueError:
        parsed = None
    if parsed is None or f"IPv{parsed.version}" != type_:
        if type_ in ("IPv4", "IPv6"):
            errors.invalid(field, text, f"must be a valid {type_} address")
        return
    special_address(errors, field, parsed)


def special_address(errors: Errors, field: str, parsed: IPAddress) -> None:
    """ValidateNonSpecialIP: endpoints may not point at the node itself or at a link."""
    shown = str(parsed)
    if parsed.is_unspecified:
        errors.invalid(field, shown, f"may not be unspecified ({shown})")
    if parsed.is_loopback:
        errors.invalid(field, shown, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        errors.invalid(
            field, shown, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        )
    if parsed.is_multicast and (parsed.version == 4 and shown.startswith("224.0.0.")):
        errors.invalid(
            field, shown, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        )


def endpoint_slice_update(errors: Errors, old: Json, new: Json) -> None:
    errors.immutable("addressType", old.get("addressType"), new.get("addressType"))


def endpoints(errors: Errors, obj: Json) -> None:
    for index, subset in enumerate(obj.get("subsets", ())):
        where = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.required(where, "must specify `addresses` or `notReadyAddresses`")
        for name in ("addresses", "notReadyAddresses"):
            for number, item in enumerate(subset.get(name, ())):
                address(errors, f"{where}.{name}[{number}].ip", item.get("ip", ""))
        for number, item in enumerate(subset.get("ports", ())):
            port(errors, f"{where}.ports[{number}].port", item.get("port"))


def ingress(errors: Errors, obj: Json) -> None:
    spec: Json = obj.get("spec", {})
    if not spec.get("rules") and "defaultBackend" not in spec:
        errors.invalid(
            "spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified"
        )
    if "defaultBackend" in spec:
        _backend(errors, "spec.defaultBackend", spec["defaultBackend"])
    for index, rule in enumerate(spec.get("rules", ())):
        host = rule.get("host", "").removeprefix("*.")
        for message in is_subdomain(host) if host else ():
            errors.invalid(f"spec.rules[{index}].host", rule["host"], message)
        for number, path in enumerate(rule.get("http", {}).get("paths", ())):
            _ingress_path(errors, f"spec.rules[{index}].http.paths[{number}]", path)


def _ingress_path(errors: Errors, where: str, path: Json) -> None:
    types = ("Exact", "ImplementationSpecific", "Prefix")
    type_ = path.get("pathType")
    if not type_:
        errors.required(f"{where}.pathType", "pathType must be specified")
    elif type_ not in types:
        errors.unsupported(f"{where}.pathType", type_, types)
    elif type_ != "ImplementationSpecific" and not path.get("path", "").startswith("/"):
        errors.invalid(f"{where}.path", path.get("path", ""), "must be an absolute path")
    _backend(errors, f"{where}.backend", path.get("backend", {}))


def _backend(errors: Errors, where: str, backend: Json) -> None:
    service: Any = backend.get("service")
    if service is None and "resource" not in backend:
        errors.required(where, "must specify either `service` or `resource`")
    elif service is not None:
        if "resource" in backend:
            errors.invalid(where, "", "cannot set both resource and service backends")
        if not service.get("name"):
            errors.required(f"{where}.service.name")
        number = service.get("port", {})
        if not number.get("name") and not number.get("number"):
            errors.required(f"{where}.service.port", "port name or number is required")


def ip_address(errors: Errors, obj: Json) -> None:
    name = obj.get("metadata", {}).get("name", "")
    try:
        canonical = str(parse_address(name))
    except ValueError:
        canonical = ""
    if name != canonical:
        errors.invalid("metadata.name", name, "must be a valid IP address in canonical form")
    parent = obj.get("spec", {}).get("parentRef", {})
    for field in ("resource", "name"):
        if not parent.get(field):
            errors.required(f"spec.parentRef.{field}")


def service_cidr(errors: Errors, obj: Json) -> None:
    cidrs = obj.get("spec", {}).get("cidrs", [])
    if not 1 <= len(cidrs) <= 2:
        errors.invalid("spec.cidrs", cidrs, "must have one or two CIDRs, one of each IP family")
    found = [network(errors, f"spec.cidrs[{i}]", text) for i, text in enumerate(cidrs)]
    versions = [item.version for item in found if item is not None]
    if len(versions) == 2 and versions[0] == versions[1]:
        errors.invalid("spec.cidrs", cidrs, "must be one of each IP family")


def service_cidr_update(errors: Errors, old: Json, new: Json) -> None:
    errors.immutable(
        "spec.cidrs", old.get("spec", {}).get("cidrs"), new.get("spec", {}).get("cidrs")
    )
