"""Defaulting: what the API server fills in where the user was silent.

Each function changes a decoded object, which nobody else holds, in place. Values allocated from
a range (cluster IPs, node ports) and everything that needs a clock are the server's.
"""

from collections.abc import Callable

from steppe.admission.defaults import cluster, network, pod, workloads
from steppe.admission.model import Json

DEFAULTS: dict[tuple[str, str], Callable[[Json], None]] = {
    ("", "Namespace"): cluster.namespace,
    ("", "Node"): cluster.node,
    ("", "Pod"): pod.pod,
    ("", "Service"): network.service,
    ("", "Endpoints"): network.endpoints,
    ("", "Secret"): cluster.secret,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("batch", "Job"): workloads.job,
    ("discovery.k8s.io", "EndpointSlice"): network.endpoint_slice,
    ("networking.k8s.io", "NetworkPolicy"): network.network_policy,
    ("networking.k8s.io", "IngressClass"): network.ingress_class,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): cluster.custom_resource_definition,
    ("rbac.authorization.k8s.io", "RoleBinding"): cluster.role_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): cluster.role_binding,
}
