"""`steppe status --kubeconfig`: a whole cluster, by what its agents report to the API."""

import json
import os
import signal
import subprocess
from typing import Any

import pytest

from tests.lab.conftest import STEPPE, Lab
from tests.waiting import patience, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

LEASE = ("--namespace=steppe-status", "lease", "steppe-agent-node-b")
ODD_POLICY = {
    "apiVersion": "policy.networking.k8s.io/v1beta1",
    "kind": "ClusterNetworkPolicy",
    "metadata": {"name": "odd"},
    "spec": {
        "tier": "Baseline",
        "priority": 1,
        "subject": {"namespaces": {}},
        "egress": [{"action": "Accept", "to": [{"domainNames": ["example.org"]}]}],
    },
}


def status(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    kubeconfig = lab.record()["kubeconfig"]
    argv = [*STEPPE, "status", "--kubeconfig", kubeconfig, *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=patience(60), cwd="/"
    )


def reported(lab: Lab) -> dict[str, dict[str, Any]]:
    document = json.loads(status(lab, "-o", "json").stdout)
    assert document["schema"] == "steppe.status/v1"
    return {each["node"]: each for each in document["nodes"]}


def test_the_whole_cluster_is_told_of_from_afar(make_lab) -> None:
    lab = make_lab("report", "--nodes", "2")

    def all_is_well() -> bool:
        return status(lab).returncode == 0

    until(all_is_well, 30, "both agents have reported that all is well")
    first, second = reported(lab).values()
    assert (first["node"], second["node"]) == ("node-a", "node-b")
    assert (first["ready"], second["ready"]) == (True, True)
    assert first["fabric"] == second["fabric"] == "auto"
    assert first["version"] == second["version"] != ""
    assert (first["nodes"], second["nodes"]) == (2, 2)
    assert [
        each["node"] for each in reported(lab).values() if each["reportedSecondsAgo"] > 90
    ] == []
    assert "node-a" not in status(lab, "--node", "node-b").stdout
    assert status(lab, "--node", "nowhere").returncode == 2

    policy = lab.root / "odd.json"
    policy.write_text(json.dumps(ODD_POLICY))
    lab.kubectl("apply", "-f", str(policy))
    seen = "(seen by node-a, node-b)"
    until(lambda: seen in status(lab).stdout, 30, "both agents report the Problem")
    told = status(lab)
    assert told.returncode == 1
    assert "ClusterNetworkPolicy/odd spec.egress[0].to[0]" in told.stdout
    assert "domainNames" in told.stdout
    lab.kubectl("delete", "-f", str(policy))
    until(all_is_well, 30, "the Problem is no longer reported")

    (agent,) = (p for p in lab.record()["processes"] if p["name"] == "agent/node-b")
    os.kill(agent["pid"], signal.SIGKILL)
    old = {"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}}
    lab.kubectl("patch", *LEASE, "--type=merge", "-p", json.dumps(old))
    told = status(lab)
    assert told.returncode == 1
    assert "node-b  not known" in told.stdout
    assert "node-b: the last report came" in told.stderr
    lab.kubectl("delete", *LEASE)
    told = status(lab)
    assert "node-b: no report: its agent does not run" in told.stderr
    assert "node-a  ready" in told.stdout
    assert status(lab, "--node", "node-a").returncode == 0
