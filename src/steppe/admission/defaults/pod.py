"""Pods and pod templates: pkg/apis/core/v1/defaults.go, and three admission plugins.

ServiceAccount, Priority and DefaultTolerationSeconds are on in every real cluster, so a pod
here looks as it does there; the token volume is left out, as nothing here issues such tokens.
"""

from collections.abc import Iterator

from steppe.admission.defaults.fill import fill
from steppe.admission.model import Json

_UNREACHABLE_FOR = 300  # seconds: the flags' defaults of DefaultTolerationSeconds
_NODE_TROUBLES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_MODE = 0o644
_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")


def pod(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    fill(spec, enableServiceLinks=True, serviceAccountName="default", priority=0)
    fill(spec, serviceAccount=spec["serviceAccountName"], preemptionPolicy="PreemptLowerPriority")
    for container in _containers(spec):
        _requests_from_limits(container["resources"])
    _tolerate_node_troubles(spec)
    status = obj.setdefault("status", {})
    fill(status, phase="Pending")
    if "qosClass" not in status:
        status["qosClass"] = qos_class(spec)
    _addresses(status)


def pod_spec(spec: Json) -> None:
    """What a pod and a pod template have in common."""
    fill(spec, restartPolicy="Always", dnsPolicy="ClusterFirst", schedulerName="default-scheduler")
    if "terminationGracePeriodSeconds" not in spec:
        spec["terminationGracePeriodSeconds"] = 30
    spec.setdefault("securityContext", {})
    for container in _containers(spec):
        _container(container, host_network=spec.get("hostNetwork") is True)
    for volume in spec.get("volumes", ()):
        _volume(volume)
    for constraint in spec.get("topologySpreadConstraints", ()):
        fill(constraint, nodeAffinityPolicy="Honor", nodeTaintsPolicy="Ignore")


def template(spec: Json) -> None:
    pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' cpu and memory."""
    guaranteed, any_set = True, False
    for container in _containers(spec):
        resources = container.get("resources", {})
        limits, requests = resources.get("limits", {}), resources.get("requests", {})
        for name in ("cpu", "memory"):
            any_set = any_set or name in limits or name in requests
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _containers(spec: Json) -> Iterator[Json]:
    yield from spec.get("initContainers", ())
    yield from spec.get("containers", ())
    yield from spec.get("ephemeralContainers", ())


def _container(container: Json, *, host_network: bool) -> None:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    latest = "@" not in image and tag in ("", "latest")
    fill(
        container,
        imagePullPolicy="Always" if latest else "IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    container.setdefault("resources", {})
    for port in container.get("ports", ()):
        fill(port, protocol="TCP")
        # "If HostNetwork is specified, this must match ContainerPort."
        if host_network and not port.get("hostPort") and "containerPort" in port:
            port["hostPort"] = port["containerPort"]
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _probe(container[name])
    for variable in container.get("env", ()):
        if "fieldRef" in variable.get("valueFrom", {}):
            fill(variable["valueFrom"]["fieldRef"], apiVersion="v1")


def _probe(probe: Json) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(name):
            probe[name] = value
    if "httpGet" in probe:
        fill(probe["httpGet"], path="/", scheme="HTTP")
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _volume(volume: Json) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for source in _WITH_MODE:
        if source in volume:
            volume[source].setdefault("defaultMode", _MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for projection in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in projection:
            projection["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _requests_from_limits(resources: Json) -> None:
    """Go's comment: "If Requests is omitted for a container, it defaults to Limits"."""
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _tolerate_node_troubles(spec: Json) -> None:
    tolerations = spec.get("tolerations", [])
    for key in _NODE_TROUBLES:
        if not any(
            toleration.get("key", key) == key
            and toleration.get("effect") in (None, "", "NoExecute")
            for toleration in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _UNREACHABLE_FOR,
                }
            )
    if tolerations:
        spec["tolerations"] = tolerations


def _addresses(status: Json) -> None:
    """PodIP is podIPs[0], and hostIP is hostIPs[0], whichever of them was set."""
    for one, many in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        if status.get(many):
            status[one] = status[many][0].get("ip", "")
        elif status.get(one):
            status[many] = [{"ip": status[one]}]
