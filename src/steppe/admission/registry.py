"""The built-in kinds: what discovery lists for each group."""

from steppe.admission.model import Kind


def _kind(
    group: str,
    kind: str,
    plural: str,
    *short: str,
    cluster: bool = False,
    all_: bool = False,
    sub: tuple[str, ...] = (),
) -> Kind:
    return Kind(
        group=group,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=not cluster,
        short_names=short,
        categories=("all",) if all_ else (),
        subresources=sub,
    )


_STATUS = ("status",)
_SCALE = ("status", "scale")
_POD = (
    *("status", "binding", "eviction", "ephemeralcontainers"),
    *("log", "exec", "attach", "portforward"),
)
_NET = "networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"

BUILTIN: tuple[Kind, ...] = (
    _kind("", "Namespace", "namespaces", "ns", cluster=True, sub=("status", "finalize")),
    _kind("", "Node", "nodes", "no", cluster=True, sub=_STATUS),
    _kind("", "Pod", "pods", "po", all_=True, sub=_POD),
    _kind("", "Service", "services", "svc", all_=True, sub=_STATUS),
    _kind("", "Endpoints", "endpoints", "ep"),
    _kind("", "ConfigMap", "configmaps", "cm"),
    _kind("", "Secret", "secrets"),
    _kind("", "Event", "events", "ev"),
    _kind("", "ServiceAccount", "serviceaccounts", "sa"),
    _kind("apps", "Deployment", "deployments", "deploy", all_=True, sub=_SCALE),
    _kind("apps", "ReplicaSet", "replicasets", "rs", all_=True, sub=_SCALE),
    _kind("apps", "DaemonSet", "daemonsets", "ds", all_=True, sub=_STATUS),
    _kind("apps", "StatefulSet", "statefulsets", "sts", all_=True, sub=_SCALE),
    _kind("batch", "Job", "jobs", all_=True, sub=_STATUS),
    _kind("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    _kind("coordination.k8s.io", "Lease", "leases"),
    _kind("events.k8s.io", "Event", "events", "ev"),
    _kind(_NET, "NetworkPolicy", "networkpolicies", "netpol"),
    _kind(_NET, "Ingress", "ingresses", "ing", sub=_STATUS),
    _kind(_NET, "IngressClass", "ingressclasses", cluster=True),
    _kind(_NET, "IPAddress", "ipaddresses", "ip", cluster=True),
    _kind(_NET, "ServiceCIDR", "servicecidrs", cluster=True, sub=_STATUS),
    _kind(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd",
        "crds",
        cluster=True,
        sub=_STATUS,
    ),
    _kind(_RBAC, "Role", "roles"),
    _kind(_RBAC, "ClusterRole", "clusterroles", cluster=True),
    _kind(_RBAC, "RoleBinding", "rolebindings"),
    _kind(_RBAC, "ClusterRoleBinding", "clusterrolebindings", cluster=True),
    _kind("policy", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", sub=_STATUS),
)

UNSERVED: tuple[Kind, ...] = (
    _kind("", "ReplicationController", "replicationcontrollers", "rc", all_=True, sub=_SCALE),
    _kind("batch", "CronJob", "cronjobs", "cj", all_=True, sub=_STATUS),
)
"""Kinds whose manifests are checked, but which the lab's API server does not serve."""
