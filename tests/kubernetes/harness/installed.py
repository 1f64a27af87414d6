"""Steppe as docs/install.md installs it: agents and controller are pods that kubelets start."""

import os
import tomllib
from pathlib import Path

from tests.kubernetes.harness import lan
from tests.kubernetes.harness.control_plane import ControlPlane
from tests.kubernetes.harness.guide import Guide
from tests.kubernetes.harness.node import Node
from tests.kubernetes.harness.processes import run
from tests.kubernetes.harness.settings import CHECKOUT, LAN4

IMAGE = CHECKOUT / "dist" / "steppe-image-amd64.tar"
_MADE_OF = ("src/steppe", "shim/src", "tools/image", "requirements.lock", "pyproject.toml")


class Installed(ControlPlane):
    """Nothing of Steppe is started by the harness: the guide's commands do it."""

    runs_agents = False

    @property
    def version(self) -> str:
        """The image's tag."""
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
        return str(project["version"])

    def prepare(self, nodes: dict[str, Node]) -> None:
        """The image is on each node; afterwards the guide can be followed from its section 3."""
        self.nodes = nodes
        places = {"node": self._on_nodes, "laptop": self.laptop, "here": _here}
        self.guide = Guide(places, f"{LAN4}.1")
        self.guide.run("make image", skip=_is_fresh(IMAGE))
        self.guide.run("ctr -n k8s.io images import")

    def install(self) -> None:
        """By the manifest; returns when it is applied."""
        self.guide.run("kubectl -n kube-system create configmap steppe-api-server")
        self.guide.run("kubectl apply -f deploy/steppe.yaml")

    def laptop(self, text: str, folder: Path = CHECKOUT) -> str:
        """A shell command of somebody who has the cluster's kubeconfig, and reaches its API."""
        home = self._home()
        path = f"{home / 'bin'}:{CHECKOUT / '.venv' / 'bin'}:{os.environ['PATH']}"
        given = (f"HOME={home}", f"PATH={path}", f"STEPPE_CACHE={self._settings.cache.parent}")
        return lan.inside("env", f"--chdir={folder}", *given, "bash", "-ec", text)

    def _start_steppe(self) -> None:
        """Not by the harness."""

    def _on_nodes(self, text: str, folder: Path) -> str:
        argv = ("env", f"--chdir={folder}", "bash", "-ec", text)
        return "".join(node.run(*argv) for node in self.nodes.values())

    def _home(self) -> Path:
        """A home with a kubeconfig; kubectl, and helm by the name that people type."""
        home = self.folder / "home"
        if not home.exists():
            for name in (".kube", "bin"):
                (home / name).mkdir(parents=True)
            (home / ".kube" / "config").write_bytes(self.admin.read_bytes())
            (home / "bin" / "kubectl").symlink_to(self._settings.kubernetes("kubectl"))
            (home / "bin" / "helm").symlink_to(CHECKOUT / "tools" / "helm.sh")
        return home


def _is_fresh(image: Path) -> bool:
    """Whether it was made after all that it is made of."""
    if not image.exists():
        return False
    parts = [CHECKOUT / name for name in _MADE_OF]
    files = [f for part in parts for f in (part.rglob("*") if part.is_dir() else [part])]
    changed = max(each.stat().st_mtime for each in files if "__pycache__" not in each.parts)
    return changed < image.stat().st_mtime


def _here(text: str, folder: Path) -> str:
    return run(["env", f"--chdir={folder}", "bash", "-ec", text])


def uninstalled(node: Node) -> str:
    """What Steppe has left in a node's kernel, as text; "" for nothing."""
    # Others' stay: kubelet has some, and the portmap plugin.
    tables = node.run("nft", "list", "tables").splitlines()
    shown = [table for table in tables if "steppe" in table]
    shown += [node.run("ip", "link", "show", "group", "7473")]
    shown.append(node.run("ip", "nexthop", "show", "protocol", "83"))
    for family in ("-4", "-6"):
        rules = node.run("ip", family, "rule", "show").splitlines()
        shown += [rule for rule in rules if "lookup 7473" in rule]
        every = ("table", "all", "protocol", "83")
        shown.append(node.run("ip", family, "route", "show", *every))
    return "".join(shown)
