"""The API group and the scope of each kind that Steppe has a name for.

Two projects may have kinds of one name, each in a group of its own. What a kind is called without
a group here is the one that this table knows by that name.
"""

from collections.abc import Mapping

GROUP_OF: Mapping[str, str] = {
    "ConfigMap": "",
    "Endpoints": "",
    "Event": "",
    "Namespace": "",
    "Node": "",
    "Pod": "",
    "ReplicationController": "",
    "Secret": "",
    "Service": "",
    "ServiceAccount": "",
    "CustomResourceDefinition": "apiextensions.k8s.io",
    "DaemonSet": "apps",
    "Deployment": "apps",
    "ReplicaSet": "apps",
    "StatefulSet": "apps",
    "CronJob": "batch",
    "Job": "batch",
    "Lease": "coordination.k8s.io",
    "EndpointSlice": "discovery.k8s.io",
    "Ingress": "networking.k8s.io",
    "NetworkPolicy": "networking.k8s.io",
    "ServiceCIDR": "networking.k8s.io",
    "AdminNetworkPolicy": "policy.networking.k8s.io",
    "BaselineAdminNetworkPolicy": "policy.networking.k8s.io",
    "ClusterNetworkPolicy": "policy.networking.k8s.io",
    "BGPPeer": "steppe.dev",
    "BGPSettings": "steppe.dev",
}

_CLUSTER_WIDE = frozenset(
    (
        *("Node", "Namespace", "ServiceCIDR", "CustomResourceDefinition"),
        *("AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"),
        *("BGPPeer", "BGPSettings"),
    )
)


def is_known(kind: str, group: str) -> bool:
    """Whether this kind of this group is the one that is known by the kind alone."""
    return GROUP_OF.get(kind) == group


def is_cluster_wide(kind: str, group: str) -> bool:
    """Whether objects of the kind are in no namespace; those of an unknown kind are in one."""
    return kind in _CLUSTER_WIDE and is_known(kind, group)


def group_in(api_version: str | None, kind: str) -> str:
    """The group of an `apiVersion` ("GROUP/VERSION", or "VERSION" in the core group).

    An object that has none is of the group that its kind is known by.
    """
    if api_version is None:
        return GROUP_OF.get(kind, "")
    return api_version.rpartition("/")[0]
