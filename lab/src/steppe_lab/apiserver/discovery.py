"""Which groups, versions and resources there are: the old documents and the aggregated one."""

from steppe.admission.model import Json
from steppe_lab.apiserver.kinds import Kind
from steppe_lab.apiserver.registry import Registry

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "finalize": ("update",),
    "log": ("get",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "ephemeralcontainers": ("get", "patch", "update"),
}
# Subresources whose body is of another kind than their resource.
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
}
# Kinds that are asked and answered, never stored.
REVIEWS: dict[tuple[str, str], tuple[tuple[str, str, bool], ...]] = {
    ("authorization.k8s.io", "v1"): (
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
        ("subjectaccessreviews", "SubjectAccessReview", False),
        ("localsubjectaccessreviews", "LocalSubjectAccessReview", True),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
    ),
    ("authentication.k8s.io", "v1"): (
        ("tokenreviews", "TokenReview", False),
        ("selfsubjectreviews", "SelfSubjectReview", False),
    ),
}


def groups(registry: Registry) -> dict[str, list[str]]:
    """Every group with its versions, the reviews' included."""
    found = registry.groups()
    for group, version in REVIEWS:
        found.setdefault(group, [version])
    return found


def api_versions(server: str) -> Json:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    }


def api_group(group: str, versions: list[str]) -> Json:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": entries,
        "preferredVersion": entries[0],
    }


def api_group_list(registry: Registry) -> Json:
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            api_group(group, versions) for group, versions in groups(registry).items() if group
        ],
    }


def _resource(kind: Kind) -> Json:
    resource: Json = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(_VERBS),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    return resource


def _subresource(kind: Kind, name: str) -> Json:
    group, version, other = _SUBRESOURCE_KINDS.get(name, ("", "", kind.kind))
    resource: Json = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": other,
        "verbs": list(_SUBRESOURCE_VERBS.get(name, ("create",))),
    }
    if version:
        resource |= {"group": group, "version": version}
    return resource


def _review(plural: str, kind: str, namespaced: bool) -> Json:
    return {
        "name": plural,
        "singularName": kind.lower(),
        "namespaced": namespaced,
        "kind": kind,
        "verbs": ["create"],
    }


def api_resource_list(registry: Registry, group: str, version: str) -> Json | None:
    """All resources of one group version; None if it is not served."""
    resources: list[Json] = []
    for kind in registry.of_version(group, version):
        resources.append(_resource(kind))
        resources += [_subresource(kind, name) for name in kind.subresources]
    resources += [_review(*review) for review in REVIEWS.get((group, version), ())]
    if not resources:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def aggregated(registry: Registry, *, core: bool, version: str) -> Json:
    """apidiscovery.k8s.io's APIGroupDiscoveryList: all of /api or /apis in one document."""
    items = []
    for group, versions in groups(registry).items():
        if core == bool(group):
            continue
        described = [
            {
                "version": name,
                "resources": _aggregated_resources(registry, group, name),
                "freshness": "Current",
            }
            for name in versions
        ]
        items.append({"metadata": {"name": group} if group else {}, "versions": described})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _response_kind(group: str, version: str, kind: str) -> Json:
    return {"group": group, "version": version, "kind": kind}


def _aggregated_resources(registry: Registry, group: str, version: str) -> list[Json]:
    resources: list[Json] = []
    for kind in registry.of_version(group, version):
        resource: Json = {
            "resource": kind.plural,
            "responseKind": _response_kind(group, version, kind.kind),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": list(_VERBS),
        }
        if kind.short_names:
            resource["shortNames"] = list(kind.short_names)
        if kind.categories:
            resource["categories"] = list(kind.categories)
        if kind.subresources:
            resource["subresources"] = [
                {
                    "subresource": name,
                    "responseKind": _response_kind(
                        *_SUBRESOURCE_KINDS.get(name, (group, version, kind.kind))
                    ),
                    "verbs": list(_SUBRESOURCE_VERBS.get(name, ("create",))),
                }
                for name in kind.subresources
            ]
        resources.append(resource)
    for plural, kind_name, namespaced in REVIEWS.get((group, version), ()):
        resources.append(
            {
                "resource": plural,
                "responseKind": _response_kind(group, version, kind_name),
                "scope": "Namespaced" if namespaced else "Cluster",
                "singularResource": kind_name.lower(),
                "verbs": ["create"],
            }
        )
    return resources
