"""Services: pkg/apis/core/validation ValidateService and ValidateServiceUpdate."""

from steppe.admission.model import Context, Json
from steppe.admission.validate.fields import (
    Errors,
    address,
    is_label,
    is_port_name,
    is_subdomain,
    labels,
    network,
    port,
)
from steppe.admission.validate.network import PROTOCOLS, special_address
from steppe.net.address import parse_address

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILIES = ("IPv4", "IPv6")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_MAX_AFFINITY_SECONDS = 24 * 60 * 60


def service(errors: Errors, obj: Json, context: Context) -> None:
    spec = obj["spec"]
    type_ = spec.get("type")
    headless = spec.get("clusterIP") == "None"
    if type_ not in _TYPES:
        errors.unsupported("spec.type", type_, _TYPES)
    if not spec.get("ports") and not headless and type_ != "ExternalName":
        errors.required("spec.ports")
    if type_ == "ExternalName":
        _external_name(errors, spec)
    if type_ == "LoadBalancer" and headless:
        errors.invalid(
            "spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services"
        )
    if type_ == "NodePort" and headless:
        errors.invalid(
            "spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services"
        )
    _ports(errors, spec, headless=headless)
    labels(errors, "spec.selector", spec.get("selector", {}))
    _affinity(errors, spec)
    _families(errors, spec, context)
    _cluster_ips(errors, spec)
    _external(errors, spec)


def _external_name(errors: Errors, spec: Json) -> None:
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        errors.required("spec.externalName")
    for message in is_subdomain(name) if name else ():
        errors.invalid("spec.externalName", name, message)
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            errors.forbidden(f"spec.{field}", "may not be set when type is 'ExternalName'")


def _ports(errors: Errors, spec: Json, *, headless: bool) -> None:
    names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    ports = spec.get("ports", [])
    for index, item in enumerate(ports):
        where = f"spec.ports[{index}]"
        _port(errors, where, item, names, named=len(ports) > 1, headless=headless)
        key = (item.get("protocol", ""), item.get("port", 0))
        if key in seen:
            errors.duplicate(where, {"port": key[1], "protocol": key[0]})
        seen.add(key)
        number = item.get("nodePort")
        if not number:
            continue
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            errors.forbidden(
                f"{where}.nodePort", f"may not be used when `type` is '{spec.get('type')}'"
            )
        elif (key[0], number) in node_ports:
            errors.duplicate(f"{where}.nodePort", number)
        node_ports.add((key[0], number))


def _port(
    errors: Errors, where: str, item: Json, names: set[str], *, named: bool, headless: bool
) -> None:
    name = item.get("name", "")
    if named and not name:
        errors.required(f"{where}.name")
    elif name:
        for message in is_label(name):
            errors.invalid(f"{where}.name", name, message)
        if name in names:
            errors.duplicate(f"{where}.name", name)
        names.add(name)
    port(errors, f"{where}.port", item.get("port"))
    if item.get("protocol") not in PROTOCOLS:
        errors.unsupported(f"{where}.protocol", item.get("protocol"), PROTOCOLS)
    target = item.get("targetPort")
    if isinstance(target, str):
        for message in is_port_name(target):
            errors.invalid(f"{where}.targetPort", target, message)
    elif target is not None and not headless:
        port(errors, f"{where}.targetPort", target)


def _affinity(errors: Errors, spec: Json) -> None:
    errors.one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    if spec.get("sessionAffinity") == "ClientIP":
        seconds = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds", 0)
        if not 0 < seconds <= _MAX_AFFINITY_SECONDS:
            errors.invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                seconds,
                f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}",
            )


def _families(errors: Errors, spec: Json, context: Context) -> None:
    policy, families = spec.get("ipFamilyPolicy"), spec.get("ipFamilies", [])
    if policy and policy not in _POLICIES:
        errors.unsupported("spec.ipFamilyPolicy", policy, _POLICIES)
    if policy == "RequireDualStack" and len(context.families) < 2:
        errors.invalid(
            "spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services"
        )
    for index, family in enumerate(families):
        where = f"spec.ipFamilies[{index}]"
        if family not in _FAMILIES:
            errors.unsupported(where, family, _FAMILIES)
        elif family in families[:index]:
            errors.duplicate(where, family)
        elif family not in context.families:
            errors.invalid(where, family, "not configured on this cluster")
    if policy == "SingleStack" and len(families) > 1:
        errors.invalid(
            "spec.ipFamilies",
            families,
            "when multiple IP families are specified, the ipFamilyPolicy must be PreferDualStack "
            "or RequireDualStack",
        )


def _cluster_ips(errors: Errors, spec: Json) -> None:
    addresses = spec.get("clusterIPs", [])
    if len(addresses) > 2:
        errors.invalid("spec.clusterIPs", addresses, "may only hold up to 2 values")
    if spec.get("clusterIP") and addresses and addresses[0] != spec["clusterIP"]:
        errors.invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")
    if "None" in addresses:
        if len(addresses) > 1:
            errors.invalid("spec.clusterIPs", addresses, "'None' must be the first and only value")
        return
    families = spec.get("ipFamilies", [])
    versions = []
    for index, text in enumerate(addresses):
        version = address(errors, f"spec.clusterIPs[{index}]", text)
        versions.append(version)
        if version and index < len(families) and families[index] != f"IPv{version}":
            errors.invalid(
                f"spec.clusterIPs[{index}]",
                text,
                f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`",
            )
    if len(versions) == 2 and versions[0] == versions[1] != 0:
        errors.invalid(
            "spec.clusterIPs", addresses, "may specify no more than one IP for each IP family"
        )


def _external(errors: Errors, spec: Json) -> None:
    """Fields that only make sense for traffic from outside the cluster."""
    type_ = spec.get("type")
    open_ = type_ in ("NodePort", "LoadBalancer")
    policy = spec.get("externalTrafficPolicy")
    if policy and not open_ and not spec.get("externalIPs"):
        errors.invalid(
            "spec.externalTrafficPolicy",
            policy,
            "may only be set for externally-accessible services",
        )
    elif policy and policy not in ("Cluster", "Local"):
        errors.unsupported("spec.externalTrafficPolicy", policy, ("Cluster", "Local"))
    internal = spec.get("internalTrafficPolicy")
    if internal and internal not in ("Cluster", "Local"):
        errors.unsupported("spec.internalTrafficPolicy", internal, ("Cluster", "Local"))
    if spec.get("healthCheckNodePort") and (type_ != "LoadBalancer" or policy != "Local"):
        errors.invalid(
            "spec.healthCheckNodePort",
            spec["healthCheckNodePort"],
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )
    for index, text in enumerate(spec.get("loadBalancerSourceRanges", ())):
        network(errors, f"spec.loadBalancerSourceRanges[{index}]", text.strip())
    if spec.get("loadBalancerSourceRanges") and type_ != "LoadBalancer":
        errors.forbidden(
            "spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'"
        )
    for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if name in spec and type_ != "LoadBalancer":
            errors.forbidden(f"spec.{name}", "may only be used when `type` is 'LoadBalancer'")
    for index, text in enumerate(spec.get("externalIPs", ())):
        if address(errors, f"spec.externalIPs[{index}]", text):
            special_address(errors, f"spec.externalIPs[{index}]", parse_address(text))


def service_update(errors: Errors, old: Json, new: Json) -> None:
    before, after = old.get("spec", {}), new["spec"]
    if "ExternalName" in (before.get("type"), after.get("type")):
        return
    # The first cluster IP and family are for life; the second may come and go.
    for field in ("clusterIPs", "ipFamilies"):
        was, now = before.get(field, []), after.get(field, [])
        if was and now and was[0] != now[0]:
            detail = "may not change once set"
            errors.invalid(f"spec.{field}[0]", now[0], detail)
    class_ = before.get("loadBalancerClass")
    if class_ and after.get("type") == "LoadBalancer" and after.get("loadBalancerClass") != class_:
        errors.invalid(
            "spec.loadBalancerClass", after.get("loadBalancerClass"), "may not change once set"
        )
