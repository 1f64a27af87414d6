"""The sender's address as a Service's receiver sees it: the promise and the tables say the same."""

from ipaddress import ip_address

import pytest

from steppe.explain.explain import Explainer
from steppe.explain.tables import compiled
from steppe.kube.cluster import cluster_of
from steppe.kube.services import Endpoint
from steppe.settings import Settings
from tests.unit.test_explain import CLIENT, NODES, SERVER, SPACE, service, slice_to

HERE, THERE = NODES
OUTSIDE = "203.0.113.9"
ITSELF = Endpoint(CLIENT.addresses[0], HERE.name)
OTHER = Endpoint(SERVER.addresses[0], THERE.name)
A, B = HERE.addresses[0], THERE.addresses[0]
OWN = CLIENT.addresses[0]

CASES = [
    ("a pod that is its own endpoint", "default/client", "svc/default/web:80", ITSELF, {}, A),
    ("by its node's port", "default/client", f"{A}:30080", ITSELF, {}, A),
    ("by its node's port, of local policy", "default/client", f"{A}:30080", ITSELF,
     {"external_local": True}, A),
    ("by another node's port", "default/client", f"{B}:30080", ITSELF, {}, B),
    ("another pod", "default/client", "svc/default/web:80", OTHER, {}, OWN),
    ("from outside to a pod of the node", OUTSIDE, f"{A}:30080", ITSELF, {}, A),
    ("from outside to another node's pod", OUTSIDE, f"{A}:30080", OTHER, {}, A),
    ("from outside, of local policy", OUTSIDE, f"{A}:30080", ITSELF, {"external_local": True},
     ip_address(OUTSIDE)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "to", "endpoint", "fields", "seen"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_receiver_sees(source, to, endpoint, fields, seen) -> None:
    cluster = cluster_of(
        NODES,
        [CLIENT, SERVER],
        [SPACE],
        services=[service(**fields)],
        slices=[slice_to(endpoint)],
    )
    for tables in (None, compiled(Settings(fabric="vxlan"))):
        explainer = Explainer(cluster, tables)
        flow, _ = explainer.flow(source, to)
        said = explainer.explain(flow)
        (path,) = [path for case in said.cases for path in case.paths]
        assert (path.fate, path.received.source) == ("delivered", seen), said.basis
