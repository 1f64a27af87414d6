"""The CNI plugin: checks what the runtime sent, and hands it to this node's agent.

    runtime ── environment, stdin ──▶ plugin ── one JSON document ──▶ agent
            ◀── stdout, exit code ──        ◀── one JSON document ──

Decides what needs no agent: CNI's errors 1 to 7, VERSION, and the error when no agent answers. The
agent does all else. It is installed as one script, and a runtime starts it for every verb, so it
imports very little: `json` and `socket` would double its start time (they import `re` and `enum`,
9 ms of 18); the C modules that they use are enough.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812  a class, named like one

TYPE_CHECKING = False  # as typing's, which would take 5 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Json = dict[str, Any]

NEWEST = "1.1.0"
SUPPORTED = ("0.3.1", "0.4.0", "1.0.0", NEWEST)
# SPEC.md names them under each operation.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": ("CNI_PATH",),
    "STATUS": (),
    "VERSION": (),
}
PARAMETERS = (
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_NETNS",
    "CNI_IFNAME",
    "CNI_ARGS",
    "CNI_PATH",
    "CNI_NETNS_OVERRIDE",
)
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
VALID_ATTACHMENTS = "cni.dev/valid-attachments"

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
BAD_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
BAD_CONFIG = 7
TRY_AGAIN = 11
NOT_AVAILABLE = 50
# "Values 100+ may be used for plugin specific errors."; those from 100 on are the agent's.
UNEXPECTED = 199

CONFIG_LIMIT = 1 << 20
TIMEOUT_SECONDS = 30.0

_ALPHANUMERIC = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _ALPHANUMERIC | frozenset("_.-")


class CniError(Exception):
    """An error for the runtime: one of CNI's codes, what is wrong, and the cure."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.details = details


def json_codec() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    """(loads, dumps) with the behaviour of `json`, without the cost of importing it."""
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner

        class Standard:
            strict = True
            object_hook = object_pairs_hook = None
            parse_float = float
            parse_int = int
            parse_constant = float

        scan = make_scanner(Standard)  # type: ignore[arg-type]
        encode = make_encoder(
            None, str, encode_basestring_ascii, None, ":", ",", False, False, True
        )
    except (ImportError, TypeError):  # another interpreter, or another version of it
        from json import dumps, loads

        return loads, dumps

    def scan_all(text: str) -> Any:
        text = text.strip(" \t\n\r")
        # For invalid text the scanner raises StopIteration, or SystemError without `json`.
        try:
            value, end = scan(text, 0)
        except (StopIteration, SystemError):
            end = -1
        if end == len(text):
            return value
        from json import loads

        return loads(text)  # raises a ValueError with the reason

    return scan_all, lambda value: "".join(encode(value, 0))


loads, dumps = json_codec()


def check_environment(env: Mapping[str, str]) -> str:
    """The command; CniError 4 names every variable that is missing or wrong."""
    command = env.get("CNI_COMMAND", "")
    if command not in REQUIRED:
        raise CniError(
            BAD_ENVIRONMENT,
            f"CNI_COMMAND is {command!r}",
            f"it must be one of {', '.join(REQUIRED)}; a container runtime sets it",
        )
    missing = [name for name in REQUIRED[command] if not env.get(name)]
    if missing:
        raise CniError(
            BAD_ENVIRONMENT,
            f"{command} needs {', '.join(missing)}",
            "the container runtime must set what is named here in the plugin's environment",
        )
    faults = [
        f"{name} {env[name]!r} {rule}"
        for name, fits, rule in RULES
        if env.get(name) and command in ("ADD", "DEL", "CHECK") and not fits(env[name])
    ]
    if faults:
        raise CniError(BAD_ENVIRONMENT, "; ".join(faults))
    return command


def is_name(text: str) -> bool:
    """Whether this is a valid name of a container or a network."""
    return text[:1] in _ALPHANUMERIC and _NAME.issuperset(text)


def _is_interface(text: str) -> bool:
    return (
        len(text.encode(errors="surrogatepass")) <= 15
        and text not in (".", "..")
        and not any(c in "/:" or c.isspace() or c < " " or "\x7f" <= c < "\xa0" for c in text)
        and not any("\ud800" <= c <= "\udfff" for c in text)  # half of a pair is no character
    )


def _is_socket_path(text: str) -> bool:
    """unix(7): sun_path has 108 bytes and ends with a null byte; a leading one means no file."""
    try:
        return text[:1] == "/" and "\0" not in text and len(os.fsencode(text)) <= 107
    except UnicodeEncodeError:
        return False  # JSON can say "\ud800", which no file is called


def _is_args(text: str) -> bool:
    return all("=" in pair[1:] for pair in text.split(";") if pair)


RULES = (
    (
        "CNI_CONTAINERID",
        is_name,
        'must start with a letter or digit, and hold only those, "_", "." and "-"',
    ),
    (
        "CNI_IFNAME",
        _is_interface,
        'must have 1 to 15 characters, without "/", ":" and blanks, and not be "." or ".."',
    ),
    ("CNI_ARGS", _is_args, "must have the form KEY=VALUE;KEY=VALUE"),
)


def read_config(read: Callable[[], bytes]) -> tuple[str, Json]:
    """Standard input as text and as an object."""
    try:
        data = read()
    except OSError as error:
        raise CniError(IO_FAILURE, f"cannot read the configuration: {error.strerror}") from error
    if len(data) > CONFIG_LIMIT:
        raise CniError(IO_FAILURE, f"the configuration is larger than {CONFIG_LIMIT} bytes")
    try:
        text = data.decode()
        config = loads(text)
    except (ValueError, RecursionError) as error:
        raise CniError(DECODING_FAILURE, f"the configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CniError(DECODING_FAILURE, "the configuration is JSON, but not an object")
    return text, config


def version_key(text: str) -> tuple[int, ...]:
    """A sort key for versions; a text that is not a version comes before all others."""
    parts = text.split(".")
    return tuple(int(part) for part in parts if part.isdigit()) if len(parts) == 3 else ()


def check_version(config: Json, command: str) -> None:
    """CniError 1 for a version that is not supported, or that does not have the command."""
    # An absent cniVersion counts as 0.1.0 in the reference library.
    version = config.get("cniVersion") or "0.1.0"
    if version not in SUPPORTED:
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"cniVersion {version!r} is not supported",
            f"give one of {', '.join(SUPPORTED)} in the network configuration",
        )
    if version_key(version) < version_key(SINCE.get(command, "0.3.1")):
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"{command} came with cniVersion {SINCE[command]}, and this is {version}",
        )


def check_config(config: Json, command: str) -> None:
    """CniError 7 or 2 for a configuration that is not supported."""
    for key in ("name", "type", "socket"):
        value = config.get(key)
        if not isinstance(value, str) or not value:
            raise CniError(BAD_CONFIG, f"the configuration has no {key!r}", REINSTALL)
    if not is_name(config["name"]):
        raise CniError(BAD_CONFIG, f"network name {config['name']!r} is not allowed", REINSTALL)
    if "/" in config["type"] or "\0" in config["type"]:
        raise CniError(BAD_CONFIG, f"plugin type {config['type']!r} is not allowed", REINSTALL)
    if not _is_socket_path(config["socket"]):
        raise CniError(
            BAD_CONFIG,
            f"socket {config['socket'][:200]!r} is no path of a Unix socket",
            'it must begin with "/" and have at most 107 bytes; ' + REINSTALL,
        )
    previous = config.get("prevResult")
    if previous is not None and not isinstance(previous, dict):
        raise CniError(BAD_CONFIG, "prevResult is not an object", RUNTIME)
    if command == "CHECK" and previous is None:
        raise CniError(BAD_CONFIG, "CHECK needs prevResult, the result of the ADD", RUNTIME)
    # Only for ADD: a wrong configuration must not keep a pod from being detached.
    if command in ("ADD", "STATUS") and config.get("ipam"):
        raise CniError(
            UNSUPPORTED_FIELD,
            f"ipam = {dumps(config['ipam'])} is not supported",
            "remove it: addresses come from the node's own prefixes (Node spec.podCIDRs)",
        )
    if command == "GC":
        check_attachments(config.get(VALID_ATTACHMENTS))


REINSTALL = "run `python -m steppe.agent.cni.install`, which writes a whole configuration"

RUNTIME = "the container runtime must send it as the CNI specification has it"


def check_attachments(listed: object) -> None:
    """CniError 7 unless this is a list of {containerID, ifname}, or absent."""
    entries = [] if listed is None else listed
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict)
        and isinstance(entry.get("containerID"), str)
        and isinstance(entry.get("ifname"), str)
        for entry in entries
    ):
        raise CniError(
            BAD_CONFIG, f"{VALID_ATTACHMENTS} is not a list of containerID and ifname", RUNTIME
        )


def pod_of(env: Mapping[str, str]) -> str:
    """namespace/name of the pod; "" if the runtime does not send it."""
    pairs = dict(pair.split("=", 1) for pair in env.get("CNI_ARGS", "").split(";") if "=" in pair)
    namespace, name = pairs.get("K8S_POD_NAMESPACE", ""), pairs.get("K8S_POD_NAME", "")
    return f"{namespace}/{name}" if name else ""


def ask(path: str, document: str, command: str, pod: str) -> tuple[Json | None, int]:
    """The agent's answer to one request."""
    code = NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN
    about = f"{command} of pod {pod}" if pod else command
    try:
        received = exchange(path, document.encode())
    except OSError as error:
        reason = error.strerror or f"no answer in {TIMEOUT_SECONDS:.0f} s"
        raise CniError(
            code,
            f"{about}: steppe's agent is not reachable at {path}: {reason}",
            CURES.get(error.errno or ETIMEDOUT, CURES[ECONNREFUSED]),
        ) from error
    try:
        answer = loads(received.decode())
        printed, exit_code = answer["stdout"], answer["exit"]
        if not isinstance(exit_code, int) or not isinstance(printed, dict | None):
            raise TypeError(exit_code)  # noqa: TRY301 - one more way to be no answer
        return printed, exit_code & 0xFF
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CniError(
            code,
            f"{about}: steppe's agent broke off before it had answered",
            "look into the agent's log; this is tried again by itself",
        ) from error


# errno's numbers, without importing it.
EACCES, EAGAIN, ECONNREFUSED, ETIMEDOUT = 13, 11, 111, 110
CURES = {
    EACCES: "its socket is root's alone: the container runtime must run plugins as root",
    EAGAIN: "it has more requests than it can take now; this is tried again by itself",
    ECONNREFUSED: "start the agent on this node, or look into its log; this is tried again by "
    "itself",
    ETIMEDOUT: "it runs and does not answer: look into its log; this is tried again by itself",
}


def exchange(path: str, document: bytes) -> bytes:
    """The answer on a Unix socket to one document; OSError if there is none."""
    received = []
    channel = Socket(AF_UNIX, SOCK_STREAM)
    try:
        channel.settimeout(TIMEOUT_SECONDS)
        channel.connect(path)
        channel.sendall(document)
        channel.shutdown(SHUT_WR)
        while data := channel.recv(1 << 16):
            received.append(data)
    finally:
        channel.close()
    return b"".join(received)


def run(env: Mapping[str, str], read: Callable[[], bytes]) -> tuple[Json | None, int]:
    """What to print, or None, and the exit code."""
    version = NEWEST
    try:
        command = check_environment(env)
        if command == "VERSION":
            return {"cniVersion": asked_version(read), "supportedVersions": SUPPORTED}, 0
        text, config = read_config(read)
        # An error has the version of the request, if that is known.
        if config.get("cniVersion") in SUPPORTED:
            version = config["cniVersion"]
        check_version(config, command)
        check_config(config, command)
        known = {name: env[name] for name in PARAMETERS if name in env}
        schema = "steppe.cni-request/v1"
        # The configuration is passed on unchanged, with members that we do not know.
        document = f'{{"schema":"{schema}","env":{dumps(known)},"config":{text}}}'
        return ask(config["socket"], document, command, pod_of(env))
    except CniError as error:
        return _told(version, error), 1


def _told(version: str, error: CniError) -> Json:
    told = {"code": error.code, "msg": error.msg, "details": error.details}
    return {"cniVersion": version, **told}


def asked_version(read: Callable[[], bytes]) -> str:
    """The version of a VERSION request; "" for empty or invalid input, which is no error here."""
    try:
        version = read_config(read)[1].get("cniVersion")
    except CniError:
        return NEWEST
    return version if isinstance(version, str) and version else NEWEST


def read_stdin() -> bytes:
    """All of file 0, up to one byte over the limit; sys.stdin is None if that is closed."""
    with open(0, "rb", closefd=False) as stream:
        return stream.read(CONFIG_LIMIT + 1)


def main() -> None:
    """The plugin as a process."""
    try:
        printed, code = run(os.environ, read_stdin)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: a runtime reads no traceback
        what = f"steppe's CNI plugin failed: {type(error).__name__}: {error}"
        cure = "a bug of steppe's: please report it, with the request"
        printed, code = _told(NEWEST, CniError(UNEXPECTED, what, cure)), 1
    try:
        if printed is not None:
            sys.stdout.write(dumps(printed) + "\n")
            sys.stdout.flush()
    except (OSError, AttributeError):
        code = code or 1  # nobody reads: a closed pipe, or no standard output at all
    # Nothing is left to clean up, and an orderly end of the interpreter takes 1 ms.
    os._exit(code)


if __name__ == "__main__":
    main()
