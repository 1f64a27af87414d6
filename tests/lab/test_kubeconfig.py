"""Nodes get the given credentials and their own loopback, and still check the server's name."""

import pytest
import yaml

from steppe.client.config import load_config
from steppe_lab.kubeconfig import for_nodes


def _given(tmp_path, **cluster):
    (tmp_path / "ca.crt").write_text("CA")
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"certificate-authority": "ca.crt"} | cluster}],
        "users": [{"name": "u", "user": {"token": "abc"}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.parametrize(
    ("family", "server"),
    [
        ("dual", "https://127.0.0.1:6443"),
        ("ipv4", "https://127.0.0.1:6443"),
        ("ipv6", "https://[::1]:6443"),
    ],
)
def test_the_server_is_the_nodes_own_loopback(tmp_path, family, server) -> None:
    made = tmp_path / "made"
    made.write_bytes(for_nodes(_given(tmp_path, server="https://api.example:16443"), family))
    config = load_config(str(made))
    assert config.server == server
    assert config.server_name == "api.example"
    assert config.ca_data == b"CA"
    assert config.token == load_config(str(tmp_path / "config")).token != ""


def test_a_server_name_that_was_given_is_kept(tmp_path) -> None:
    source = _given(tmp_path, server="https://192.0.2.1", **{"tls-server-name": "kubernetes"})
    made = tmp_path / "made"
    made.write_bytes(for_nodes(source, "dual"))
    assert load_config(str(made)).server_name == "kubernetes"
