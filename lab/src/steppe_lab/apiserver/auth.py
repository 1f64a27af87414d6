"""Authentication: bearer tokens, and the kubeconfig files that contain them.

Whoever holds a token may do everything; a lab has one operator. Without one, only the paths
that Kubernetes shows to everybody (`system:public-info-viewer`) are answered.
"""

import base64
import csv
import io
import secrets
from collections.abc import Mapping
from pathlib import Path

import yaml

from steppe_lab.apiserver.tls import write_private

USERS = ("admin", "agent", "controller", "kubelet")
PUBLIC_PATHS = frozenset(("/healthz", "/livez", "/readyz", "/version"))


def ensure_tokens(folder: Path) -> Mapping[str, str]:
    """Token to user, from tokens.csv; users that have none there get one."""
    path = folder / "tokens.csv"
    users: dict[str, str] = {}
    if path.exists():
        rows = csv.reader(io.StringIO(path.read_text()))
        users = {token: user for token, user, *_ in rows}
    missing = [user for user in USERS if user not in users.values()]
    if missing:
        users |= {secrets.token_urlsafe(32): user for user in missing}
        lines = "".join(f"{token},{user}\n" for token, user in users.items())
        write_private(path, lines.encode())
    return users


def bearer_token(authorization: str) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def kubeconfig(server: str, ca: bytes, user: str, token: str) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "steppe",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": base64.b64encode(ca).decode(),
                },
            }
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "steppe", "context": {"cluster": "steppe", "user": user}}],
        "current-context": "steppe",
    }
    return yaml.safe_dump(config, sort_keys=False)


def write_kubeconfigs(folder: Path, server: str, tokens: Mapping[str, str]) -> None:
    """One kubeconfig a user; the admin's last, since its appearance says "ready"."""
    ca = (folder / "ca.crt").read_bytes()
    for token, user in sorted(tokens.items(), key=lambda item: item[1] == "admin"):
        text = kubeconfig(server, ca, user, token)
        write_private(folder / f"{user}.kubeconfig", text.encode())
