"""The kinds of objects that Steppe uses, and their URL paths.

A server may not have all of them, or one of them in an older version only. This module does not do
discovery: who gets 404 for a kind asks for its next version (`versions`).
"""

from urllib.parse import quote

import msgspec

from steppe.kube.kinds import GROUP_OF, is_cluster_wide


class Resource(msgspec.Struct, frozen=True):
    """One resource of the API, as discovery names it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    older: tuple[str, ...] = ()
    """Versions with the same schema, for servers that do not serve `version`; the newest first."""

    @property
    def versions(self) -> tuple["Resource", ...]:
        """The resource in each version, in the order in which to ask for them."""
        older = (msgspec.structs.replace(self, version=each, older=()) for each in self.older)
        return (self, *older)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, of an object or of its subresource."""
        # "/api/v1" is the legacy core group; every other group is under "/apis/GROUP/VERSION".
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts += subresource.split("/")
        return "/" + "/".join(quote(part, safe="") for part in parts)


def _resource(kind: str, plural: str, version: str = "v1", *older: str) -> Resource:
    group = GROUP_OF[kind]
    namespaced = not is_cluster_wide(kind, group)
    return Resource(group, version, plural, kind, namespaced, older)


NAMESPACES = _resource("Namespace", "namespaces")
NODES = _resource("Node", "nodes")
PODS = _resource("Pod", "pods")
SERVICES = _resource("Service", "services")
ENDPOINTS = _resource("Endpoints", "endpoints")
CONFIGMAPS = _resource("ConfigMap", "configmaps")
SECRETS = _resource("Secret", "secrets")
SERVICEACCOUNTS = _resource("ServiceAccount", "serviceaccounts")
EVENTS = _resource("Event", "events")
DEPLOYMENTS = _resource("Deployment", "deployments")
REPLICASETS = _resource("ReplicaSet", "replicasets")
DAEMONSETS = _resource("DaemonSet", "daemonsets")
STATEFULSETS = _resource("StatefulSet", "statefulsets")
ENDPOINTSLICES = _resource("EndpointSlice", "endpointslices")
LEASES = _resource("Lease", "leases")
NETWORKPOLICIES = _resource("NetworkPolicy", "networkpolicies")
SERVICECIDRS = _resource("ServiceCIDR", "servicecidrs")
CLUSTERNETWORKPOLICIES = _resource(
    "ClusterNetworkPolicy", "clusternetworkpolicies", "v1beta1", "v1alpha2"
)
"""The policy API's bundle v0.3.0 serves both versions and stores v1beta1; v0.2.0 has the older."""
ADMINNETWORKPOLICIES = _resource("AdminNetworkPolicy", "adminnetworkpolicies", "v1alpha1")
BASELINEADMINNETWORKPOLICIES = _resource(
    "BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies", "v1alpha1"
)
BGPPEERS = _resource("BGPPeer", "bgppeers", "v1alpha1")
BGPSETTINGS = _resource("BGPSettings", "bgpsettings", "v1alpha1")
INGRESSES = _resource("Ingress", "ingresses")
CRDS = _resource("CustomResourceDefinition", "customresourcedefinitions")
