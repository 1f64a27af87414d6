"""etcd, API server, controller manager, scheduler and Steppe's controller, as plain processes."""

import sys
from collections.abc import Iterable
from pathlib import Path

from tests.kubernetes.harness import lan
from tests.kubernetes.harness.certificates import Authority
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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.state / "control-plane"
        self.authority = Authority(self.folder / "pki")
        self.admin = self.authority.kubeconfig("admin", API, "admin", "system:masters")
        self._servers: list[Server] = []

    def kubectl(self, *argv: str | Path, check: bool = True) -> str:
        program = self._settings.kubernetes("kubectl")
        return lan.inside(program, "--kubeconfig", self.admin, *argv, check=check)

    def start(self) -> None:
        """Return when pods could be scheduled: the default service account is there."""
        self._start("etcd", _etcd(self.folder / "etcd"))
        self._serve_api()
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

    def start_steppe_controller(self) -> None:
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
        ready = ("get", "--raw", "/readyz")
        wait(lambda: self.kubectl(*ready, check=False) == "ok", 120, "the API", *self._servers)

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
