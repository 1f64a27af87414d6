"""Short names, made whole before they are looked up: `deploy/web`, and names relative to `-n`.

`kubectl -n shop` means by `web` the object of namespace shop; a pod there means by `db` the Service
`db.shop`. A name that is nobody's in that namespace is left as it was written.
"""

from steppe.ends.end import End, HostEnd, NameEnd, PodEnd, ServiceEnd, WorkloadEnd, is_pattern
from steppe.ends.known import pod_called, service_behind, service_called
from steppe.ends.parse import POD_KINDS, WORKLOAD_KINDS
from steppe.ends.workloads import pods_of
from steppe.kube.cluster import Cluster


def whole(cluster: Cluster, end: End, namespace: str = "") -> End:
    """The end with its namespace; `namespace` is that of `-n`, "" for none."""
    match end:
        case NameEnd(kind, name) if _is_kind(cluster, kind):
            return _of_kind(cluster, kind.lower(), name, namespace)
        case HostEnd(host) | NameEnd("", host) if "." in host:
            return _in_dns(cluster, end, host, namespace)
        case NameEnd("", name) as short if namespace:
            return _in_namespace(cluster, short, name, namespace)
        case ServiceEnd("", name) if (namespace, name) in cluster.services or (
            namespace and is_pattern(end)
        ):
            return ServiceEnd(namespace, name)
        case HostEnd(host) if namespace:
            return _host(cluster, end, host, namespace)
        case _:
            return end


def _is_kind(cluster: Cluster, word: str) -> bool:
    known = word.lower() in POD_KINDS or word.lower() in WORKLOAD_KINDS
    return known and word not in cluster.namespaces


def _of_kind(cluster: Cluster, kind: str, name: str, namespace: str) -> End:
    """`deploy/web` or `pod/web-0`, in the one namespace that has it."""
    if kind in POD_KINDS:
        having = {pod.namespace for pod in cluster.pods_named(name)}
    else:
        having = {pod.namespace for pod in pods_of(cluster, "", name)}
    if not namespace and len(having) == 1:
        namespace = having.pop()
    if kind in POD_KINDS:
        return PodEnd(namespace, name) if namespace else NameEnd("", name)
    return WorkloadEnd(kind, namespace, name)


def _in_namespace(cluster: Cluster, end: NameEnd, name: str, namespace: str) -> End:
    if is_pattern(end):
        return NameEnd(namespace, name)
    if (namespace, name) in cluster.pods or pods_of(cluster, namespace, name):
        return NameEnd(namespace, name)
    return _host(cluster, end, name, namespace)


def _in_dns(cluster: Cluster, end: End, host: str, namespace: str) -> End:
    """A host name with dots: a Service's is left as it is, a pod's or a load balancer's named."""
    if service_called(cluster, host) is not None or cluster.pods_named(host):
        return end
    if (pod := pod_called(cluster, host)) is not None:
        return PodEnd(pod.namespace, pod.name)
    if (service := service_behind(cluster, host)) is not None:
        return ServiceEnd(service.namespace, service.name)
    return _host(cluster, end, host, namespace) if namespace else end


def _host(cluster: Cluster, end: End, host: str, namespace: str) -> End:
    """A host name by the search path of a pod: NAMESPACE.svc.DOMAIN comes first."""
    if (namespace, host) in cluster.services:
        return ServiceEnd(namespace, host)
    pod = pod_called(cluster, f"{host}.{namespace}.svc")
    return PodEnd(pod.namespace, pod.name) if pod is not None else end
