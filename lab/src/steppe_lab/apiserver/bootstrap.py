"""What every cluster has from its first second: namespaces, the API's Service, service ranges."""

from ipaddress import ip_network

from steppe.admission.model import Json
from steppe.errors import SteppeError
from steppe_lab.apiserver.api import Api, Call
from steppe_lab.apiserver.kinds import Kind
from steppe_lab.apiserver.negotiation import Form
from steppe_lab.apiserver.routing import Target
from steppe_lab.apiserver.verbs.write import create_object

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class BootstrapError(SteppeError):
    """A kind that every cluster has is not among the built-in ones."""


def bootstrap(api: Api, service_ranges: tuple[str, ...], api_port: int) -> None:
    """Create what is missing; whatever exists stays as it is."""
    namespaces = _kind(api, "namespaces")
    for name in _NAMESPACES:
        _ensure(api, namespaces, "", {"metadata": {"name": name}})
    for name in _NAMESPACES:
        account: Json = {"metadata": {"name": "default"}}
        _ensure(api, _kind(api, "serviceaccounts"), name, account)
    _ensure(api, _kind(api, "services"), "default", _api_service(service_ranges[0], api_port))
    range_: Json = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": list(service_ranges)}}
    _ensure(api, _kind(api, "servicecidrs", "networking.k8s.io"), "", range_)


def _api_service(service_range: str, port: int) -> Json:
    """Service default/kubernetes: the first address of the service range, one family."""
    address = str(ip_network(service_range)[1])
    return {
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    }


def _kind(api: Api, plural: str, group: str = "") -> Kind:
    kind = api.registry.find(group, "v1", plural)
    if kind is None:
        raise BootstrapError(f"no built-in kind {plural}")
    return kind


def _ensure(api: Api, kind: Kind, namespace: str, obj: Json) -> None:
    name = obj["metadata"]["name"]
    if (namespace, name) in api.collection(kind).records:
        return
    call = Call("POST", Target(kind, namespace), {}, Form(), agent="steppe-apiserver")
    create_object(api, call, obj)
