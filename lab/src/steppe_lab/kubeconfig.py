"""The kubeconfig that processes inside a node's namespace use.

It is the given one, made to point at the node's own loopback: certificates are embedded, and the
server is still checked against the name it was issued for.
"""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from steppe.client.config import Config, load_config
from steppe_lab.relay import PORT
from steppe_lab.topology.model import Family


def for_nodes(source: str, family: Family) -> bytes:
    """The current context of a kubeconfig, with the relay in the server's place."""
    config = load_config(source)
    address = "[::1]" if family == "ipv6" else "127.0.0.1"
    scheme = urlsplit(config.server).scheme
    cluster = {
        "server": f"{scheme}://{address}:{PORT}",
        "tls-server-name": config.server_name or urlsplit(config.server).hostname,
        "certificate-authority-data": _embedded(config.ca_data, config.ca_file),
        "insecure-skip-tls-verify": config.insecure or None,
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "steppe", "cluster": _present(cluster)}],
        "users": [{"name": "node", "user": _present(_user(config))}],
        "contexts": [{"name": "steppe", "context": {"cluster": "steppe", "user": "node"}}],
        "current-context": "steppe",
    }
    return yaml.safe_dump(document).encode()


def _user(config: Config) -> dict[str, Any]:
    return {
        "token": config.token,
        # Not embedded: whoever wrote the file may rotate the token in it.
        "tokenFile": str(Path(config.token_file).absolute()) if config.token_file else "",
        "client-certificate-data": _embedded(config.cert_data, config.cert_file),
        "client-key-data": _embedded(config.key_data, config.key_file),
    }


def _embedded(data: bytes, file: str) -> str:
    content = data or (Path(file).read_bytes() if file else b"")
    return base64.b64encode(content).decode()


def _present(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if value}
