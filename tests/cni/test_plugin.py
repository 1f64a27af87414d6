"""What the plugin decides by itself: CNI's errors 1 to 7, VERSION, and an agent that is away.

Each test runs against both forms of it: the Python script and, where rustc is there to build it,
the static program of shim/.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from steppe.agent.cni.request import request_from
from steppe.cni import plugin

CONFIG = {"cniVersion": "1.1.0", "name": "steppe", "type": "steppe", "socket": "/nonexistent"}
ENV = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
}
GC = ENV | {"CNI_COMMAND": "GC"}
CHECK = ENV | {"CNI_COMMAND": "CHECK"}


Program = tuple[str, ...]
Stdin = bytes | dict[str, Any]
IN_PROCESS: Program = ()
PYTHON: Program = (sys.executable, "-IS", plugin.__file__)
SHIM = Path(__file__).parents[2] / "shim" / "build.sh"


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Program:
    if shutil.which("rustc") is None:
        pytest.skip("no rustc to build the static plugin: apt-get install rustc")
    built = tmp_path_factory.mktemp("shim") / "steppe"
    subprocess.run([SHIM, built], check=True)
    return (str(built),)


@pytest.fixture(params=["python", "static"])
def form(request: pytest.FixtureRequest) -> Program:
    """Both forms; the Python one in this process, where it takes no time to start."""
    return IN_PROCESS if request.param == "python" else request.getfixturevalue("static")


@pytest.fixture(params=["python", "static"])
def program(request: pytest.FixtureRequest) -> Program:
    """Both forms, as programs."""
    return PYTHON if request.param == "python" else request.getfixturevalue("static")


def run(form: Program, env: dict[str, str], stdin: Stdin = CONFIG) -> tuple[Any, int]:
    """What it prints, and its exit code."""
    data = stdin if isinstance(stdin, bytes) else json.dumps(stdin).encode()
    if form == IN_PROCESS:
        return plugin.run(env, lambda: data)
    done = subprocess.run(
        form,
        env=env,
        input=data,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == b""
    return json.loads(done.stdout) if done.stdout else None, done.returncode


def without(name: str, env: dict[str, str] = ENV) -> dict[str, str]:
    return {key: value for key, value in env.items() if key != name}


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({}, ["CNI_COMMAND"]),
        (ENV | {"CNI_COMMAND": "PING"}, ["CNI_COMMAND", "PING"]),
        (ENV | {"CNI_COMMAND": "add"}, ["CNI_COMMAND", "add"]),
        (without("CNI_CONTAINERID"), ["CNI_CONTAINERID"]),
        (ENV | {"CNI_CONTAINERID": ""}, ["CNI_CONTAINERID"]),
        (without("CNI_NETNS"), ["CNI_NETNS"]),
        (without("CNI_IFNAME"), ["CNI_IFNAME"]),
        ({"CNI_COMMAND": "ADD"}, ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ({"CNI_COMMAND": "CHECK"}, ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ({"CNI_COMMAND": "DEL"}, ["CNI_CONTAINERID", "CNI_IFNAME"]),
        (without("CNI_PATH", GC), ["CNI_PATH"]),
        (ENV | {"CNI_CONTAINERID": "-c"}, ["CNI_CONTAINERID"]),
        (ENV | {"CNI_CONTAINERID": "a b"}, ["CNI_CONTAINERID"]),
        (ENV | {"CNI_CONTAINERID": "é"}, ["CNI_CONTAINERID"]),
        (ENV | {"CNI_CONTAINERID": "a/../b"}, ["CNI_CONTAINERID"]),
        (ENV | {"CNI_IFNAME": "sixteen-letters-"}, ["CNI_IFNAME"]),
        (ENV | {"CNI_IFNAME": "."}, ["CNI_IFNAME"]),
        (ENV | {"CNI_IFNAME": ".."}, ["CNI_IFNAME"]),
        (ENV | {"CNI_IFNAME": "a/b"}, ["CNI_IFNAME"]),
        (ENV | {"CNI_IFNAME": "a:b"}, ["CNI_IFNAME"]),
        (ENV | {"CNI_IFNAME": "a b"}, ["CNI_IFNAME"]),
        (ENV | {"CNI_ARGS": "K8S_POD_NAME"}, ["CNI_ARGS"]),
        (ENV | {"CNI_ARGS": "=x"}, ["CNI_ARGS"]),
        (ENV | {"CNI_IFNAME": "..", "CNI_ARGS": "x"}, ["CNI_IFNAME", "CNI_ARGS"]),
    ],
)
def test_a_bad_variable_is_error_4_and_named(
    form: Program, env: dict[str, str], names: list[str]
) -> None:
    printed, code = run(form, env)
    assert (code, printed["code"]) == (1, 4)
    assert [name for name in names if name not in printed["msg"]] == []


@pytest.mark.parametrize(
    ("env", "stdin", "code", "said"),
    [
        (ENV, b"", 6, "not JSON"),
        (ENV, b"{", 6, "not JSON"),
        (ENV, b"\xff", 6, "not JSON"),
        (ENV, b"{} {}", 6, "not JSON"),
        (ENV, b"[" * 100_000, 6, "not JSON"),
        (ENV, b"[]", 6, "not an object"),
        (ENV, b" " * (plugin.CONFIG_LIMIT + 1), 5, "larger"),
        (ENV, CONFIG | {"cniVersion": "0.2.0"}, 1, "0.2.0"),
        (ENV, CONFIG | {"cniVersion": "2.0.0"}, 1, "2.0.0"),
        (ENV, CONFIG | {"cniVersion": ["1.1.0"]}, 1, "1.1.0"),
        # "An absent cniVersion counts as 0.1.0"
        (ENV, {"name": "x", "type": "steppe", "socket": "/x"}, 1, "0.1.0"),
        (CHECK, CONFIG | {"cniVersion": "0.3.1"}, 1, "CHECK came with cniVersion 0.4.0"),
        (GC, CONFIG | {"cniVersion": "1.0.0"}, 1, "GC came with cniVersion 1.1.0"),
        ({"CNI_COMMAND": "STATUS"}, CONFIG | {"cniVersion": "1.0.0"}, 1, "STATUS came"),
        (ENV, CONFIG | {"name": ""}, 7, "'name'"),
        (ENV, CONFIG | {"name": "../x"}, 7, "'../x'"),
        (ENV, CONFIG | {"name": 7}, 7, "'name'"),
        (ENV, CONFIG | {"type": "a/b"}, 7, "'a/b'"),
        (ENV, CONFIG | {"socket": None}, 7, "'socket'"),
        (ENV, CONFIG | {"socket": "\ud800"}, 7, "socket"),
        (ENV, CONFIG | {"socket": "/\ud800"}, 7, "socket"),
        (ENV, CONFIG | {"socket": "\0abstract"}, 7, "socket"),
        (ENV, CONFIG | {"socket": "/a\0b"}, 7, "socket"),
        (ENV, CONFIG | {"socket": "relative"}, 7, "socket"),
        (ENV, CONFIG | {"socket": "/" + "x" * 107}, 7, "socket"),
        (ENV, CONFIG | {"name": "a\0b"}, 7, "name"),
        (ENV, CONFIG | {"name": "\ud800"}, 7, "name"),
        (ENV, CONFIG | {"type": "a\0b"}, 7, "type"),
        (ENV, CONFIG | {"cniVersion": "\ud800"}, 1, "cniVersion"),
        (ENV, CONFIG | {"prevResult": []}, 7, "prevResult"),
        (CHECK, CONFIG, 7, "prevResult"),
        (GC, CONFIG | {"cni.dev/valid-attachments": {}}, 7, "valid-attachments"),
        (GC, CONFIG | {"cni.dev/valid-attachments": [{"ifname": "x"}]}, 7, "valid-attachments"),
        # "2: unsupported field …; the error message must contain the key and value"
        (ENV, CONFIG | {"ipam": {"type": "dhcp"}}, 2, '{"type":"dhcp"}'),
    ],
)
def test_a_bad_configuration_has_its_own_code(
    form: Program, env: dict[str, str], stdin: bytes | dict[str, Any], code: int, said: str
) -> None:
    printed, exit_code = run(form, env, stdin)
    assert (exit_code, printed["code"]) == (1, code)
    assert said in printed["msg"].replace('": ', '":')
    assert printed["cniVersion"] in plugin.SUPPORTED


def test_a_number_that_the_interpreter_does_not_read_is_error_6() -> None:
    printed, _ = run(IN_PROCESS, ENV, b'{"a":' + b"9" * 5000 + b"}")
    assert (printed["code"], "not JSON" in printed["msg"]) == (6, True)


def test_unreadable_input_is_error_5() -> None:
    def broken() -> bytes:
        raise OSError(5, "Input/output error")

    printed, code = plugin.run(ENV, broken)
    assert (code, printed["code"]) == (1, 5)


def test_the_error_speaks_the_version_of_the_request(form: Program) -> None:
    printed, _ = run(form, ENV, CONFIG | {"cniVersion": "0.4.0", "name": ""})
    assert printed["cniVersion"] == "0.4.0"


def test_a_configuration_never_keeps_a_pod_from_being_taken_down(form: Program) -> None:
    printed, _ = run(form, ENV | {"CNI_COMMAND": "DEL"}, CONFIG | {"ipam": {"type": "dhcp"}})
    assert printed["code"] == 11


@pytest.mark.parametrize(
    ("stdin", "version"),
    [(b"", "1.1.0"), (b"{", "1.1.0"), (b'{"cniVersion":"0.4.0"}', "0.4.0"), (b"[]", "1.1.0")],
)
def test_version_needs_no_input(form: Program, stdin: bytes, version: str) -> None:
    printed, code = run(form, {"CNI_COMMAND": "VERSION"}, stdin)
    assert code == 0
    assert printed["cniVersion"] == version
    assert tuple(printed["supportedVersions"]) == ("0.3.1", "0.4.0", "1.0.0", "1.1.0")


def test_an_unknown_argument_is_no_error(form: Program) -> None:
    printed, _ = run(form, ENV | {"CNI_ARGS": "FOO=1;BAR=a=b;IgnoreUnknown=1"})
    assert printed["code"] == 11


@pytest.mark.parametrize(
    "value",
    [{}, {"a": [1, -2, 1.5, None, True, 'é\n"\\\U0001f600']}, {"n": {"m": []}}, "x", 10**30],
)
def test_the_short_codec_is_json(value: Any) -> None:
    assert plugin.loads(f" {json.dumps(value)}\n") == value
    assert json.loads(plugin.dumps(value)) == value


# The plugin as a process, against an agent that the test plays.


@contextlib.contextmanager
def agent(path: Path, talk: Callable[[socket.socket, dict[str, Any]], None]) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            channel, _ = listener.accept()
            with channel:
                parts = []
                while data := channel.recv(65536):
                    parts.append(data)
                talk(channel, json.loads(b"".join(parts)))

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)
        assert not thread.is_alive()


def test_request_and_answer_pass_through_unchanged(program: Program, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    result = {"cniVersion": "1.1.0", "ips": [], "dns": {"search": ["é"]}}

    def talk(channel: socket.socket, request: dict[str, Any]) -> None:
        seen.append(request)
        channel.sendall(json.dumps({"exit": 0, "stdout": result}).encode())

    config = CONFIG | {"socket": str(tmp_path / "s"), "unknown": {"deep": [1.50, "ü"]}}
    with agent(tmp_path / "s", talk):
        assert run(program, ENV | {"HOME": "/root"}, config) == (result, 0)
    assert seen == [{"schema": "steppe.cni-request/v1", "env": ENV, "config": config}]


def test_an_error_of_the_agents_is_printed_with_exit_1(program: Program, tmp_path: Path) -> None:
    error = {"cniVersion": "1.1.0", "code": 101, "msg": "m", "details": "d"}

    def talk(channel: socket.socket, _: object) -> None:
        channel.sendall(json.dumps({"exit": 1, "stdout": error}).encode())

    with agent(tmp_path / "s", talk):
        assert run(program, ENV, CONFIG | {"socket": str(tmp_path / "s")}) == (error, 1)


def test_nothing_to_print_prints_nothing(program: Program, tmp_path: Path) -> None:
    def talk(channel: socket.socket, _: object) -> None:
        channel.sendall(b'{"exit":0,"stdout":null}')

    with agent(tmp_path / "s", talk):
        env = ENV | {"CNI_COMMAND": "DEL"}
        assert run(program, env, CONFIG | {"socket": str(tmp_path / "s")}) == (None, 0)


@pytest.mark.parametrize(
    "half",
    [
        b"", b'{"exit":0,"std', b"[]", b"{}", b"null", b"[" * 100_000, b"\xff",
        b'{"exit":"0","stdout":{}}', b'{"exit":0,"stdout":[]}',
    ],
)  # fmt: skip
def test_an_agent_that_breaks_off_is_try_again(form: Program, tmp_path: Path, half: bytes) -> None:
    def talk(channel: socket.socket, _: object) -> None:
        channel.sendall(half)

    with agent(tmp_path / "s", talk):
        printed, code = run(form, ENV, CONFIG | {"socket": str(tmp_path / "s")})
    assert (code, printed["code"]) == (1, 11)
    assert "pod default/web" in printed["msg"]
    assert "log" in printed["details"]


@pytest.mark.parametrize(
    ("command", "expected"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)]
)
def test_no_agent_is_try_again_or_not_available(form: Program, command: str, expected: int) -> None:
    printed, code = run(form, ENV | {"CNI_COMMAND": command}, CONFIG | {"prevResult": {}})
    assert (code, printed["code"]) == (1, expected)
    assert "/nonexistent" in printed["msg"]
    assert "start the agent" in printed["details"]


def test_the_advice_fits_the_cause(form: Program, tmp_path: Path) -> None:
    """Who may not open the socket is not told to start the agent, and so on."""
    said = {}
    for number in (plugin.EACCES, plugin.EAGAIN, plugin.ECONNREFUSED, plugin.ETIMEDOUT):
        assert os.strerror(number) != f"Unknown error {number}"
        said[number] = plugin.CURES[number]
    assert len(set(said.values())) == 4
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as full:
        full.bind(str(path))
        full.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(str(path))
            printed, code = run(form, ENV, CONFIG | {"socket": str(path)})
    assert (code, printed["code"]) == (1, 11)
    assert "more requests than it can take" in printed["details"]
    printed, code = run(form, ENV, CONFIG | {"socket": str(path)})
    assert "start the agent" in printed["details"]


def test_nobody_who_reads_is_no_traceback(program: Program) -> None:
    for closed in (">&-", ">/dev/full"):
        argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *program]
        done = subprocess.run(
            argv, env=ENV, input=b"{}", stderr=subprocess.PIPE, timeout=30, check=False
        )
        assert (done.returncode, done.stderr) == (1, b"")


def test_very_large_input_is_error_5_and_is_not_read_to_its_end(program: Program) -> None:
    argv = ["sh", "-c", 'yes | "$@"', "sh", *program]
    done = subprocess.run(argv, env=os.environ | ENV, capture_output=True, timeout=30, check=False)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 5)


_ODD = st.text(max_size=6) | st.sampled_from(["\ud800", "\0", "/x", "1.1.0", "steppe", "a" * 200])
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ODD, inner, max_size=3),
    max_leaves=8,
)
_KEYS = ("cniVersion", "name", "type", "socket", "prevResult", "ipam", plugin.VALID_ATTACHMENTS)
_CHANGES = st.dictionaries(st.sampled_from(_KEYS), _VALUE, max_size=3)


_ENVIRONMENTS = st.dictionaries(st.sampled_from(plugin.PARAMETERS), _ODD, max_size=3)
_COMMANDS = st.sampled_from([*plugin.REQUIRED, ""])
_INPUT = (
    _CHANGES.map(lambda changes: json.dumps(CONFIG | changes).encode())
    | _VALUE.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=20)
)


@settings(max_examples=200, deadline=None)
@given(env=_ENVIRONMENTS, command=_COMMANDS, stdin=_INPUT)
def test_whatever_comes_is_answered_as_cni_has_it(
    env: dict[str, str], command: str, stdin: bytes
) -> None:
    """By the plugin, and by the agent, who believes nobody."""
    asked = ENV | env | {"CNI_COMMAND": command}
    printed, code = plugin.run(asked, lambda: stdin)
    text = plugin.dumps(printed)
    assert json.loads(text).keys() in (
        {"cniVersion", "code", "msg", "details"}, {"cniVersion", "supportedVersions"},
    )  # fmt: skip
    assert (code == 0) == (command == "VERSION")
    with contextlib.suppress(plugin.CniError, ValueError):
        request_from({"env": asked, "config": json.loads(stdin)})


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(env=_ENVIRONMENTS, command=_COMMANDS, stdin=_INPUT)
def test_both_forms_answer_alike(
    static: Program, env: dict[str, str], command: str, stdin: bytes
) -> None:
    asked = ENV | env | {"CNI_COMMAND": command}
    # What no process can be given: a variable with a null byte, or with half of a character.
    assume(not any("\0" in text or not _is_text(text) for text in asked.values()))
    # The script takes NaN and Infinity, as Python does; JSON has neither.
    assume(not any(word in stdin for word in (b"NaN", b"Infinity")))
    expected, code = plugin.run(asked, lambda: stdin)
    printed, exit_code = run(static, asked, stdin)
    assert exit_code == code
    assert {
        k: v for k, v in printed.items() if k in ("cniVersion", "code", "supportedVersions")
    } == {
        k: json.loads(json.dumps(v))
        for k, v in (expected or {}).items()
        if k not in ("msg", "details")
    }


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_closed_standard_input_is_error_5() -> None:
    argv = ["sh", "-c", 'exec "$@" <&-', "sh", *PYTHON]
    done = subprocess.run(argv, env=ENV, capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 5


def test_closed_standard_input_is_no_configuration(static: Program) -> None:
    # Rust opens /dev/null for a closed standard stream before main.
    argv = ["sh", "-c", 'exec "$@" <&-', "sh", *static]
    done = subprocess.run(argv, env=ENV, capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 6


@pytest.mark.slow
def test_the_static_program_is_the_same_bytes_each_time(static: Program, tmp_path: Path) -> None:
    subprocess.run([SHIM, tmp_path / "again"], check=True)
    assert (tmp_path / "again").read_bytes() == Path(*static).read_bytes()
    listed = subprocess.run(["ldd", *static], capture_output=True, text=True, check=False)
    assert "statically linked" in listed.stdout + listed.stderr


def test_it_imports_next_to_nothing() -> None:
    code = "import sys; sys.argv = ['x']; before = set(sys.modules); import steppe.cni.plugin; "
    code += "print(*sorted(set(sys.modules) - before))"
    path = str(Path(plugin.__file__).parents[2])
    argv = [sys.executable, "-S", "-c", code]
    done = subprocess.run(
        argv, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.split())
    assert "_json" in imported
    assert not imported & {"json", "re", "enum", "socket", "typing", "pathlib", "functools"}
