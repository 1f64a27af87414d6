"""The built-in images as processes on loopback."""

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steppe_lab.images.catalogue import UnknownImage, base_name, entry_point

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start an image and wait for its first line, which servers print once they listen."""
    started: list[subprocess.Popen[str]] = []

    def begin(image: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*entry_point(image), *arguments], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert "listens" in process.stdout.readline()
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET6, kind) as sock:
        sock.bind(("::", 0))
        return int(sock.getsockname()[1])


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  loopback only
        return str(answer.read().decode())


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("echo", "echo"),
        ("steppe/echo:1", "echo"),
        ("registry.k8s.io/pause:3.9", "pause"),
        ("registry.example:5000/e2e-test-images/agnhost:2.45", "agnhost"),
        ("localhost:5000/nginx", "nginx"),
        ("nginx@sha256:abc", "nginx"),
    ],
)
def test_an_image_is_known_by_its_last_name(image: str, name: str) -> None:
    assert base_name(image) == name
    assert entry_point(image)


def test_an_unknown_image_says_which_there_are() -> None:
    with pytest.raises(UnknownImage, match="Built-in images: agnhost, echo"):
        entry_point("mysql:8")


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "ipv4"), ("[::1]", "ipv6")])
def test_echo_tells_the_peer_address_it_saw_by_http(start: Start, host: str, family: str) -> None:
    port = free_port()
    start("echo", "--http", str(port))
    said = json.loads(get(f"http://{host}:{port}/x"))
    assert (said["peer"], said["family"], said["path"]) == (host.strip("[]"), family, "/x")
    assert said["address"] == host.strip("[]")


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "ipv4"), ("::1", "ipv6")])
def test_echo_tells_the_peer_address_it_saw_by_tcp_and_udp(
    start: Start, host: str, family: str
) -> None:
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    start("echo", "--tcp", str(tcp), "--udp", str(udp))
    with socket.create_connection((host, tcp), timeout=5) as sock, sock.makefile("rwb") as stream:
        said = json.loads(stream.readline())
        assert (said["peer"], said["peerPort"]) == (host, sock.getsockname()[1])
        stream.write(b"again\n")
        stream.flush()
        assert stream.readline() == b"again\n"
    kind = socket.AF_INET6 if family == "ipv6" else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((host, udp))
        sock.send(b"hello")
        said = json.loads(sock.recv(4096))
    assert (said["protocol"], said["family"], said["data"]) == ("udp", family, "hello")


def test_a_datagram_is_answered_from_the_address_it_was_sent_to(start: Start) -> None:
    port = free_port(socket.SOCK_DGRAM)
    start("echo", "--udp", str(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"x", ("127.0.0.77", port))
        assert sock.recvfrom(4096)[1] == ("127.0.0.77", port)


def test_netexec_answers_as_agnhost_does(start: Start) -> None:
    http, udp = free_port(), free_port(socket.SOCK_DGRAM)
    start("agnhost:2.45", "netexec", f"--http-port={http}", f"--udp-port={udp}")
    base = f"http://127.0.0.1:{http}"
    assert get(f"{base}/hostname") == socket.gethostname()
    assert get(f"{base}/clientip").startswith("127.0.0.1:")
    assert get(f"http://[::1]:{http}/clientip").startswith("[::1]:")
    assert get(f"{base}/echo?msg=a%20b") == "a b"
    assert get(f"{base}/healthz") == ""
    dial = f"{base}/dial?host=127.0.0.1&request=hostname&tries=2"
    both = {"responses": [socket.gethostname()] * 2}
    assert json.loads(get(f"{dial}&port={udp}&protocol=udp")) == both
    assert json.loads(get(f"{dial}&port={http}&protocol=http")) == both
    refused = json.loads(get(f"{base}/dial?host=127.0.0.1&port=1&protocol=http"))
    assert "refused" in refused["errors"][0]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{base}/nothing")


@pytest.mark.parametrize("image", ["echo", "agnhost"])
def test_sctp_is_served_or_said_to_be_missing(image: str) -> None:
    http, sctp = str(free_port()), free_port()
    words = {
        "echo": ("--http", http, "--sctp", str(sctp)),
        "agnhost": ("netexec", f"--http-port={http}", "--udp-port=-1", f"--sctp-port={sctp}"),
    }[image]
    command = [*entry_point(image), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        if "no SCTP" not in said:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as sock:
                sock.settimeout(5)
                sock.connect(("127.0.0.1", sctp))
                sock.send(b"echo hi")
                said = sock.recv(4096).decode() + process.stdout.readline()
                assert "sctp" in said or "hi" in said
        assert get(f"http://127.0.0.1:{http}/")
        process.terminate()
        assert process.wait(5) == 0


def test_netexec_exits_when_told_to(start: Start) -> None:
    port = free_port()
    process = start("agnhost", "netexec", f"--http-port={port}", "--udp-port=-1")
    get(f"http://127.0.0.1:{port}/exit?code=7")
    assert process.wait(5) == 7


@pytest.mark.parametrize(("listens", "code", "word"), [(True, 0, ""), (False, 1, "REFUSED\n")])
def test_connect_tells_by_status_and_word(listens: bool, code: int, word: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if listens:
            sock.listen()
        target = f"127.0.0.1:{sock.getsockname()[1]}"
        command = [*entry_point("agnhost"), "connect", target, "-timeout=3s"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, word)


def test_connect_by_udp_times_out_when_nobody_answers() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        target = f"[::1]:{sock.getsockname()[1]}"
        command = [*entry_point("agnhost"), "connect", target, "--protocol=udp", "--timeout=200ms"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "TIMEOUT\n")


@pytest.mark.parametrize("image", ["echo", "agnhost"])
def test_sigterm_stops_accepting_and_exits_with_0(start: Start, image: str) -> None:
    port = free_port()
    words = ("--http", str(port)) if image == "echo" else ("netexec", f"--http-port={port}")
    process = start(image, *words, *(("--udp-port=-1",) if image == "agnhost" else ()))
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_an_unknown_program_is_refused_by_name() -> None:
    command = [*entry_point("agnhost"), "fly"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "fly: not in the lab's images" in done.stderr


def test_images_need_nothing_but_the_standard_library() -> None:
    """So that a hundred of them start fast and stay small."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from steppe_lab.images import agnhost, echo; print(*sorted(sys.modules))"
    )
    interpreter, *_, program = entry_point("agnhost")
    source = str(Path(program).parents[2])
    done = subprocess.run(
        [interpreter, "-I", "-S", "-c", code, source], capture_output=True, text=True, check=True
    )
    heavy = {"asyncio", "msgspec", "aiohttp", "http.server", "ssl", "subprocess"}
    assert heavy & set(done.stdout.split()) == set()
