"""Runs a container of deploy/steppe.yaml with runc: its rights, its mounts, its read-only root.

What Kubernetes' runtimes add by themselves is added here too, as runc's own default specification
has it: namespaces, masked and read-only paths below /proc, no devices of the machine.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.deploy.manifest import container, of_kind
from tests.waiting import patience, until


def spec(
    kind: str, name: str, *, root: Path, netns: str, places: dict[str, Path]
) -> dict[str, Any]:
    """The OCI runtime specification of a workload's container.

    `places`: where the folders of the node, that it mounts, are on this machine. `netns`: the
    namespace that stands for the node's own, in which pods of the host's network are.
    """
    subprocess.run(["runc", "spec", "--bundle", str(root.parent)], check=True)
    path = root.parent / "config.json"
    document: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    asked = container(kind, name)
    pod = of_kind(kind, name)[0]["spec"]["template"]["spec"]
    rights = pod.get("securityContext", {}) | asked["securityContext"]
    added = [f"CAP_{each}" for each in rights["capabilities"].get("add", ())]
    user = rights["runAsUser"]
    # A runtime gives added capabilities to root only; others have them in the bounding set.
    sets = ("bounding", "effective", "permitted", "inheritable", "ambient")
    capabilities = {each: added if user == 0 else [] for each in sets}
    document["root"] = {"path": str(root), "readonly": rights["readOnlyRootFilesystem"]}
    document["process"] |= {
        "terminal": False,
        "user": {"uid": user, "gid": rights.get("runAsGroup", 0)},
        "args": [*asked["command"], *asked["args"]],
        "capabilities": capabilities,
        "noNewPrivileges": not rights.get("allowPrivilegeEscalation", True),
    }
    document["process"]["rlimits"] = []
    document["mounts"] += _mounts(pod, asked, places)
    for namespace in document["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = f"/run/netns/{netns}"
    return document


def _mounts(
    pod: dict[str, Any], asked: dict[str, Any], places: dict[str, Path]
) -> list[dict[str, Any]]:
    volumes = {each["name"]: each["hostPath"]["path"] for each in pod.get("volumes", ())}
    found = []
    for mount in asked.get("volumeMounts", ()):
        source = volumes[mount["name"]]
        options = ["rbind", "ro" if mount.get("readOnly") else "rw"]
        follows = mount.get("mountPropagation") == "HostToContainer"
        options.append("rslave" if follows else "rprivate")
        where = str(places.get(source, source))
        found.append(
            {
                "destination": mount["mountPath"],
                "type": "bind",
                "source": where,
                "options": options,
            }
        )
    return found


class Running:
    """A container that runs until the context ends; its output is a file."""

    def __init__(self, name: str, bundle: Path, document: dict[str, Any]) -> None:
        self.name, self.bundle = name, bundle
        self.log = bundle / "log"
        (bundle / "config.json").write_text(json.dumps(document))

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["runc", "run", "--bundle", str(self.bundle), self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait for the condition; fail with the container's own words, at once if it has ended."""
        try:
            until(lambda: self.process.poll() is not None or condition(), seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()}") from None
        assert self.process.poll() is None, self.log.read_text()

    def run(self, *command: str, check: bool = True) -> str:
        """What a program prints inside, as `kubectl exec` shows it."""
        done = subprocess.run(
            ["runc", "exec", self.name, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=patience(60),
        )
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, said
        return said

    def __exit__(self, *_: object) -> None:
        subprocess.run(["runc", "kill", self.name, "TERM"], check=False, capture_output=True)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            subprocess.run(["runc", "kill", self.name, "KILL"], check=False, capture_output=True)
            self.process.wait(20)
        subprocess.run(["runc", "delete", "--force", self.name], check=False, capture_output=True)
