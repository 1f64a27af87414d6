"""One node: its namespaces, containerd, kubelet and Steppe's agent."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.kubernetes.harness import cgroups, lan
from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.processes import Server, run, wait
from tests.kubernetes.harness.settings import CHECKOUT, DNS_SERVICE, Settings

_HERE = Path(__file__).parent
_REFERENCE_PLUGINS = ("loopback", "portmap", "host-local")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMAGES = "k8s.io"
"""containerd's namespace of the kubelet."""


class Node:
    """Namespaces net, mnt, pid, uts, ipc and cgroup; all of it ends with its init."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self.name = name
        self.folder = settings.state / "nodes" / name
        self.addresses = lan.addresses(name)
        self._init: Server | None = None
        self._pid = 0
        self._servers: dict[str, Server] = {}

    def make(self, pause: Path) -> None:
        for name in ("containerd", "kubelet", "pod-logs", "cni-conf", "cni-bin"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._copy_plugins()
        namespace = lan.attach(self.name)
        self._cgroups.write_text("".join(f"{one}\n" for one in cgroups.make(self.name)))
        told = {
            "NODE": self.name,
            "FOLDER": str(self.folder),
            "STATE": str(self._settings.state),
            "BINDS": " ".join(self._binds()),
            "INIT": str(pause),
        }
        kinds = ("--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child=KILL")
        inside = ("nsenter", f"--net=/run/netns/{namespace}", "unshare", *kinds)
        root = ("env", *(f"{key}={value}" for key, value in told.items()), _HERE / "node_root.sh")
        argv = (_HERE / "enter.sh", self._cgroups, "0", *inside, *root)
        self._init = Server(argv, self.folder / "log" / "init.log")
        wait(self._started, 20, f"the root of {self.name}", self._init)
        (self.folder / "init").write_text(str(self._pid))

    def run(self, *argv: str | Path, check: bool = True) -> str:
        """In the node's namespaces and cgroup; standard output."""
        return run(self._inside(argv), check=check)

    def serve(self, name: str, *argv: str | Path) -> Server:
        return self.serve_outside(name, self._inside(argv))

    def serve_outside(self, name: str, argv: Sequence[str | Path]) -> Server:
        """A command that enters the node by itself (`in_pod`)."""
        self._servers[name] = Server(argv, self.folder / "log" / f"{name}.log")
        return self._servers[name]

    def start_containerd(self) -> None:
        config = self.folder / "containerd.toml"
        config.write_text((_HERE / "containerd.toml").read_text())
        server = self.serve("containerd", "containerd", "--config", config)
        wait(lambda: self.ctr("version", check=False), 60, f"containerd of {self.name}", server)

    def ctr(self, *argv: str | Path, check: bool = True) -> str:
        return self.run("ctr", "--namespace", _IMAGES, *argv, check=check)

    def import_images(self, archive: Path) -> None:
        """Once: containerd's folder outlives the cluster."""
        stamp = self.folder / "imported"
        have = f"{archive.stat().st_size} {archive.stat().st_mtime_ns}"
        if not stamp.exists() or stamp.read_text() != have:
            self.ctr("images", "import", archive)
            stamp.write_text(have)

    def start_kubelet(self, kubeconfig: Path, authority: Path) -> None:
        document = yaml.safe_load((_HERE / "kubelet.yaml").read_text())
        document["authentication"]["x509"] = {"clientCAFile": str(authority)}
        document["clusterDNS"] = [DNS_SERVICE]
        config = self.folder / "kubelet.yaml"
        config.write_text(yaml.safe_dump(document))
        self.serve(
            "kubelet",
            *(self._settings.kubernetes("kubelet"), f"--config={config}"),
            *(f"--kubeconfig={kubeconfig}", f"--hostname-override={self.name}"),
            *(f"--node-ip={','.join(self.addresses)}", "--cert-dir=/var/lib/kubelet/pki"),
        )

    def start_agent(self, kubeconfig: Path) -> None:
        plugin = self._settings.plugin
        self.serve(
            "agent",
            *(sys.executable, "-P", "-m", "steppe.agent", "--node", self.name),
            *("--kubeconfig", kubeconfig),
            *("--cni-bin", "/opt/cni/bin", "--cni-conf", "/etc/cni/net.d"),
            *(("--cni-plugin", plugin) if plugin else ()),
            *self._settings.agent,
        )

    def agent_ready(self) -> bool:
        ask = ("curl", "--silent", "--fail", "--output", "/dev/null", "--write-out", "%{http_code}")
        return self.run(*ask, "http://127.0.0.1:9465/readyz", check=False) == "200"

    def kill_agent(self) -> None:
        """kill -9, as the kernel's OOM killer would: of the agent itself, found by its command."""
        listed = self.run("pgrep", "--full", "--", "-m steppe[.]agent --").split()
        self.run("kill", "-9", *listed)
        if "agent" in self._servers:
            self._servers["agent"].kill()

    def steppe(self, *argv: str, check: bool = True) -> str:
        """Steppe's command in the node."""
        return self.run(Path(sys.executable).with_name("steppe"), *argv, check=check)

    def in_pod(self, address: str, *argv: str | Path) -> list[str]:
        """The command that runs a program of this machine in a pod's network namespace."""
        listing = "for n in /run/netns/*; do echo $n; nsenter --net=$n ip -json address; done"
        lines = self.run("sh", "-c", listing).splitlines()
        for path, links in zip(lines[::2], lines[1::2], strict=True):
            have = {one.get("local") for link in json.loads(links) for one in link["addr_info"]}
            if address in have:
                return self._inside(("nsenter", f"--net={path}", *argv))
        raise HarnessError(f"{self.name} has no pod with address {address}")

    def stop(self) -> None:
        """Power off: pods, mounts and processes end with init; the folders on disk stay."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        for server in (*self._servers.values(), *((self._init,) if self._init else ())):
            server.kill()
        self._pid = 0
        # Nothing in kubelet's state may outlive the API's objects.
        for name in ("kubelet", "pod-logs", "cni-conf", "cni-bin"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    @property
    def _cgroups(self) -> Path:
        return self.folder / "cgroups"

    def _started(self) -> bool:
        """Whether init is there; remembers its number."""
        listed = run(["pgrep", "--parent", str(self._init.pid)], check=False) if self._init else ""
        for child in listed.split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "init":
                self._pid = int(child)
        return self._pid > 0

    def _inside(self, argv: Sequence[str | Path]) -> list[str]:
        path = f"{self._settings.containerd}:{_PATH}"
        clean = ("env", "--ignore-environment", f"PATH={path}", "HOME=/root", "PYTHONUNBUFFERED=1")
        words = (_HERE / "enter.sh", self._cgroups, self._pid, *clean, *argv)
        return [str(word) for word in words]

    def _copy_plugins(self) -> None:
        for folder in (self._settings.binaries / "cni", Path("/usr/lib/cni")):
            if (folder / "loopback").exists():
                for name in _REFERENCE_PLUGINS:
                    shutil.copy(folder / name, self.folder / "cni-bin" / name)
                return
        raise HarnessError(
            "the reference CNI plugins are missing: make kubernetes, or apt-get "
            "install containernetworking-plugins"
        )

    def _binds(self) -> list[str]:
        """Folders of this machine that are no part of the file system at /."""
        plugin = self._settings.plugin
        wanted = [CHECKOUT, self._settings.binaries, Path(sys.base_prefix)]
        wanted += [plugin.parent] if plugin else []
        device = Path("/").stat().st_dev
        return [str(one) for one in wanted if one.stat().st_dev != device]
