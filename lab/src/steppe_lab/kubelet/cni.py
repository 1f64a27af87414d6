"""Runs CNI plugins as libcni does: ADD, DEL, CHECK, GC and STATUS of a chain of plugins.

Each call blocks until its plugins are done and belongs on a thread that already is in the node's
network namespace: the plugins inherit it. The final result of an ADD is kept on disk, because DEL
and CHECK must be given it, also by a kubelet that was started since.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from steppe.errors import SteppeError
from steppe_lab.kubelet.cniconf import Json, NetworkList, request

_CONTAINER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_IFNAME = re.compile(r"(?!\.{1,2}$)[^/:\s]{1,15}")
# A runtime has no deadline of its own; kubelet gives a sandbox this long (runtimeRequestTimeout).
_TIMEOUT = 120.0


class CniError(SteppeError):
    """A plugin failed. `code` is CNI's error code; 999 is the library's own, as in libcni."""

    def __init__(self, plugin: str, code: int, message: str, details: str = "") -> None:
        super().__init__(f"plugin type={plugin!r}: {message}" + (f": {details}" if details else ""))
        self.plugin = plugin
        self.code = code


class Attachment(msgspec.Struct, frozen=True):
    """One container's interface in a network."""

    container_id: str
    netns: str
    ifname: str = "eth0"
    args: tuple[tuple[str, str], ...] = ()
    capability_args: Json = {}


class Cached(msgspec.Struct, frozen=True):
    """An ADD that was begun, and its result once there is one."""

    network: str
    attachment: Attachment
    result: Json | None = None


class Output(msgspec.Struct, frozen=True):
    """What a plugin left behind."""

    code: int
    stdout: bytes
    stderr: bytes


Execute = Callable[[Path, Mapping[str, str], bytes], Output]


def execute(program: Path, env: Mapping[str, str], stdin: bytes) -> Output:
    """Run a plugin in the calling thread's namespaces."""
    # subprocess starts the child with vfork, so it has the namespaces of this very thread: 1 ms,
    # where `nsenter --net=…` in between costs 2 ms.
    done = subprocess.run(
        [program], input=stdin, env=dict(env), capture_output=True, timeout=_TIMEOUT, check=False
    )
    return Output(done.returncode, done.stdout, done.stderr)


class Cni:
    """The plugins of one node.

    Invariant: there is a file on disk for every ADD that was begun and not yet undone.
    """

    def __init__(
        self,
        bin_dirs: tuple[Path, ...],
        cache: Path,
        *,
        env: Mapping[str, str] | None = None,
        execute: Execute = execute,
    ) -> None:
        self._bin_dirs = bin_dirs
        self._cache = cache
        self._env = dict(env or {})
        self._execute = execute

    def add(self, network: NetworkList, attachment: Attachment) -> Json:
        """Attach a container.

        After a failure the caller must call `delete`, as the spec demands.
        """
        _check_names(attachment)
        for plugin in network.plugins:
            # If a plugin of the chain is missing, nothing is begun: its DEL would fail too.
            self._find(plugin["type"])
        # Written before the first plugin runs: this file means that a DEL is still needed.
        self._remember(Cached(network.name, attachment))
        result: Json | None = None
        for plugin in network.plugins:
            document = request(
                network, plugin, previous=result, capability_args=attachment.capability_args
            )
            result = self._run("ADD", plugin, document, attachment)
        if result is None:
            raise CniError(network.plugins[-1]["type"], 999, "ADD printed no result")
        self._remember(Cached(network.name, attachment, result))
        return result

    def owes(self, network: NetworkList, attachment: Attachment) -> bool:
        """Whether an ADD was begun and not undone since."""
        return self._path(network.name, attachment).exists()

    def delete(self, network: NetworkList, attachment: Attachment) -> None:
        """Undo an ADD, also one that failed half-way or never was; repeating it is fine."""
        previous = self._previous(network, attachment) if network.speaks("0.4.0") else None
        for plugin in reversed(network.plugins):
            document = request(
                network, plugin, previous=previous, capability_args=attachment.capability_args
            )
            self._run("DEL", plugin, document, attachment)
        self._path(network.name, attachment).unlink(missing_ok=True)

    def check(self, network: NetworkList, attachment: Attachment) -> None:
        """Ask each plugin whether what it made is still as its ADD left it."""
        if network.disable_check:
            return
        if not network.speaks("0.4.0"):
            raise CniError(network.plugins[0]["type"], 1, "CHECK came with cniVersion 0.4.0")
        previous = self._previous(network, attachment)
        if previous is None:
            raise CniError(network.plugins[0]["type"], 999, "CHECK before ADD")
        for plugin in network.plugins:
            document = request(
                network, plugin, previous=previous, capability_args=attachment.capability_args
            )
            self._run("CHECK", plugin, document, attachment)

    def status(self, network: NetworkList) -> None:
        """Raise if a plugin knows that it could not serve an ADD."""
        if not network.speaks("1.1.0"):
            return
        for plugin in network.plugins:
            self._run("STATUS", plugin, request(network, plugin), None)

    def collect(self, network: NetworkList, valid: Iterable[Attachment]) -> tuple[CniError, ...]:
        """GC: DEL for what we remember beyond `valid`, then each plugin's own; every failure."""
        failures: list[CniError] = []
        keep = {(one.container_id, one.ifname) for one in valid}
        for cached in self.cached():
            one = cached.attachment
            if cached.network == network.name and (one.container_id, one.ifname) not in keep:
                try:
                    self.delete(network, one)
                except CniError as error:
                    failures.append(error)
        # "MUST NOT [run GC] with disableGC"
        if network.disable_gc or not network.speaks("1.1.0"):
            return tuple(failures)
        listed = [{"containerID": one, "ifname": ifname} for one, ifname in sorted(keep)]
        # The reference runtime also sends the key by the name it first had.
        extra = {"cni.dev/valid-attachments": listed, "cni.dev/attachments": listed}
        for plugin in network.plugins:
            try:
                self._run("GC", plugin, request(network, plugin, extra=extra), None)
            except CniError as error:
                failures.append(error)
        return tuple(failures)

    def cached(self) -> tuple[Cached, ...]:
        """Every ADD that was begun and not yet undone."""
        found = []
        for path in sorted(self._cache.glob("*.json")):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found.append(msgspec.json.decode(path.read_bytes(), type=Cached))
        return tuple(found)

    def _previous(self, network: NetworkList, attachment: Attachment) -> Json | None:
        try:
            data = self._path(network.name, attachment).read_bytes()
            return msgspec.json.decode(data, type=Cached).result
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _remember(self, cached: Cached) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        path = self._path(cached.network, cached.attachment)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(cached))
        new.rename(path)

    def _path(self, network: str, attachment: Attachment) -> Path:
        return self._cache / f"{network}-{attachment.container_id}-{attachment.ifname}.json"

    def _run(
        self, command: str, plugin: Json, document: Json, attachment: Attachment | None
    ) -> Json | None:
        kind = plugin["type"]
        program = self._find(kind)
        try:
            output = self._execute(
                program, self._environment(command, attachment), msgspec.json.encode(document)
            )
        except subprocess.TimeoutExpired as error:
            raise CniError(kind, 999, f"{command} took over {_TIMEOUT:.0f} s") from error
        except OSError as error:
            raise CniError(kind, 999, f"cannot run {program}: {error.strerror}") from error
        return _result(kind, command, output)

    def _environment(self, command: str, attachment: Attachment | None) -> dict[str, str]:
        env = dict(self._env) | {"PATH": os.environ.get("PATH", os.defpath)}
        env |= {"CNI_COMMAND": command, "CNI_PATH": os.pathsep.join(map(str, self._bin_dirs))}
        if attachment is not None:
            env |= {
                "CNI_CONTAINERID": attachment.container_id,
                "CNI_NETNS": attachment.netns,
                "CNI_IFNAME": attachment.ifname,
                "CNI_ARGS": ";".join(f"{key}={value}" for key, value in attachment.args),
            }
        return env

    def _find(self, kind: str) -> Path:
        for folder in self._bin_dirs:
            if (folder / kind).is_file():
                return folder / kind
        searched = ", ".join(map(str, self._bin_dirs))
        raise CniError(kind, 999, f"not found in {searched}")


class _Failure(msgspec.Struct, frozen=True):
    """The error object of the spec, as plugins print it on stdout."""

    code: int = 999
    msg: str = ""
    details: str = ""


def _result(kind: str, command: str, output: Output) -> Json | None:
    if output.code != 0:
        raise _error(kind, command, output)
    if command != "ADD":
        return None
    try:
        return msgspec.json.decode(output.stdout, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise CniError(kind, 999, f"ADD printed no result: {error}") from error


def _error(kind: str, command: str, output: Output) -> CniError:
    with contextlib.suppress(msgspec.MsgspecError):
        failure = msgspec.json.decode(output.stdout, type=_Failure)
        return CniError(kind, failure.code, f"{command}: {failure.msg}", failure.details)
    # "stderr … may be used for unstructured output such as logs": the best there is left.
    said = (output.stderr or output.stdout).decode(errors="replace").strip()[-500:]
    return CniError(kind, 999, f"{command}: exit status {output.code}", said)


def _check_names(attachment: Attachment) -> None:
    if _CONTAINER_ID.fullmatch(attachment.container_id) is None:
        raise CniError("", 3, f"container id {attachment.container_id!r} is not allowed")
    if _IFNAME.fullmatch(attachment.ifname) is None:
        raise CniError("", 4, f"interface name {attachment.ifname!r} is not allowed")
