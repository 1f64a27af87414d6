"""How lists and maps of the built-in kinds merge: facts of the API's Go types.

`patchMergeKey` and `patchStrategy` tags rule strategic merge patch; `listType`, `listMapKey` and
`mapType` markers rule server-side apply. A list that is not named here is atomic for both; a map
or an object is granular.
"""

from steppe.admission.model import ATOMIC, GRANULAR, SET, Kind, Structure
from steppe.admission.schema import step, type_name


def _map(*keys: str) -> Structure:
    # OpenAPI gives a port's protocol the default TCP, which server-side apply fills into keys.
    defaults = (("protocol", "TCP"),) if "protocol" in keys else ()
    return Structure("map", keys, defaults)


_NAME, _TYPE = ("name", _map("name")), ("type", _map("type"))
_MOUNT = ("mountPath", _map("mountPath"))
_PORTS = ("containerPort", _map("containerPort", "protocol"))
_DEVICE = ("devicePath", _map("devicePath"))

# Type and field → key for strategic merge (None: replaced), structure for server-side apply.
LISTS: dict[str, tuple[str | None, Structure]] = {
    "meta.v1.ObjectMeta.finalizers": ("", SET),
    "meta.v1.ObjectMeta.ownerReferences": ("uid", _map("uid")),
    "core.v1.PodSpec.containers": _NAME,
    "core.v1.PodSpec.initContainers": _NAME,
    "core.v1.PodSpec.ephemeralContainers": _NAME,
    "core.v1.PodSpec.volumes": _NAME,
    "core.v1.PodSpec.imagePullSecrets": _NAME,
    "core.v1.PodSpec.schedulingGates": _NAME,
    "core.v1.PodSpec.resourceClaims": _NAME,
    "core.v1.PodSpec.hostAliases": ("ip", _map("ip")),
    "core.v1.PodSpec.topologySpreadConstraints": (
        "topologyKey",
        _map("topologyKey", "whenUnsatisfiable"),
    ),
    "core.v1.Container.env": _NAME,
    "core.v1.Container.ports": _PORTS,
    "core.v1.Container.volumeMounts": _MOUNT,
    "core.v1.Container.volumeDevices": _DEVICE,
    "core.v1.EphemeralContainer.env": _NAME,
    "core.v1.EphemeralContainer.ports": _PORTS,
    "core.v1.EphemeralContainer.volumeMounts": _MOUNT,
    "core.v1.EphemeralContainer.volumeDevices": _DEVICE,
    "core.v1.ResourceRequirements.claims": (None, _map("name")),
    "core.v1.PodStatus.conditions": _TYPE,
    "core.v1.PodStatus.podIPs": ("ip", _map("ip")),
    "core.v1.PodStatus.hostIPs": ("ip", ATOMIC),
    "core.v1.PodStatus.resourceClaimStatuses": _NAME,
    "core.v1.ContainerStatus.volumeMounts": _MOUNT,
    "core.v1.NodeSpec.podCIDRs": ("", SET),
    "core.v1.NodeStatus.addresses": _TYPE,
    "core.v1.NodeStatus.conditions": _TYPE,
    "core.v1.NamespaceStatus.conditions": _TYPE,
    "core.v1.ServiceAccount.secrets": _NAME,
    "core.v1.ServiceSpec.ports": ("port", _map("port", "protocol")),
    "core.v1.ServiceStatus.conditions": _TYPE,
    "apps.v1.DaemonSetStatus.conditions": _TYPE,
    "apps.v1.DeploymentStatus.conditions": _TYPE,
    "apps.v1.ReplicaSetStatus.conditions": _TYPE,
    "apps.v1.StatefulSetStatus.conditions": _TYPE,
    "batch.v1.JobStatus.conditions": ("type", ATOMIC),
    "discovery.v1.Endpoint.addresses": (None, SET),
    "networking.v1.ServiceCIDRStatus.conditions": _TYPE,
    "apiextensions.v1.CustomResourceDefinitionStatus.conditions": (None, _map("type")),
    "apiextensions.v1.JSONSchemaProps.x-kubernetes-validations": ("rule", _map("rule")),
    "policy.v1.PodDisruptionBudgetStatus.conditions": _TYPE,
}

# Fields whose other members go when one is set (patchStrategy retainKeys).
RETAIN_KEYS = {
    "apps.v1.DeploymentSpec.strategy",
    "core.v1.PodSpec.resourceClaims",
    "core.v1.PodSpec.volumes",
}

# Objects, and maps, that have one owner (mapType=atomic).
ATOMIC_TYPES = {
    "core.v1.ConfigMapKeySelector",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.SecretKeySelector",
    "core.v1.TypedLocalObjectReference",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
}
ATOMIC_MAPS = {"core.v1.PodSpec.nodeSelector", "core.v1.ServiceSpec.selector"}


def locate(kind: Kind, path: tuple[str, ...]) -> tuple[str, str]:
    """The type at a path of field names, and the "type.field" that names it.

    Lists are passed through: ("spec", "containers", "ports") needs no index.
    """
    type_, name = type_name(kind), ""
    for field in path:
        inner = type_.strip("[]")
        name = f"{inner}.{field}"
        type_ = step(inner, field)
        if not type_:
            return "", name
    return type_, name


def merge_key(kind: Kind, path: tuple[str, ...]) -> str | None:
    """The strategic merge key of the list at a path; "" for a set of scalars, None for atomic."""
    found = LISTS.get(locate(kind, path)[1])
    return found[0] if found else None


def structure(kind: Kind, path: tuple[str, ...]) -> Structure:
    """How the value at a path is owned, for server-side apply."""
    type_, name = locate(kind, path)
    if type_.startswith("["):
        return LISTS[name][1] if name in LISTS else ATOMIC
    if type_ in ATOMIC_TYPES or name in ATOMIC_MAPS or type_ == "any":
        return ATOMIC
    if type_.startswith("{") or "." in type_:
        return GRANULAR
    return ATOMIC
