"""The pods of a workload (a Deployment, StatefulSet, DaemonSet, ReplicaSet or Job), and their
labels.

    web-6d4f5b7c9-x2k4z     of Deployment web (and of ReplicaSet web-6d4f5b7c9)
    db-0                    of StatefulSet db
    agent-x2k4z             of DaemonSet, Job or ReplicaSet agent
    agent-node-a            of DaemonSet agent in manifests; static pods are called so as well

The pods are found by their names, which controllers derive from the owner's name: manifests may
have no owner references.
"""

import re

from steppe.kube.cluster import Cluster
from steppe.kube.objects import Pod

_NAME_LABELS = ("app.kubernetes.io/name", "app", "k8s-app", "name", "component", "role")
_OF_ONE_POD = frozenset(
    {
        *("pod-template-hash", "pod-template-generation", "controller-revision-hash"),
        *("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"),
        *("job-name", "controller-uid", "batch.kubernetes.io/job-name"),
        *("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-completion-index"),
        # The API server copies them from the node ("PodTopologyLabelsAdmission").
        *("topology.kubernetes.io/zone", "topology.kubernetes.io/region", "kubernetes.io/hostname"),
        # https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
        *("app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"),
    }
)
"""Labels that differ between pods, or releases, of one workload."""

# Controllers use only these characters in suffixes, "to reduce the chances of bad words"
# (k8s.io/apimachinery/pkg/util/rand).
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_SUFFIX = re.compile(rf"-(\d+|({_SAFE}{{6,10}}-)?{_SAFE}{{5}})")
_LAST_SUFFIX = re.compile(f"{_SUFFIX.pattern}$")


def pods_of(cluster: Cluster, namespace: str, owner: str) -> tuple[Pod, ...]:
    """The pods not on the host network whose names derive from this owner; "" for any namespace."""
    found = (
        pod
        for (space, name), pod in cluster.pods.items()
        if namespace in ("", space)
        and (is_called_after(name, owner) or is_on_its_node(pod, owner))
        and pod.addresses
        and not pod.finished
    )
    return tuple(sorted(found, key=lambda pod: pod.name))


def is_called_after(name: str, owner: str) -> bool:
    """Whether a controller of this name may have given a pod this name."""
    return name.startswith(f"{owner}-") and _SUFFIX.fullmatch(name, len(owner)) is not None


def is_on_its_node(pod: Pod, owner: str) -> bool:
    """Whether a pod is called after this owner and its own node."""
    return bool(pod.node) and pod.name == f"{owner}-{pod.node}"


def owner_name(pod: Pod) -> str:
    """The name that the pod is called after; its own if it is called after nobody."""
    if pod.node and pod.name.endswith(f"-{pod.node}"):
        return pod.name.removesuffix(f"-{pod.node}")
    found = _LAST_SUFFIX.search(pod.name)
    return pod.name[: found.start()] if found else pod.name


def are_one(pods: tuple[Pod, ...]) -> bool:
    """Whether pods with similar names belong to one workload: they do if their labels are equal."""
    return len({tuple(workload_labels(pod).items()) for pod in pods}) == 1


def workload_labels(pod: Pod) -> dict[str, str]:
    """The labels that all pods of its workload have, also after the next release."""
    return {key: value for key, value in sorted(pod.labels.items()) if key not in _OF_ONE_POD}


def workload_name(pod: Pod) -> str:
    """The name of the workload: from the pod's labels if they have it, else from the pod's name."""
    return next((pod.labels[key] for key in _NAME_LABELS if pod.labels.get(key)), pod.name)
