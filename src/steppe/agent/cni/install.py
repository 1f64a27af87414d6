"""Installs the CNI plugin and its configuration where container runtimes look for them.

A runtime reports the node as ready as soon as a configuration exists. So the configuration is
written last, after the plugin and only when the agent can attach pods. Each file is renamed into
place, so it is never incomplete.
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from steppe.agent.cni import framing
from steppe.agent.files import cure
from steppe.agent.log import line
from steppe.cni import plugin
from steppe.errors import SteppeError

BIN_DIR = Path("/opt/cni/bin")
CONF_DIR = Path("/etc/cni/net.d")
SOCKET = Path("/run/steppe/cni.sock")
PLUGIN = "steppe"
CONFLIST = "10-steppe.conflist"

# -I: no modules of the user, no PYTHON* variables; -S: no site-packages. They are not needed, and
# without them the interpreter starts in two thirds of the time.
_INTERPRETERS = ("/usr/bin/python3", str(Path(sys.executable).resolve()))


LEAST = "1.0.0"
"""What a runtime that knows no `cniVersions` asks for: containerd 1.6 and 1.7 refuse a result of
version 1.1.0."""

log = logging.getLogger("steppe.agent")


class _Versions(msgspec.Struct):
    """A plugin's answer to VERSION."""

    versions: tuple[str, ...] = msgspec.field(name="supportedVersions", default=())


class InstallError(SteppeError):
    """Plugin or configuration could not be put in place."""


def install(
    bin_dir: Path, conf_dir: Path, socket: Path, program: Path | None = None
) -> tuple[Path, ...]:
    """Write plugin and configuration; returns the files that have changed.

    `program`: the static plugin (shim/) to install; without it, the Python script.
    """
    written = [_write_plugin(bin_dir / PLUGIN, program)]
    text = msgspec.json.format(msgspec.json.encode(conflist(bin_dir, socket)), indent=2)
    written.append(_write(conf_dir / CONFLIST, text + b"\n", 0o644))
    return tuple(path for path in written if path is not None)


def remove(bin_dir: Path, conf_dir: Path) -> None:
    """Remove both, the configuration first: a runtime must not look for a missing plugin."""
    try:
        (conf_dir / CONFLIST).unlink(missing_ok=True)
        (bin_dir / PLUGIN).unlink(missing_ok=True)
    except OSError as error:
        raise InstallError(f"cannot remove {error.filename}: {error.strerror}") from error


def conflist(bin_dir: Path, socket: Path) -> dict[str, Any]:
    """The network configuration; with the portmap plugin for host ports if the node has it."""
    plugins: list[dict[str, Any]] = [{"type": PLUGIN, "socket": str(socket)}]
    versions = list(plugin.SUPPORTED)
    portmap = bin_dir / "portmap"
    if portmap.exists():
        known = supported_versions(portmap)
        if LEAST in known:
            versions = [version for version in versions if version in known]
            plugins.append({"type": "portmap", "capabilities": {"portMappings": True}})
        else:
            log.warning(line("portmap-left-out", plugin=portmap, knows=", ".join(known) or "none"))
    return {
        "cniVersion": LEAST,
        "cniVersions": versions,
        "name": "steppe",
        "plugins": plugins,
    }


def supported_versions(path: Path) -> tuple[str, ...]:
    """The versions of CNI that a plugin says it supports; () if it does not answer."""
    try:
        done = subprocess.run(
            [path],
            env={"CNI_COMMAND": "VERSION"},
            # As libcni asks: a plugin may refuse an empty configuration.
            input=msgspec.json.encode({"cniVersion": LEAST}),
            capture_output=True,
            timeout=10,
            check=False,
        )
        answer = msgspec.json.decode(done.stdout, type=_Versions)
    except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError):
        return ()
    return answer.versions


def _write_plugin(path: Path, program: Path | None) -> Path | None:
    if program is not None:
        return _write_program(path, program)
    source = Path(plugin.__file__).read_text()
    tried = []
    for interpreter in dict.fromkeys(_INTERPRETERS):
        fault = _fault(interpreter, source)
        if not fault:
            return _write(path, f"#!{interpreter} -IS\n{source}".encode(), 0o755)
        tried.append(f"{interpreter}: {fault}")
    raise InstallError(
        f"no Python runs the CNI plugin ({'; '.join(tried)}); install python3 3.9 or newer"
    )


def _write_program(path: Path, program: Path) -> Path | None:
    known = supported_versions(program)
    if not set(plugin.SUPPORTED).issubset(known):
        why = f"it supports {', '.join(known)}" if known else "it does not answer VERSION"
        raise InstallError(
            f"{program} is not this agent's CNI plugin: {why}; give the one that "
            "came with this version, or none for the Python script"
        )
    try:
        data = program.read_bytes()
    except OSError as error:
        raise InstallError(f"cannot read {program}: {error.strerror}") from error
    return _write(path, data, 0o755)


def _fault(interpreter: str, source: str) -> str:
    """Why this interpreter does not run the plugin; "" if it does."""
    try:
        done = subprocess.run(
            [interpreter, "-IS", "-c", source],
            env={"CNI_COMMAND": "VERSION"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        answer = msgspec.json.decode(done.stdout, type=dict[str, Any])
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    except msgspec.MsgspecError:
        return done.stderr.decode(errors="replace").strip()[-200:] or "it prints no version"
    return "" if answer.get("supportedVersions") else "it prints no version"


def _write(path: Path, data: bytes, mode: int) -> Path | None:
    """Write the file durably; returns its path, or None if it had this content already."""
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _holds(path, data, mode):
            return None
        with new.open("wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        remedy = cure(error, "is it writable?")
        raise InstallError(f"cannot write {path}: {error.strerror}; {remedy}") from error
    return path


def _holds(path: Path, data: bytes, mode: int) -> bool:
    try:
        return path.read_bytes() == data and path.stat().st_mode & 0o777 == mode
    except FileNotFoundError:
        return False


def check_ready(socket: Path) -> None:
    """InstallError unless the agent behind this socket can attach pods now."""
    config = {"cniVersion": plugin.NEWEST, "name": "steppe", "type": PLUGIN, "socket": str(socket)}
    env = {"CNI_COMMAND": "STATUS"}
    request = {"schema": "steppe.cni-request/v1", "env": env, "config": config}
    answer = framing.call(socket, request)
    if answer.get("exit") != 0:
        said = answer.get("stdout") or {}
        raise InstallError(f"the agent is not ready: {said.get('msg', 'it did not say why')}")


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m steppe.agent.cni.install`: by hand, or as a step of a deployment."""
    parser = argparse.ArgumentParser(
        prog="python -m steppe.agent.cni.install",
        description="Installs the CNI plugin for a running agent, or removes it.",
    )
    parser.add_argument("--cni-bin", type=Path, default=BIN_DIR, help="%(default)s")
    parser.add_argument("--cni-conf", type=Path, default=CONF_DIR, help="%(default)s")
    parser.add_argument("--cni-plugin", type=Path, help="the static plugin; default: the script")
    parser.add_argument("--socket", type=Path, default=SOCKET, help="the agent's (%(default)s)")
    parser.add_argument("--remove", action="store_true", help="take plugin and conflist away")
    given = parser.parse_args(arguments)
    try:
        if given.remove:
            remove(given.cni_bin, given.cni_conf)
        else:
            check_ready(given.socket)
            socket = given.socket.resolve()
            for path in install(given.cni_bin, given.cni_conf, socket, given.cni_plugin):
                sys.stdout.write(f"{path}\n")
    except SteppeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
