"""Services, endpoints, network policies, ingresses, addresses."""

from datetime import datetime
from typing import Any

from steppe.admission.model import Json
from steppe_lab.apiserver.kinds.printers.cells import (
    NONE,
    UNSET,
    Printer,
    age,
    columns,
    pairs,
    selector,
)

_SHOWN = 3


def _service(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    address = spec.get("clusterIP") or (spec.get("clusterIPs") or [NONE])[0]
    return [
        spec.get("type", ""),
        address,
        _external(obj),
        _ports(spec) or NONE,
        age(obj, now),
        pairs(spec.get("selector")),
    ]


def _external(obj: Json) -> str:
    spec = obj.get("spec", {})
    fixed = ",".join(spec.get("externalIPs", ()))
    if spec.get("type") == "ExternalName":
        name: str = spec.get("externalName", "")
        return name
    if spec.get("type") != "LoadBalancer":
        return fixed or NONE
    ingress = obj.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    given = ",".join(item.get("ip") or item.get("hostname", "") for item in ingress)
    return ",".join(part for part in (given, fixed) if part) or "<pending>"


def _ports(spec: Json) -> str:
    return ",".join(
        f"{p['port']}:{p['nodePort']}/{p['protocol']}"
        if p.get("nodePort")
        else f"{p['port']}/{p['protocol']}"
        for p in spec.get("ports", ())
    )


def _first(items: list[str]) -> str:
    shown = ",".join(items[:_SHOWN])
    more = len(items) - _SHOWN
    return f"{shown} + {more} more..." if more > 0 else shown


def _endpoint_slice(obj: Json, now: datetime) -> list[Any]:
    ports = [UNSET if p.get("port") is None else str(p["port"]) for p in obj.get("ports") or ()]
    endpoints = [a for e in obj.get("endpoints") or () for a in e.get("addresses", ())]
    return [
        obj.get("addressType", ""),
        _first(ports) or UNSET,
        _first(endpoints) or UNSET,
        age(obj, now),
    ]


def _endpoints(obj: Json, now: datetime) -> list[Any]:
    found: list[str] = []
    for subset in obj.get("subsets", ()):
        for address in subset.get("addresses", ()):
            ip = f"[{address['ip']}]" if ":" in address["ip"] else address["ip"]
            found += [f"{ip}:{port['port']}" for port in subset.get("ports", ())] or [ip]
    return [_first(found) or NONE, age(obj, now)]


def _network_policy(obj: Json, now: datetime) -> list[Any]:
    return [selector(obj.get("spec", {}).get("podSelector")), age(obj, now)]


def _ingress(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    hosts = [rule["host"] for rule in spec.get("rules", ()) if rule.get("host")]
    balancer = obj.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    return [
        spec.get("ingressClassName") or NONE,
        _first(hosts) or "*",
        ",".join(item.get("ip") or item.get("hostname", "") for item in balancer),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _ingress_class(obj: Json, now: datetime) -> list[Any]:
    spec = obj.get("spec", {})
    given = spec.get("parameters")
    shown = NONE
    if given:
        kind = f"{given['kind']}.{given['apiGroup']}" if given.get("apiGroup") else given["kind"]
        shown = f"{kind}/{given['name']}"
    return [spec.get("controller", ""), shown, age(obj, now)]


def _ip_address(obj: Json, now: datetime) -> list[Any]:
    parent = obj.get("spec", {}).get("parentRef", {})
    names = (parent.get(n) for n in ("resource", "group", "namespace", "name"))
    resource, group, namespace, name = (text or "" for text in names)
    kind = f"{resource}.{group}" if group else resource
    return ["/".join(part for part in (kind, namespace, name) if part), age(obj, now)]


def _service_cidr(obj: Json, now: datetime) -> list[Any]:
    return [",".join(obj.get("spec", {}).get("cidrs", ())), age(obj, now)]


_NET = "networking.k8s.io"

PRINTERS = {
    ("", "Service"): Printer(
        columns("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)), _service
    ),
    ("", "Endpoints"): Printer(columns("Endpoints", "Age"), _endpoints),
    ("discovery.k8s.io", "EndpointSlice"): Printer(
        columns("AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice
    ),
    (_NET, "NetworkPolicy"): Printer(columns("Pod-Selector", "Age"), _network_policy),
    (_NET, "Ingress"): Printer(columns("Class", "Hosts", "Address", "Ports", "Age"), _ingress),
    (_NET, "IngressClass"): Printer(columns("Controller", "Parameters", "Age"), _ingress_class),
    (_NET, "IPAddress"): Printer(columns("ParentRef", "Age"), _ip_address),
    (_NET, "ServiceCIDR"): Printer(columns("CIDRs", "Age"), _service_cidr),
}
