"""CNI network configurations: which file counts, and what each plugin is sent on stdin.

Decides what libcni and containerd's go-cni decide before a plugin runs; executes nothing.
Of a folder only the first configuration counts, as containerd's `max_conf_num = 1` has it.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from steppe.errors import SteppeError

# What the reference library speaks; a list may name several (`cniVersions`) to choose from.
SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_SUFFIXES = (".conflist", ".conf", ".json")

Json = dict[str, Any]


class CniConfigError(SteppeError):
    """A network configuration that no runtime could use."""


class NetworkList(msgspec.Struct, frozen=True):
    """A network: its plugins in the order of ADD, and the version all of them are spoken to in."""

    name: str
    version: str
    plugins: tuple[Json, ...]
    disable_check: bool = False
    disable_gc: bool = False

    def speaks(self, version: str) -> bool:
        """Whether the negotiated version is at least this one."""
        return version_key(self.version) >= version_key(version)


def version_key(version: str) -> tuple[int, ...]:
    """The order of versions; an absent one counts as 0.1.0, as in the reference library."""
    try:
        return tuple(int(part) for part in (version or "0.1.0").split("."))
    except ValueError as error:
        raise CniConfigError(f"cniVersion {version!r} is no version") from error


def load_first(folder: Path) -> NetworkList | None:
    """The network that containerd would use from this folder; None when there is none yet."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    except FileNotFoundError:
        return None
    return load(files[0]) if files else None


def load(path: Path) -> NetworkList:
    """One file, a list of plugins or (`.conf`, `.json`) a single plugin."""
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        if path.suffix != ".conflist" and "plugins" not in document:
            document = {
                "name": document.get("name", ""),
                "cniVersion": document.get("cniVersion", ""),
                "plugins": [document],
            }
        return parse(document, path.parent)
    except (OSError, msgspec.MsgspecError, CniConfigError) as error:
        raise CniConfigError(f"CNI configuration {path}: {error}") from error


def parse(document: Json, folder: Path) -> NetworkList:
    """A configuration list, checked as far as a runtime must."""
    name = document.get("name", "")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise CniConfigError(f"network name {name!r} is not allowed")
    plugins = [*document.get("plugins", ())]
    if not document.get("loadOnlyInlinedPlugins", False):
        # "the runtime MUST load plugin configuration from … a directory named after the network"
        plugins += [
            msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            for path in sorted((folder / name).glob("*.conf"))
        ]
    if not plugins:
        raise CniConfigError(f"network {name!r} has no plugins")
    for plugin in plugins:
        kind = plugin.get("type", "") if isinstance(plugin, dict) else ""
        # "type … MUST NOT contain characters disallowed in file paths for the system"
        if not isinstance(kind, str) or not kind or "/" in kind:
            raise CniConfigError(f"network {name!r}: plugin type {kind!r} is not allowed")
    return NetworkList(
        name,
        _negotiated(document),
        tuple(plugins),
        bool(document.get("disableCheck", False)),
        bool(document.get("disableGC", False)),
    )


def _negotiated(document: Json) -> str:
    """The highest version both sides know, out of `cniVersion` and `cniVersions`."""
    offered: set[str] = {
        document.get("cniVersion") or "0.1.0",
        *(document.get("cniVersions") or ()),
    }
    known = [version for version in offered if version in SUPPORTED]
    if not known:
        raise CniConfigError(f"none of the versions {sorted(offered)} is supported")
    return max(known, key=version_key)


def request(
    network: NetworkList,
    plugin: Json,
    *,
    previous: Json | None = None,
    capability_args: Json | None = None,
    extra: Json | None = None,
) -> Json:
    """What one plugin gets on stdin: its own keys, unchanged, and those the runtime adds."""
    declared = plugin.get("capabilities") or {}
    # "The runtime … MUST remove the capabilities section"
    document = {key: value for key, value in plugin.items() if key != "capabilities"}
    document |= {"cniVersion": network.version, "name": network.name}
    runtime = {name: value for name, value in (capability_args or {}).items() if declared.get(name)}
    if runtime:
        document["runtimeConfig"] = runtime
    if previous is not None:
        document["prevResult"] = previous
    return document | (extra or {})
