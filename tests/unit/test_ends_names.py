"""Names as people write them: short ones, DNS names of pods, URLs, and what was probably meant."""

import pytest
import yaml

from steppe.ends.end import UnknownEndError
from steppe.ends.parse import parse_end
from steppe.ends.target import resolve
from steppe.errors import SteppeError
from steppe.explain.flow import flow_of
from steppe.kube.cluster import Cluster
from steppe.manifests.cluster import loaded_from
from steppe.manifests.documents import Manifest

WORLD = """
kind: Namespace
metadata: {name: shop}
---
kind: DaemonSet
metadata: {name: agent, namespace: ops}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: x}]}}
---
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: x}]}}
---
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x}]}}
---
kind: Deployment
metadata: {name: web, namespace: other}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x}]}}
---
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
kind: Service
metadata: {name: front, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


def cluster(*more: str) -> Cluster:
    documents = (d for text in (WORLD, *more) for d in yaml.safe_load_all(text))
    return loaded_from(Manifest(document) for document in documents).cluster


CLUSTER = cluster()


@pytest.mark.parametrize(
    ("text", "namespace", "meant"),
    [
        ("ds/ops/agent", "", "ops/agent-node-a"),
        ("ops/agent", "", "ops/agent-node-a"),
        ("agent", "", "ops/agent-node-a"),
        ("ds/agent", "", "ops/agent-node-a"),
        ("web", "shop", "shop/web-0"),
        ("web", "other", "other/web-0"),
        ("deploy/web", "other", "other/web-0"),
        ("deployment/web", "shop", "shop/web-0"),
        ("pod/db-1", "", "shop/db-1"),
        ("pod/db-1", "shop", "shop/db-1"),
        ("front", "shop", "svc/shop/front"),
        ("svc/front", "shop", "svc/shop/front"),
        ("http://front", "shop", "svc/shop/front"),
        ("http://front.shop:8080/x", "", "svc/shop/front"),
        ("front.shop.svc.cluster.local", "other", "svc/shop/front"),
        ("db-1.db.shop.svc", "", "shop/db-1"),
        ("db-1.db.shop.svc.cluster.local", "", "shop/db-1"),
        ("db-1.db.shop", "", "shop/db-1"),
        ("db-1.db", "shop", "shop/db-1"),
        ("postgres://db-0.db.shop.svc/x", "", "shop/db-0"),
        ("shop/web", "other", "shop/web-0"),
    ],
)
def test_a_short_name_means_what_kubectl_or_a_pod_would_mean(
    text: str, namespace: str, meant: str
) -> None:
    assert str(resolve(CLUSTER, text, namespace).target) == meant


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("http://front.shop", "80"),
        ("https://front.shop/x", "443"),
        ("postgresql://u:p@db.shop.svc/name", "5432"),
        ("redis://cache.shop", "6379"),
        ("grpc://front.shop", ""),
        ("redis://cache.shop:7000", "7000"),
    ],
)
def test_a_url_without_a_port_has_its_schemes(text: str, port: str) -> None:
    assert parse_end(text).port == port


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shpo/web", "there is no namespace shpo; did you mean shop?"),
        ("pod/shpo/web-0", "there is no namespace shpo; did you mean shop?"),
        ("deploy/shpo/web", "there is no namespace shpo; did you mean shop?"),
        ("front.shpo.svc", "there is no namespace shpo; did you mean shop?"),
        ("deploy/shop/wep", "no running pod is called after deploy/shop/wep; did you mean"),
        ("shop/wep", "there is no pod shop/wep; did you mean shop/web"),
        ("deplyo/shop/web", "'deplyo' is no kind, did you mean deploy?"),
        ("frnt.shop.svc", "did you mean front.shop.svc"),
        ("svc/shop/frnt", "did you mean svc/shop/front"),
        ("db-7.db.shop.svc", "did you mean"),
    ],
)
def test_what_was_probably_meant_is_said(text: str, said: str) -> None:
    with pytest.raises(UnknownEndError) as error:
        resolve(CLUSTER, text)
    assert said in str(error.value)


def test_a_namespace_called_like_a_kind_is_a_namespace() -> None:
    job = "kind: Pod\nmetadata: {name: web-0, namespace: job}\nspec: {containers: []}\n"
    assert str(resolve(cluster(job), "job/web-0").target) == "job/web-0"


def test_the_name_of_an_address_is_its_pod() -> None:
    pod = CLUSTER.pods["shop", "web-0"]
    dashed = str(pod.addresses[0]).replace(".", "-")
    assert str(resolve(CLUSTER, f"{dashed}.shop.pod.cluster.local").target) == "shop/web-0"


def test_a_service_that_is_not_headless_gives_its_pods_no_names() -> None:
    with pytest.raises(UnknownEndError, match="not headless, so its pods have no names in DNS"):
        resolve(CLUSTER, "web-0.front.shop.svc")


NODES = """
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24, "fd00:1::/64"]}
status: {addresses: [{type: InternalIP, address: 192.0.2.11}]}
---
kind: Service
metadata: {name: out, namespace: shop}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}
"""


@pytest.mark.parametrize("address", ["127.0.0.1:80", "127.8.8.8:80", "[::1]:80", "0.0.0.0:80"])
def test_a_loopback_address_is_the_sender_itself(address: str) -> None:
    flow, notes = flow_of(cluster(NODES), "shop/web-0", address)
    assert str(flow.destination) == "shop/web-0"
    assert "is loopback: shop/web-0 itself" in notes[0]


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("node/n1", "127.0.0.1:30080", "not answered on loopback: use the node's address, node/n1"),
        ("node/n1", "[::1]:30080", "not answered on loopback"),
        ("127.0.0.1", "shop/web-0:80", "name the pod or node that sends"),
        ("internet", "127.0.0.1:80", "no packet to it leaves the sender"),
        ("shop/web-0", "224.0.0.1:80", "is multicast"),
        ("shop/web-0", "[ff02::1]:80", "is multicast"),
        ("shop/web-0", "[fe80::1]:80", "is link-local"),
        ("shop/web-0", "255.255.255.255:67", "is the link's broadcast"),
        ("shop/web-0", "https://kubernetes.default.svc", "is the API server"),
        ("shop/web-0", "kubernetes.default.svc.cluster.local", "is the API server"),
    ],
)
def test_what_loopback_cannot_mean_is_said(source: str, destination: str, said: str) -> None:
    with pytest.raises(SteppeError) as error:
        flow_of(cluster(NODES), source, destination)
    assert said in str(error.value)


def test_the_nodes_loopback_is_the_node() -> None:
    flow, notes = flow_of(cluster(NODES), "node/n1", "127.0.0.1:10250")
    assert str(flow.destination) == "node/n1"
    assert "is loopback: node/n1 itself" in notes[0]


def test_the_namespace_of_n_has_to_exist() -> None:
    with pytest.raises(UnknownEndError, match="there is no namespace shpo; did you mean shop"):
        resolve(CLUSTER, "web", "shpo")
