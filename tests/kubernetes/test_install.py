"""docs/install.md up to a running cluster: in the form `installed` the harness has followed it.

test_uninstall.py goes on from here, when all else has been asked.
"""

import json
import re

import pytest

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.installed import Installed
from tests.kubernetes.harness.settings import API
from tests.kubernetes.workload import Workload

pytestmark = pytest.mark.timeout(900)
EXEC = "kubectl -n kube-system exec daemonset/steppe-agent -- steppe"


def test_the_address_that_the_page_finds_is_the_api_server_s(plane: Installed) -> None:
    assert plane.guide.run("kubectl config view") == API


@pytest.mark.usefixtures("workload")
def test_what_the_page_asks_an_agent_is_answered(plane: Installed, cluster: Cluster) -> None:
    assert "successfully rolled out" in plane.guide.run("kubectl -n kube-system rollout status")
    status, audit = (plane.guide.run(f"{EXEC} {what}") for what in ("status", "audit"))
    assert any(re.search(rf"^{name} +ready ", status, re.MULTILINE) for name in cluster.nodes)
    assert "all as they shall be" in audit


@pytest.mark.usefixtures("workload")
def test_a_laptop_sees_every_node(plane: Installed, cluster: Cluster) -> None:
    status, audit = (plane.guide.run(f"steppe {what}") for what in ("status", "audit"))
    for name in cluster.nodes:
        assert re.search(rf"^{name} +ready ", status, re.MULTILINE), status
        sound = rf"^{name}: \d+ entries, all as they shall be$"
        assert re.search(sound, audit, re.MULTILINE), audit


def test_a_laptop_explains_a_flow_by_the_kernels(plane: Installed, workload: Workload) -> None:
    explain = "steppe explain client svc/web --actual --kubeconfig ~/.kube/config -o json"
    said = json.loads(plane.laptop(explain))
    assert (said["verdict"], said["basis"]) == ("allowed", "kernels"), said["sentence"]
    node, lost = workload.client.node, workload.servers[0].addresses[0]
    node.run("ip", "route", "add", "blackhole", lost)
    try:
        said = json.loads(plane.laptop(f"{explain} || true"))
        dropped = f"{node.name} drops it, by another program's route {lost}/32"
        assert (said["verdict"], dropped in said["sentence"]) == ("partly", True), said["sentence"]
        audit = plane.laptop("steppe audit --kubeconfig ~/.kube/config || true")
        assert f"route {lost}/32 metric 0 blackhole" in audit
    finally:
        node.run("ip", "route", "del", "blackhole", lost)
