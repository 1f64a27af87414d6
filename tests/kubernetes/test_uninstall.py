"""The rest of docs/install.md: taken away, installed by helm, upgraded and back, an empty kernel.

The pods of the other tests live through all but the last; the order of tests is the page's.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.installed import Installed, uninstalled
from tests.kubernetes.harness.settings import CHECKOUT
from tests.kubernetes.workload import PODS, Workload
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)
OLD = "0.0.9"
"""A version before this one: this one's image under another name, and a chart that names it."""
IMAGE = "localhost/steppe"
AGENTS = "kubectl -n kube-system rollout status daemonset/steppe-agent --timeout=300s"
KINDS = "daemonset,deployment,pdb,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,ns"
OBJECTS = f"kubectl get {KINDS} -A -l app.kubernetes.io/name=steppe -o name"
IN_PODS = (
    "kubectl -n kube-system get pods -l app.kubernetes.io/component=agent "
    "-o jsonpath='{.items[*].spec.containers[*].image}'"
)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like this repository, at the version before."""
    folder = tmp_path_factory.mktemp("old")
    shutil.copytree(CHECKOUT / "deploy", folder / "deploy")
    chart = folder / "deploy" / "chart" / "Chart.yaml"
    text = re.sub(
        "^(version|appVersion): .*$", rf"\1: {OLD}", chart.read_text(), flags=re.MULTILINE
    )
    chart.write_text(text)
    return folder


def test_without_steppe_s_pods_the_other_pods_keep_their_network(
    plane: Installed, workload: Workload
) -> None:
    with workload.traffic() as traffic:
        for command in (
            "kubectl -n kube-system delete daemonset,",
            "kubectl delete clusterrole",
            "kubectl -n kube-system delete configmap",
            "kubectl -n kube-system delete lease",
        ):
            plane.guide.run(command)
        gone = "kubectl -n kube-system get pods -l app.kubernetes.io/name=steppe -o name"
        until(lambda: not plane.laptop(gone), 60, "Steppe's pods are gone")
        assert traffic.ended(at_least=500)["failed"] == []
    assert plane.laptop(OBJECTS) == ""


def test_an_upgrade_by_helm_and_the_way_back_lose_no_connection(
    plane: Installed, workload: Workload, cluster: Cluster, old: Path, say: Callable[[str], None]
) -> None:
    for node in cluster.nodes.values():
        version = plane.version
        node.ctr("images", "tag", "--force", f"{IMAGE}:{version}", f"{IMAGE}:{OLD}")
    plane.guide.run("helm install", old)
    plane.laptop(AGENTS)
    for command, version in (("helm upgrade", plane.version), ("helm rollback", OLD)):
        with workload.traffic() as traffic:
            plane.guide.run(command)
            plane.laptop(AGENTS)
            result = traffic.ended(at_least=500)
        say(f"{command}: {result}")
        assert result["failed"] == [], command
        assert set(plane.laptop(IN_PODS).split()) == {f"{IMAGE}:{version}"}, command
    plane.guide.run("kubectl apply -f deploy/chart/crds/")


def test_after_the_page_s_last_section_nothing_is_left(plane: Installed, cluster: Cluster) -> None:
    plane.guide.run("helm uninstall")
    until(
        lambda: not plane.laptop(OBJECTS),
        60,
        "the namespace is gone too, which helm does not await",
    )
    for name in [each["metadata"]["name"] for each in cluster.api.get(PODS)["items"]]:
        cluster.api.delete(f"{PODS}/{name}")
    for node in cluster.nodes.values():
        assert "table inet steppe" in uninstalled(node), "there is nothing to take away"
    for command in ("rm ", "nft delete", "ip link delete group"):
        plane.guide.run(command)
    plane.guide.run("ip link delete steppe-vxlan", must=False)  # these nodes share a network
    for family in ("-4", "-6"):
        for what in ("rule", "route"):
            plane.guide.run(f"ip {family} {what} flush")
    plane.guide.run("ip nexthop flush")
    assert {name: uninstalled(node) for name, node in cluster.nodes.items()} == dict.fromkeys(
        cluster.nodes, ""
    )


def test_every_command_of_the_page_was_run(plane: Installed) -> None:
    assert plane.guide.left == []
