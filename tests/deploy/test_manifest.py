"""deploy/steppe.yaml: it belongs to the chart; programs take its flags, an API server its objects.

The chart itself is rendered by `make manifest` only, which needs helm.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from steppe.agent import options
from steppe.controller.__main__ import main as controller
from tests.apiserver.cluster import Server
from tests.deploy.manifest import MANIFEST, ROOT, container, documents, of_kind
from tools import manifest

CHART = ROOT / "deploy" / "chart"
AGENT = ("DaemonSet", "steppe-agent")
CONTROLLER = ("Deployment", "steppe-controller")
WORKLOADS = (AGENT, CONTROLLER)


def pod(kind: str, name: str) -> dict[str, Any]:
    return dict(of_kind(kind, name)[0]["spec"]["template"]["spec"])


def test_the_manifest_was_rendered_from_this_chart() -> None:
    assert manifest.fault() == ""


def test_a_changed_chart_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(manifest, "CHART", tmp_path)
    assert "make manifest" in manifest.fault()


def test_the_charts_policy_crd_is_ours() -> None:
    for crd in manifest.CRDS.glob("*.yaml"):
        assert (CHART / "crds" / crd.name).read_bytes() == crd.read_bytes()
        assert yaml.safe_load(crd.read_bytes()) in documents()


def test_the_charts_version_is_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)
    for workload in WORKLOADS:
        assert container(*workload)["image"] == f"localhost/steppe:{version}"


def test_every_value_has_a_schema_and_every_schema_a_value() -> None:
    def compare(value: Any, schema: dict[str, Any], where: str) -> None:
        if "properties" not in schema:
            return
        assert not schema["additionalProperties"], where
        # `global` is helm's own, for charts that hold this one.
        assert set(value) == set(schema["properties"]) - {"global"}, where
        for name, inner in value.items():
            compare(inner, schema["properties"][name], f"{where}.{name}")

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    compare(values, json.loads((CHART / "values.schema.json").read_text()), "values")


def test_the_agent_takes_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "node-a")
    asked = container(*AGENT)
    assert asked["command"][-1] == "steppe.agent"
    parsed = options.parse(asked["args"])
    mounted = {mount["mountPath"] for mount in asked["volumeMounts"]}
    assert {str(parsed.cni_bin), str(parsed.cni_conf), str(parsed.state_dir)} <= mounted
    # What the chart says by default is what the program does by default.
    assert parsed.settings == options.parse([]).settings
    assert parsed.metrics_listen == options.METRICS
    for probe in ("livenessProbe", "readinessProbe"):
        asks = asked[probe]["httpGet"]
        assert f"{asks['host']}:{asks['port']}" == parsed.metrics_listen


def test_the_controller_takes_its_flags() -> None:
    asked = container(*CONTROLLER)
    assert asked["command"][-1] == "steppe.controller"
    # It reads all flags before it looks for a kubeconfig.
    answer = CliRunner().invoke(controller, [*asked["args"], "--kubeconfig=/nowhere"])
    assert "cannot read kubeconfig /nowhere" in answer.output


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_workload_runs_before_there_is_a_network(workload: tuple[str, str]) -> None:
    asked = pod(*workload)
    assert asked["hostNetwork"]
    assert asked["priorityClassName"].startswith("system-")
    keys = {toleration.get("key", "") for toleration in asked["tolerations"]}
    assert keys & {"", "node.kubernetes.io/not-ready"}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_workload_has_no_right_that_is_not_asked_for(workload: tuple[str, str]) -> None:
    rights = container(*workload)["securityContext"]
    assert rights["capabilities"]["drop"] == ["ALL"]
    assert rights["readOnlyRootFilesystem"]
    assert not rights.get("privileged")


def test_the_agent_has_three_capabilities_and_five_folders_of_the_node() -> None:
    """A change here needs a reason in the chart, and a run of `make test-image`."""
    assert set(container(*AGENT)["securityContext"]["capabilities"]["add"]) == {
        *("NET_ADMIN", "SYS_ADMIN", "DAC_OVERRIDE")
    }
    assert {volume["hostPath"]["path"] for volume in pod(*AGENT)["volumes"]} == {
        *("/run/steppe", "/run/netns", "/opt/cni/bin", "/etc/cni/net.d", "/proc/sys/net")
    }


def test_the_controller_is_nobody() -> None:
    assert pod(*CONTROLLER)["securityContext"]["runAsNonRoot"]
    assert "volumes" not in pod(*CONTROLLER)
    rights = container(*CONTROLLER)["securityContext"]
    assert not rights["allowPrivilegeEscalation"]
    assert "add" not in rights["capabilities"]


def test_a_drain_leaves_one_controller() -> None:
    (budget,) = of_kind("PodDisruptionBudget")
    (deployment,) = of_kind(*CONTROLLER)
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("deploy") / "api")
    made.start()
    yield made
    made.stop()


def test_an_api_server_takes_every_object_and_changes_nothing_the_second_time(
    server: Server,
) -> None:
    command = ["kubectl", f"--kubeconfig={server.kubeconfig}", "apply", "-f", str(MANIFEST)]
    for expected in ({"created"}, {"unchanged"}):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert {line.split()[-1] for line in done.stdout.splitlines()} == expected
        assert len(done.stdout.splitlines()) == len(documents())


def test_lint_finds_nothing_in_the_manifest() -> None:
    command = [sys.executable, "-P", "-c", "from steppe.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "lint", "-f", str(MANIFEST)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
