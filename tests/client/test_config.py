import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from steppe.client.config import Config, TokenSource, in_cluster, load_config, read_kubeconfig
from steppe.client.errors import ConfigError

SECRET = "very-secret-token"  # noqa: S105 - it must be found nowhere else


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    path = folder / "config"
    document = {
        "current-context": "here",
        "contexts": [
            {"name": "there", "context": {"cluster": "no", "user": "no"}},
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "mine"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://[::1]:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_current_context_is_read(tmp_path: Path) -> None:
    data = {"certificate-authority-data": base64.b64encode(b"CA").decode()}
    config = read_kubeconfig(kubeconfig(tmp_path, {"token": SECRET}, **data))
    assert config == Config(
        server="https://[::1]:6443", token=SECRET, ca_data=b"CA", namespace="mine"
    )


def test_relative_files_are_relative_to_the_kubeconfig_and_data_wins(tmp_path: Path) -> None:
    user = {
        "client-certificate": "me.crt",
        "client-key": "/abs/me.key",
        "client-key-data": base64.b64encode(b"KEY").decode(),
    }
    config = read_kubeconfig(kubeconfig(tmp_path, user))
    assert config.cert_file == str(tmp_path / "me.crt")
    assert (config.key_file, config.key_data) == ("", b"KEY")


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"exec": {"command": "aws"}}, "exec plugin"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider plugin"),
        ({"username": "admin", "password": SECRET}, "basic authentication"),
        ({"client-key-data": "!" + SECRET}, "not understood"),
    ],
)
def test_what_we_cannot_use_is_a_clear_error_without_secrets(
    tmp_path: Path, user: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        read_kubeconfig(kubeconfig(tmp_path, user))
    assert SECRET not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", f"current-context: x\ntoken: {SECRET}"])
def test_a_file_that_is_no_kubeconfig_is_a_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_kubeconfig(path)
    assert SECRET not in str(raised.value)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(str(tmp_path / "nothing"))


def test_a_config_never_shows_its_credentials() -> None:
    config = Config(server="https://x", token=SECRET, key_data=SECRET.encode())
    assert SECRET not in f"{config} {config!r}"


def test_a_rotated_token_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("first\n")
    (tmp_path / "2").write_text("other\n")
    token = tmp_path / "token"
    token.symlink_to("1")
    source = TokenSource(Config(server="https://x", token_file=str(token)))
    assert source.current() == "first"
    # As kubelet does: a new symlink takes the place of the old one.
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(token)
    assert source.current() == "other"
    token.unlink()
    with pytest.raises(ConfigError, match="token"):
        source.current()


def test_in_a_pod_the_service_account_is_used(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("steppe-system")
    config = in_cluster("fd00::1", "443", tmp_path)
    assert config.server == "https://[fd00::1]:443"
    assert config.namespace == "steppe-system"
    assert json.loads(json.dumps(config.token_file)) == str(tmp_path / "token")
