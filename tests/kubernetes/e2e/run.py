"""Runs groups of Kubernetes' e2e tests on a cluster, in parallel, by ginkgo."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kubernetes.e2e import page, results
from tests.kubernetes.e2e.groups import GROUPS, LEFT_OUT
from tests.kubernetes.harness.cluster import Cluster
from tests.kubernetes.harness.control_plane import ControlPlane
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.settings import LAN

PROGRAMS = ("e2e.test", "ginkgo")


def run(cluster: Cluster, groups: tuple[str, ...], say: Callable[[str], None]) -> bool:
    """Run them one after the other, and make the page anew after each; whether none has failed."""
    plane = cluster.plane
    if not isinstance(plane, ControlPlane):
        raise HarnessError("Kubernetes' e2e tests need kubelets")
    sound = True
    for group in groups or tuple(GROUPS):
        say(f"e2e tests: {group}")
        found = _found(cluster, plane, group)
        results.keep(_about(cluster), found)
        page.PAGE.write_text(page.made(results.kept()))
        rows = {name: row for name, row in found.items() if row["group"] == group}
        failed = [name for name, row in rows.items() if row["result"] == "failed"]
        for name in failed:
            say(f"failed: {name}: {rows[name]['said']}")
        passed = sum(row["result"] == "passed" for row in rows.values())
        say(f"{group}: {passed} passed, {len(failed)} failed; {page.PAGE} is made anew")
        sound = sound and not failed
    return sound


def _found(cluster: Cluster, plane: ControlPlane, group: str) -> dict[str, dict[str, Any]]:
    report = plane.folder / "e2e" / "report.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    subprocess.run(_argv(cluster, plane, group, report), check=False)
    if not report.exists():
        raise HarnessError("ginkgo has written no report; what it says is above")
    return results.read(report)


def _argv(cluster: Cluster, plane: ControlPlane, group: str, report: Path) -> list[str]:
    program = cluster.settings.kubernetes
    given = {
        "kubeconfig": str(plane.admin),
        "kubectl-path": program("kubectl"),
        "provider": "local",
        "num-nodes": str(len(cluster.nodes)),
        "allowed-not-ready-nodes": "-1",
        "dns-domain": "cluster.local",
        "disable-log-dump": "true",
    }
    own = (
        *(program("ginkgo"), "--no-color", f"--procs={os.environ.get('STEPPE_E2E_PROCS', '4')}"),
        *("--timeout=3h", f"--focus={GROUPS[group]}", f"--skip={'|'.join(LEFT_OUT)}"),
        *(f"--output-dir={report.parent}", f"--json-report={report.name}"),
    )
    tests = (program("e2e.test"), "--", *(f"--{name}={value}" for name, value in given.items()))
    return ["ip", "netns", "exec", LAN, *own, *tests]


def _about(cluster: Cluster) -> dict[str, str]:
    """What the tests ran on."""
    node = next(iter(cluster.nodes.values()))
    runtime = node.run("containerd", "--version").split()[2]
    said = cluster.api.get("/version")
    return {"Kubernetes": said["gitVersion"], "containerd": runtime}
