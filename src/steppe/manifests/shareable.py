"""Objects as they may be handed to a stranger: what answers depend on, and nothing secret.

Pods carry passwords in env, args and annotations, and annotations carry whole earlier versions of
an object. So of Pods and Nodes only the fields listed here are kept, of objects of other projects
only their names, and of annotations only those that Steppe reads.
"""

from collections.abc import Mapping
from typing import Any

from steppe.kube.kinds import group_in, is_known
from steppe.kube.objects import UNDERLAY_ANNOTATION
from steppe.settings import SETTINGS_ANNOTATION

Json = dict[str, Any]
_Fields = Mapping[str, "_Fields | None"]
"""The fields to keep, each with those to keep inside it; None keeps all of it. A list's items have
the fields of the list.
"""


def _all(*names: str) -> dict[str, "_Fields | None"]:
    return dict.fromkeys(names)


_METADATA: _Fields = {
    **_all("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "labels"),
    **_all("creationTimestamp", "deletionTimestamp", "ownerReferences"),
    "annotations": _all(UNDERLAY_ANNOTATION, SETTINGS_ANNOTATION),
}
_CONTAINER: _Fields = _all("name", "image", "ports", "restartPolicy")
_POD: _Fields = {
    "spec": {
        **_all("nodeName", "hostNetwork", "hostname", "subdomain", "dnsPolicy", "restartPolicy"),
        **_all("readinessGates"),
        "containers": _CONTAINER,
        "initContainers": _CONTAINER,
    },
    "status": {
        **_all("phase", "podIP", "podIPs", "hostIP", "hostIPs", "startTime"),
        "conditions": _all("type", "status", "lastTransitionTime"),
    },
}
_NODE: _Fields = {
    "spec": _all("podCIDR", "podCIDRs", "taints", "unschedulable"),
    "status": {
        **_all("addresses", "nodeInfo"),
        "conditions": _all("type", "status", "lastTransitionTime"),
    },
}
_WHOLE: _Fields = _all("spec", "status", "subsets", "addressType", "endpoints", "ports")
_KEPT: Mapping[str, _Fields] = {
    "Pod": _POD,
    "Node": _NODE,
    **dict.fromkeys(
        (
            *("Namespace", "Service", "Endpoints", "EndpointSlice", "ServiceCIDR", "NetworkPolicy"),
            *("ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"),
        ),
        _WHOLE,
    ),
}


def shareable(document: Json) -> Json:
    """The object without what may be secret. Every answer about it stays the same."""
    kind, version = str(document.get("kind", "")), str(document.get("apiVersion", ""))
    known = is_known(kind, group_in(version, kind))
    kept = _KEPT.get(kind, {}) if known else {}
    found: Json = _kept(document, {**_all("apiVersion", "kind"), "metadata": _METADATA, **kept})
    return found


def _kept(value: Any, fields: _Fields | None) -> Any:
    if fields is None:
        return value
    if isinstance(value, list):
        return [_kept(each, fields) for each in value]
    if isinstance(value, dict):
        return {
            name: _kept(value[name], inside) for name, inside in fields.items() if name in value
        }
    return None
