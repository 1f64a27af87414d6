"""What the harness can be told, by environment variables, and the addresses it uses."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.harness.errors import HarnessError

CHECKOUT = Path(__file__).resolve().parents[3]
PREFIX = "steppe-k8s"
"""How the names of all network namespaces and cgroups of the harness begin."""
LAN = f"{PREFIX}-lan"
"""The control plane's network namespace; nodes' wires end on its bridge."""
LAN4, LAN6 = "172.30.64", "fd00:30:64:"
API = f"https://{LAN4}.1:6443"
SERVICES = ("10.96.0.0/16", "fd00:10:96::/112")
FIRST_SERVICE, DNS_SERVICE = "10.96.0.1", "10.96.0.10"
PODS = ("10.244.0.0/16", "fd00:10:244::/56")
PROGRAMS = (
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"),
    *("etcd", "agnhost"),
)


@dataclass(frozen=True)
class Settings:
    binaries: Path
    """Kubernetes' programs, from build.sh."""
    cache: Path
    """Images, and the state of the one cluster that runs at a time."""
    containerd: Path
    """The folder of containerd, its shim and ctr."""
    nodes: int
    plugin: Path | None
    """The static CNI plugin (`make shim`) that agents install; None: the Python script."""
    agent: tuple[str, ...]
    """Further flags of the agent."""

    @property
    def state(self) -> Path:
        return self.cache / "cluster"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    def kubernetes(self, name: str) -> str:
        return str(self.binaries / name)


def cache_folder() -> Path:
    get = os.environ.get
    home = Path(get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(get("STEPPE_KUBERNETES_CACHE") or home / "steppe" / "kubernetes").absolute()


def settings() -> Settings:
    """From the environment. HarnessError if a program is missing: which, and what makes it."""
    get = os.environ.get
    cache = cache_folder()
    binaries = Path(get("STEPPE_KUBERNETES_BIN") or cache / "bin").absolute()
    missing = [name for name in PROGRAMS if not (binaries / name).exists()]
    if missing:
        raise HarnessError(
            f"{binaries} has no {', '.join(missing)}: `make kubernetes` builds them there"
        )
    found = get("STEPPE_KUBERNETES_CONTAINERD") or _folder_of("containerd")
    if not found:
        raise HarnessError("containerd is missing: apt-get install containerd runc")
    plugin = get("STEPPE_KUBERNETES_PLUGIN", "script")
    return Settings(
        binaries=binaries,
        cache=cache,
        containerd=Path(found),
        nodes=int(get("STEPPE_KUBERNETES_NODES", "3")),
        plugin=None if plugin == "script" else Path(plugin).absolute(),
        agent=tuple(get("STEPPE_KUBERNETES_AGENT", "").split()),
    )


def _folder_of(program: str) -> str | None:
    path = shutil.which(program)
    return str(Path(path).parent) if path else None
