"""Service default/kubernetes, which every cluster has and no manifest: assumed where it is asked
for, with endpoints that nobody knows.
"""

import re
from collections.abc import Iterable

import msgspec

from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.doubt import Doubt, EndpointsInDoubt
from steppe.kube.policies import Namespace
from steppe.kube.service_wire import Service
from steppe.kube.services import service_from
from steppe.manifests.cluster import NAMESPACE_LABEL, Loaded
from steppe.manifests.documents import Json
from steppe.manifests.numbering import FIRST_ADDRESSES

_ASKED = re.compile(r"(^|/)default/kubernetes\b|\bkubernetes\.default\b")
_REF = ObjectRef("Service", "default", "kubernetes")


def with_api_service(loaded: Loaded, asked: Iterable[str]) -> Loaded:
    """The cluster with the API's Service, if one of these ends is it and no document has it."""
    if _REF in loaded.objects or not any(map(_ASKED.search, asked)):
        return loaded
    document: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _REF.name, "namespace": _REF.namespace},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": FIRST_ADDRESSES["IPv4"],
            "clusterIPs": [FIRST_ADDRESSES["IPv4"]],
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "https", "protocol": "TCP", "port": 443}],
        },
    }
    space = ObjectRef("Namespace", "", _REF.namespace)
    metadata: Json = {"name": space.name, "labels": {NAMESPACE_LABEL: space.name}}
    spaces: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    service, _ = service_from(msgspec.convert(document, Service))
    text = "every cluster has it, and manifests do not say where its API servers are"
    about = EndpointsInDoubt(_REF.namespace, _REF.name)
    cluster = loaded.cluster
    known = cluster.namespaces.get(space.name) or Namespace(space.name, metadata["labels"])
    return msgspec.structs.replace(
        loaded,
        cluster=msgspec.structs.replace(
            cluster,
            namespaces={**cluster.namespaces, space.name: known},
            services={**cluster.services, (_REF.namespace, _REF.name): service},
            doubts=(*cluster.doubts, Doubt(Cause(_REF), text, about)),
        ),
        invented=loaded.invented | {_REF},
        objects={space: spaces, **loaded.objects, _REF: document},
    )
