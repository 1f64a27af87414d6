"""Validation: which decoded and defaulted objects the API server accepts.

A kind that is not named here is checked for its shape and its metadata only.
"""

from collections.abc import Callable

from steppe.admission.model import Context, Json
from steppe.admission.validate import cluster, crd, network, pod, service, workloads
from steppe.admission.validate.fields import Errors

Rule = Callable[[Errors, Json, Context], None]
UpdateRule = Callable[[Errors, Json, Json], None]


def _plain(rule: Callable[[Errors, Json], None]) -> Rule:
    """A rule that needs to know nothing of the cluster."""
    return lambda errors, obj, _context: rule(errors, obj)


_RBAC = "rbac.authorization.k8s.io"
_NET = "networking.k8s.io"

RULES: dict[tuple[str, str], Rule] = {
    ("", "Node"): _plain(cluster.node),
    ("", "Pod"): _plain(pod.pod),
    ("", "Service"): service.service,
    ("", "Endpoints"): _plain(network.endpoints),
    ("", "ConfigMap"): _plain(cluster.config_map),
    ("", "Secret"): _plain(cluster.secret),
    ("", "Event"): _plain(cluster.event),
    ("apps", "Deployment"): _plain(workloads.deployment),
    ("apps", "ReplicaSet"): _plain(workloads.replica_set),
    ("apps", "DaemonSet"): _plain(workloads.daemon_set),
    ("apps", "StatefulSet"): _plain(workloads.stateful_set),
    ("batch", "Job"): _plain(workloads.job),
    ("discovery.k8s.io", "EndpointSlice"): _plain(network.endpoint_slice),
    ("coordination.k8s.io", "Lease"): _plain(cluster.lease),
    (_NET, "NetworkPolicy"): _plain(network.network_policy),
    (_NET, "Ingress"): _plain(network.ingress),
    (_NET, "IPAddress"): _plain(network.ip_address),
    (_NET, "ServiceCIDR"): _plain(network.service_cidr),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _plain(crd.definition),
    (_RBAC, "RoleBinding"): _plain(cluster.role_binding),
    (_RBAC, "ClusterRoleBinding"): _plain(cluster.role_binding),
}

WARNINGS: dict[tuple[str, str], Callable[[Json], list[str]]] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): crd.definition_warnings,
}

UPDATE_RULES: dict[tuple[str, str], UpdateRule] = {
    ("", "Node"): cluster.node_update,
    ("", "Pod"): pod.pod_update,
    ("", "Service"): service.service_update,
    ("", "ConfigMap"): cluster.config_map_update,
    ("", "Secret"): cluster.secret_update,
    ("apps", "Deployment"): workloads.selector_update,
    ("apps", "ReplicaSet"): workloads.selector_update,
    ("apps", "DaemonSet"): workloads.selector_update,
    ("apps", "StatefulSet"): workloads.stateful_set_update,
    ("discovery.k8s.io", "EndpointSlice"): network.endpoint_slice_update,
    (_NET, "IngressClass"): cluster.ingress_class_update,
    (_NET, "ServiceCIDR"): network.service_cidr_update,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): crd.definition_update,
    (_RBAC, "RoleBinding"): cluster.role_binding_update,
    (_RBAC, "ClusterRoleBinding"): cluster.role_binding_update,
}
