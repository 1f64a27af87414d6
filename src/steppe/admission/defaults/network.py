"""Services, their endpoints, network policies and ingress classes."""

from steppe.admission.defaults.fill import fill
from steppe.admission.model import Json

_AFFINITY_SECONDS = 3 * 60 * 60


def service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        fill(client, timeoutSeconds=_AFFINITY_SECONDS)
    else:
        spec.pop("sessionAffinityConfig", None)
    for port in spec.get("ports", ()):
        fill(port, protocol="TCP")
        if port.get("targetPort") in (None, "", 0) and "port" in port:
            port["targetPort"] = port["port"]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        fill(spec, internalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    status = obj.setdefault("status", {})
    balancer = status.setdefault("loadBalancer", {})
    for ingress in balancer.get("ingress", ()):
        if ingress.get("ip"):
            fill(ingress, ipMode="VIP")
    _primary_address(spec)


def service_after(old: Json, new: Json) -> None:
    """What an update keeps of the old Service, and what a change of its type takes away."""
    before, spec = old.get("spec", {}), new["spec"]
    external = ("NodePort", "LoadBalancer")
    if before.get("type") != "ExternalName" and spec["type"] != "ExternalName":
        # A replaced object need not repeat what was allocated (patchAllocatedValues).
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]
    if before.get("type") in external and spec["type"] in external:
        ports = {(port.get("protocol"), port.get("port")): port for port in before.get("ports", ())}
        for port in spec.get("ports", ()):
            known = ports.get((port["protocol"], port.get("port")), {})
            if not port.get("nodePort") and known.get("nodePort"):
                port["nodePort"] = known["nodePort"]
    _drop_of_type(before, spec)


def _drop_of_type(before: Json, spec: Json) -> None:
    """Fields that belonged to the old type, and were not changed with it (dropTypeDependentFields).

    A field the user changed in the same request stays, so that validation can refuse it.
    """
    if spec["type"] == before.get("type"):
        return
    if spec["type"] == "ExternalName":
        dropped: tuple[str, ...] = (
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        )
    else:
        dropped = ()
    if spec["type"] not in ("NodePort", "LoadBalancer"):
        dropped += ("externalTrafficPolicy", "healthCheckNodePort")
        had = {port.get("nodePort") for port in before.get("ports", ())}
        for port in spec.get("ports", ()):
            if port.get("nodePort") in had:
                port.pop("nodePort", None)
    if spec["type"] != "LoadBalancer":
        dropped += ("allocateLoadBalancerNodePorts", "loadBalancerClass")
    for name in dropped:
        if name in spec and spec[name] == before.get(name):
            del spec[name]


def _primary_address(spec: Json) -> None:
    """ClusterIP is clusterIPs[0] (normalizeClusterIPs); the server allocates what is missing."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]


def endpoints(obj: Json) -> None:
    for subset in obj.get("subsets", ()):
        for port in subset.get("ports", ()):
            fill(port, protocol="TCP")


def endpoint_slice(obj: Json) -> None:
    for port in obj.get("ports", ()):
        port.setdefault("name", "")
        fill(port, protocol="TCP")


def network_policy(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            # The field is a pointer in Go: "" is a protocol, if an invalid one.
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        # "If this field is not specified, it will default based on the existence of ingress or
        # egress rules; policies that contain an egress section are assumed to affect egress".
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def ingress_class(obj: Json) -> None:
    parameters = obj.get("spec", {}).get("parameters")
    if parameters is not None:
        fill(parameters, scope="Cluster")
