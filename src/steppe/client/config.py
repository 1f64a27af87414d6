"""The API server's address and our credentials: from a kubeconfig, or a pod's service account.

Certificates and keys given as data stay in memory. Not supported: exec and auth-provider plugins,
which would run programs named by a file; the error names them.
"""

import base64
import binascii
import os
import ssl
from pathlib import Path
from typing import Any

import msgspec

from steppe.client.errors import ConfigError
from steppe.document_limits import TooDeepError, check_yaml

# "Accessing the API from within a Pod": these three files are mounted into every pod.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Config(msgspec.Struct, frozen=True):
    """A server and its credentials; at most one of each pair `x_file`, `x_data` is set."""

    server: str
    ca_file: str = ""
    ca_data: bytes = b""
    token: str = ""
    token_file: str = ""
    cert_file: str = ""
    cert_data: bytes = b""
    key_file: str = ""
    key_data: bytes = b""
    server_name: str = ""
    insecure: bool = False
    namespace: str = "default"

    def __repr__(self) -> str:
        # Credentials must not reach a log by way of a formatted record.
        return f"Config(server={self.server!r})"

    def ssl_context(self) -> ssl.SSLContext | None:
        """The trusted CAs and our client certificate; None for plain http."""
        if not self.server.startswith("https://"):
            return None
        try:
            context = ssl.create_default_context(
                cafile=self.ca_file or None, cadata=self.ca_data.decode() or None
            )
            if self.cert_file or self.cert_data:
                _load_client_certificate(context, self)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot use the certificates for {self.server}: {error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class TokenSource:
    """The current bearer token; a token file is read again when it has been replaced."""

    def __init__(self, config: Config) -> None:
        self._token = config.token
        self._path = config.token_file
        self._seen: tuple[int, int] = (0, 0)

    def current(self) -> str:
        if self._path:
            try:
                stat = Path(self._path).stat()
                # kubelet rotates by swapping a symlink, so the inode changes with the content.
                if (stat.st_ino, stat.st_mtime_ns) != self._seen:
                    self._token = Path(self._path).read_text().strip()
                    self._seen = (stat.st_ino, stat.st_mtime_ns)
            except OSError as error:
                raise ConfigError(
                    f"cannot read token file {self._path}: {error.strerror}"
                ) from error
        return self._token


def load_config(kubeconfig: str | None = None, context: str = "") -> Config:
    """The given kubeconfig; else the pod's service account; else $KUBECONFIG or ~/.kube/config.

    Only kubeconfigs have contexts, so with a context the service account is not used.
    """
    if kubeconfig:
        return read_kubeconfig(Path(kubeconfig), context)
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if not context and host and (SERVICE_ACCOUNT / "token").exists():
        return in_cluster(host, os.environ.get("KUBERNETES_SERVICE_PORT", "443"), SERVICE_ACCOUNT)
    # Of a list of files the first one that exists is used; they are not merged as by kubectl.
    paths = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    for path in [*filter(None, paths), str(Path.home() / ".kube" / "config")]:
        if Path(path).exists():
            return read_kubeconfig(Path(path), context)
    raise ConfigError(
        "no API server to talk to: not in a pod, and no kubeconfig found; give --kubeconfig FILE"
        " or set KUBECONFIG"
    )


def in_cluster(host: str, port: str, folder: Path) -> Config:
    """The service account kubelet mounted into our pod."""
    bracketed = f"[{host}]" if ":" in host else host
    namespace = folder / "namespace"
    return Config(
        server=f"https://{bracketed}:{port}",
        ca_file=str(folder / "ca.crt"),
        token_file=str(folder / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def read_kubeconfig(path: Path, context: str = "") -> Config:
    """The named context of a kubeconfig file, or its current one."""
    import yaml  # takes 0.5 MB of memory, and an agent in a pod never needs it

    try:
        content = path.read_bytes()
        check_yaml(content)
        document = yaml.safe_load(content)
    except TooDeepError as error:
        raise ConfigError(f"kubeconfig {path} is no kubeconfig: {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot read kubeconfig {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ConfigError(f"kubeconfig {path} is no YAML{line}") from None
    try:
        return _chosen_context(document, path, context or document.get("current-context", ""))
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        # `from None`: the text of the original error could quote credentials.
        raise ConfigError(
            f"kubeconfig {path} is not understood ({type(error).__name__}): look at its"
            " current-context, contexts, clusters and users"
        ) from None


def _chosen_context(document: dict[str, Any], path: Path, name: str) -> Config:
    context = _named(document, "contexts", "context", name, path)
    cluster = _named(document, "clusters", "cluster", context["cluster"], path)
    user = _named(document, "users", "user", context["user"], path) if context.get("user") else {}
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise ConfigError(
                f"kubeconfig {path}: user {context['user']!r} logs in by an {plugin} plugin, which"
                " Steppe does not run; use a token (kubectl create token) or a client certificate"
            )
    if "username" in user:
        raise ConfigError(f"kubeconfig {path}: basic authentication ended with Kubernetes 1.19")
    return Config(
        server=str(cluster["server"]).rstrip("/"),
        ca_data=_data(cluster, "certificate-authority-data"),
        ca_file=_file(cluster, "certificate-authority", path),
        # "TokenFile is a pointer to a file that contains a bearer token … takes precedence over
        # Token" (k8s.io/client-go/tools/clientcmd/api/v1, AuthInfo)
        token="" if user.get("tokenFile") else str(user.get("token") or ""),
        token_file=_file(user, "tokenFile", path),
        cert_data=_data(user, "client-certificate-data"),
        cert_file=_file(user, "client-certificate", path),
        key_data=_data(user, "client-key-data"),
        key_file=_file(user, "client-key", path),
        server_name=str(cluster.get("tls-server-name") or ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=str(context.get("namespace") or "default"),
    )


def _named(document: dict[str, Any], many: str, one: str, name: str, path: Path) -> dict[str, Any]:
    for entry in document.get(many) or []:
        if entry["name"] == name:
            value: dict[str, Any] = entry[one] or {}
            return value
    raise ConfigError(f"kubeconfig {path} has no {one} named {name!r}")


def _data(section: dict[str, Any], key: str) -> bytes:
    return base64.b64decode(section.get(key) or "", validate=True)


def _file(section: dict[str, Any], key: str, path: Path) -> str:
    """Relative paths are relative to the kubeconfig; data takes precedence over a file."""
    value = section.get(key)
    return str(path.parent / value) if value and not section.get(f"{key}-data") else ""


def _load_client_certificate(context: ssl.SSLContext, config: Config) -> None:
    # ssl reads certificates from files only: data is written to anonymous memory, not to a disk.
    with _AsFile(config.cert_data) as cert, _AsFile(config.key_data) as key:
        context.load_cert_chain(config.cert_file or cert, config.key_file or key)


class _AsFile:
    def __init__(self, data: bytes) -> None:
        self._fd = os.memfd_create("steppe-credential")
        os.write(self._fd, data)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
