"""Errors at files say what would cure them."""

from errno import EACCES, EDQUOT, EMFILE, ENFILE, ENOSPC, EROFS
from pathlib import Path
from typing import Any

import pytest

from steppe.agent.cni.install import InstallError, install
from steppe.agent.files import cure
from steppe.agent.unix_socket import SocketError, listening


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (ENOSPC, "df -i"),
        (EDQUOT, "quota"),
        (EROFS, "read-only"),
        (EMFILE, "LimitNOFILE"),
        (ENFILE, "fs.file-max"),
        (EACCES, "ask root"),
        (None, "ask root"),
    ],
)
def test_an_error_that_says_its_cure_is_told_with_it(number: int | None, says: str) -> None:
    error = OSError(number, "no") if number is not None else OSError("no")
    assert says in cure(error, "ask root")


def full(*_: object, **__: object) -> Any:
    raise OSError(ENOSPC, "No space left on device")


def test_a_socket_on_a_full_file_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "chmod", full)
    is_full = r"No space left on device; its file system is full"
    with pytest.raises(SocketError, match=is_full), listening(tmp_path / "agent.sock"):
        pass
    monkeypatch.undo()
    with listening(tmp_path / "agent.sock") as made:
        assert made.path.exists()


def test_a_plugin_on_a_full_file_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InstallError, match=r"No space left on device; its file system is full"):
        install(tmp_path / "bin", tmp_path / "conf", tmp_path / "cni.sock")
    assert not list((tmp_path / "conf").glob("*.conflist"))
