"""etcd, API server, controller manager, scheduler and Steppe's controller, as plain processes."""

import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from steppe_lab.manifests import STATUS_NAMESPACE
from tests.kubernetes.harness import lan
from tests.kubernetes.harness.api import Api
from tests.kubernetes.harness.certificates import Authority
from tests.kubernetes.harness.node import Node
from tests.kubernetes.harness.processes import Server, wait
from tests.kubernetes.harness.settings import (
    API,
    DNS_SERVICE,
    FIRST_SERVICE,
    LAN,
    LAN4,
    LAN6,
    PODS,
    SERVICES,
    Settings,
)

_ETCD = "http://127.0.0.1:2379"


class ControlPlane:
    """All in the LAN's network namespace, ended in the reverse order."""

    kubelets = True
    runs_agents = True
    """Whether the harness starts them, as processes; else they are pods."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.state / "control-plane"
        self.authority = Authority(self.folder / "pki")
        self.admin = self.authority.kubeconfig("admin", API, "admin", "system:masters")
        self.agent = self.authority.kubeconfig("steppe-agent", API, "steppe-agent")
        pki = self.authority.folder
        own = ("--cert", pki / "admin.crt", "--key", pki / "admin.key")
        self.api = Api("--cacert", pki / "ca.crt", *own)
        self._servers: list[Server] = []

    def kubectl(self, *argv: str | Path, check: bool = True) -> str:
        program = self._settings.kubernetes("kubectl")
        return lan.inside(program, "--kubeconfig", self.admin, *argv, check=check)

    def start(self) -> None:
        """Return when pods could be made: their service account is there."""
        self._start("etcd", _etcd(self.folder / "etcd"))
        self._serve_api()
        self._start_controllers()
        self._start_steppe()

    def _start_steppe(self) -> None:
        roles = Path(__file__).with_name("roles.yaml").read_text()
        for item in yaml.safe_load_all(roles):
            self.api.post(f"/apis/{item['apiVersion']}/{item['kind'].lower()}s", item)
        self.api.post("/api/v1/namespaces", STATUS_NAMESPACE)
        self._start_steppe_controller()

    def _start_controllers(self) -> None:
        for name, flags in (
            ("kube-controller-manager", self._manages()),
            ("kube-scheduler", ("--leader-elect=false", "--secure-port=10259")),
        ):
            config = self.authority.kubeconfig(name, API, f"system:{name}")
            every = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
            given = (f"--{flag}={config}" for flag in every)
            self._start(name, (*given, f"--cert-dir={self.folder / 'run'}", *flags))
        account = ("get", "serviceaccount", "default", "--output=name")
        wait(lambda: self.kubectl(*account, check=False), 90, "the controllers", *self._servers)
        self._start_dns()

    def start_kubelet(self, node: Node) -> None:
        user = (f"system:node:{node.name}", "system:nodes")
        config = self.authority.kubeconfig(f"kubelet-{node.name}", API, *user)
        node.start_kubelet(config, self.authority.folder / "ca.crt")

    def _start_steppe_controller(self) -> None:
        config = self.authority.kubeconfig("steppe-controller", API, "steppe-controller")
        prefixes = ("--pod-cidr4", PODS[0], "--pod-cidr6", PODS[1])
        program = (sys.executable, "-P", "-m", "steppe.controller")
        self._spawn("steppe-controller", (*program, "--kubeconfig", config, *prefixes))

    def stop(self) -> None:
        while self._servers:
            self._servers.pop().stop()

    def _start(self, name: str, flags: Iterable[str | Path]) -> None:
        self._spawn(name, (self._settings.kubernetes(name), *flags))

    def _spawn(self, name: str, argv: Iterable[str | Path]) -> None:
        inside = ("ip", "netns", "exec", LAN, *argv)
        self._servers.append(Server(inside, self.folder / "log" / f"{name}.log"))

    def _serve_api(self) -> None:
        pki, issue = self.authority.folder, self.authority.issue
        own = ("127.0.0.1", FIRST_SERVICE, f"{LAN4}.1", f"{LAN6}:1", "localhost")
        parts = ["kubernetes", "default", "svc", "cluster", "local"]
        names = tuple(".".join(parts[:end]) for end in (1, 2, 3, 5))
        issue("apiserver", "kube-apiserver", names=(*own, *names))
        issue("to-kubelets", "kube-apiserver-kubelet-client", "system:masters")
        issue("front-proxy", "front-proxy-client")
        flags = {
            "etcd-servers": _ETCD,
            "bind-address": "0.0.0.0",
            "secure-port": API.rpartition(":")[2],
            "advertise-address": f"{LAN4}.1",
            "service-cluster-ip-range": ",".join(SERVICES),
            "client-ca-file": pki / "ca.crt",
            "tls-cert-file": pki / "apiserver.crt",
            "tls-private-key-file": pki / "apiserver.key",
            "cert-dir": self.folder / "run",
            "service-account-key-file": pki / "sa.pub",
            "service-account-signing-key-file": pki / "sa.key",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "kubelet-client-certificate": pki / "to-kubelets.crt",
            "kubelet-client-key": pki / "to-kubelets.key",
            "kubelet-preferred-address-types": "InternalIP,Hostname",
            "requestheader-client-ca-file": pki / "ca.crt",
            "requestheader-allowed-names": "front-proxy-client",
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            "proxy-client-cert-file": pki / "front-proxy.crt",
            "proxy-client-key-file": pki / "front-proxy.key",
            "shutdown-delay-duration": "0s",
        }
        self._start("kube-apiserver", _flags(flags))
        wait(self.api.ready, 120, "the API server", *self._servers)

    def _manages(self) -> Iterable[str]:
        pki = self.authority.folder
        return _flags(
            {
                "root-ca-file": pki / "ca.crt",
                "service-account-private-key-file": pki / "sa.key",
                "use-service-account-credentials": "true",
                "cluster-signing-cert-file": pki / "ca.crt",
                "cluster-signing-key-file": pki / "ca.key",
                "allocate-node-cidrs": "false",  # Steppe's controller does
                "service-cluster-ip-range": ",".join(SERVICES),
                "controllers": "*",
                "leader-elect": "false",
            }
        )

    def _start_dns(self) -> None:
        """CoreDNS behind the cluster's DNS Service; without it (not built) pods have no DNS."""
        if not Path(self._settings.kubernetes("coredns")).exists():
            return
        corefile = self.folder / "Corefile"
        corefile.write_text(
            "cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {\n"
            f"    bind {LAN4}.1\n    errors\n"
            "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
            f"        kubeconfig {self.admin}\n        pods insecure\n        ttl 5\n    }}\n}}\n"
        )
        self._start("coredns", ("-conf", corefile))
        manifest = Path(__file__).with_name("dns.yaml").read_text()
        written = self.folder / "dns.yaml"
        written.write_text(manifest.replace("@DNS@", DNS_SERVICE).replace("@LAN@", f"{LAN4}.1"))
        self.kubectl("apply", "--filename", written)


class ApiServerAlone(ControlPlane):
    """etcd, the API server and Steppe's controller; nodes and pods are written by the harness."""

    kubelets = False

    def _start_controllers(self) -> None:
        """What the controller manager would make, so that pods may be made."""
        path = "/api/v1/namespaces/default"
        item = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        wait(lambda: self.api.exists(path), 60, "the namespace default", *self._servers)
        self.api.post(f"{path}/serviceaccounts", item)


def _etcd(folder: Path) -> Iterable[str]:
    peer = "http://127.0.0.1:2380"
    return _flags(
        {
            "name": "tests",
            "data-dir": folder,
            "listen-client-urls": _ETCD,
            "advertise-client-urls": _ETCD,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"tests={peer}",
            "unsafe-no-fsync": "true",  # its data end with the test
        }
    )


def _flags(values: dict[str, str | Path]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
