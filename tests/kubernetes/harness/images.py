"""The images that pods run, made of this machine's programs and Kubernetes' agnhost: no registry.

They stand in for the images that Kubernetes' e2e tests name. Programs that the machine lacks are
left out; the tests that need them fail, and say so.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.kubernetes.harness.processes import run
from tests.kubernetes.harness.settings import Settings

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
_E2E = "registry.k8s.io/e2e-test-images"
_PAUSE = ("registry.k8s.io/pause:3.10.2", "registry.k8s.io/pause:3.10")
_IN_AGNHOST = ("agnhost", "coredns", "localhost.crt", "localhost.key")
_TOOLS = (
    f"{_E2E}/glibc-dns-testing:2.0.0",
    *(f"registry.k8s.io/build-image/distroless-iptables:{tag}" for tag in ("v0.9.3", "v0.9.6")),
)
_RESETS = "regression-issue-74839"
"""A server that sends packets outside its window (the test Conntrack drops INVALID)."""
_PROGRAMS = (
    *("wget", "curl", "dig", "nc.openbsd", "iperf3", "bash", "dash", "ip", "ss", "bridge", "tc"),
    *("nft", "iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save"),
    *("ip6tables-restore", "conntrack", "ping", "getent", "iperf", "tcpdump"),
)
_FOLDERS = (
    *("proc", "sys", "dev", "etc", "usr/bin", "usr/sbin", "usr/local/bin", "lib64", "root", "home"),
    *("run", "uploads"),
)
_USERS = (
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    "user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n"
)
_GROUPS = "root:x:0:\nnobody:x:65534:\nuser-defined-in-image:x:1000:\n"
_CREATED = 1_700_000_000
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def prepared(settings: Settings, say: Callable[[str], None]) -> tuple[Path, Path]:
    """The pause program and the archive of all images, made again when what they hold changes."""
    folder = settings.cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    pause, archive, stamp = folder / "pause", folder / "images.tar", folder / "made-of"
    source = Path(__file__)
    built = [Path(settings.kubernetes(name)) for name in (*_IN_AGNHOST, _RESETS)]
    parts = (source, source.with_name("pause.c"))
    made_of = [hashlib.sha256(one.read_bytes()).hexdigest() for one in parts]
    made_of += [
        f"{each.stat().st_size} {each.stat().st_mtime_ns}" for each in built if each.exists()
    ]
    made_of += [name for name in _PROGRAMS if shutil.which(name)]
    text = "\n".join(made_of)
    if not (stamp.exists() and stamp.read_text() == text and archive.exists()):
        say("making images of this machine's programs")
        run(["gcc", "-Os", "-static", "-s", "-o", pause, parts[1]])
        _write(archive, _images(settings, pause, say))
        stamp.write_text(text)
    return pause, archive


def pause_alone(settings: Settings, _: Callable[[str], None]) -> tuple[Path, Path]:
    """The pause program and an archive of its image alone: what a pod's sandbox needs."""
    folder = settings.cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    pause, archive = folder / "pause", folder / "pause.tar"
    if not archive.exists():
        run(["gcc", "-Os", "-static", "-s", "-o", pause, Path(__file__).with_name("pause.c")])
        _write(archive, [_pause_image(pause)])
    return pause, archive


def _pause_image(pause: Path) -> tuple[tuple[str, ...], list[bytes], dict[str, Any]]:
    layer = Layer()
    layer.file("pause", pause)
    return _PAUSE, [layer.closed()], {"Entrypoint": ["/pause"], "User": "65535:65535"}


class Layer:
    """One layer of an image; a name that is there already is kept."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._names: set[str] = set()

    def folder(self, name: str, mode: int = 0o755) -> None:
        self._add(name, mode, tarfile.DIRTYPE)

    def link(self, name: str, to: str) -> None:
        self._add(name, 0o777, tarfile.SYMTYPE, link=to)

    def text(self, name: str, text: str) -> None:
        self._add(name, 0o644, tarfile.REGTYPE, text.encode())

    def file(self, name: str, source: Path, mode: int = 0o755) -> None:
        self._add(name, mode, tarfile.REGTYPE, source.resolve().read_bytes())

    def _add(self, name: str, mode: int, kind: bytes, data: bytes = b"", link: str = "") -> None:
        name = name.strip("/")
        if name in self._names:
            return
        above = str(Path(name).parent)
        if above != ".":
            self.folder(above)
        self._names.add(name)
        member = tarfile.TarInfo(name)
        member.mode, member.type, member.linkname, member.mtime = mode, kind, link, _CREATED
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data) if data else None)

    def closed(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def _images(
    settings: Settings, pause: Path, say: Callable[[str], None]
) -> Iterable[tuple[tuple[str, ...], list[bytes], dict[str, Any]]]:
    """Each image: its names, layers and configuration."""
    small, tools, agnhost = Layer(), Layer(), Layer()
    _base(small)
    for program in _PROGRAMS:
        if not _add_program(tools, program):
            say(f"{program} is not on this machine: images have none")
    tools.link("usr/bin/nc", "nc.openbsd" if shutil.which("nc.openbsd") else "busybox")
    tools.link("usr/bin/sh", "dash")
    _base(tools)
    for name in _IN_AGNHOST:
        path = Path(settings.kubernetes(name))
        if path.exists():
            agnhost.file(name, path, 0o644 if name.startswith("localhost") else 0o755)
            _add_libraries(agnhost, path)
    agnhost.link("agnhost-2", "agnhost")
    base, full = small.closed(), [tools.closed(), agnhost.closed()]
    serves = {"Cmd": ["httpd", "-f", "-p", "80", "-h", "/uploads"]}
    runs = {"Entrypoint": ["/agnhost"], "Cmd": ["pause"]}
    yield _pause_image(pause)
    yield (f"{_E2E}/busybox:1.37.0-1", f"{_E2E}/busybox:1.36.1-1"), [base], {"Cmd": ["sh"]}
    yield (f"{_E2E}/nginx:1.15-4", f"{_E2E}/nginx:1.27-0"), [base], serves
    yield (AGNHOST, f"{_E2E}/agnhost:2.55"), full, runs
    yield _TOOLS, full[:1], {"Cmd": ["sh"]}
    resets = Path(settings.kubernetes(_RESETS))
    if resets.exists():
        layer = Layer()
        layer.file(_RESETS, resets)
        names = (f"{_E2E}/{_RESETS}:1.5", f"{_E2E}/{_RESETS}:1.4")
        yield names, [layer.closed()], {"Entrypoint": [f"/{_RESETS}"]}


def _base(layer: Layer) -> None:
    for folder in _FOLDERS:
        layer.folder(folder)
    for folder in ("tmp", "var/tmp"):
        layer.folder(folder, 0o1777)
    for name, to in (("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")):
        layer.link(name, to)
    layer.link("var/run", "/run")
    layer.text("etc/passwd", _USERS)
    layer.text("etc/group", _GROUPS)
    layer.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    for name in ("services", "protocols"):
        if (path := Path("/etc") / name).exists():
            layer.file(f"etc/{name}", path, 0o644)
    busybox = shutil.which("busybox")
    layer.file("usr/bin/busybox", Path(busybox or "/bin/busybox"))
    for applet in run(["busybox", "--list"]).split():
        layer.link(f"usr/bin/{applet}", "busybox")  # a program that is there already wins


def _add_program(layer: Layer, name: str) -> bool:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        return False
    layer.file(f"usr/bin/{name}", Path(path))
    _add_libraries(layer, Path(path))
    if name == "iptables":
        for extension in Path(f"/usr/lib/{_triplet()}/xtables").glob("*.so"):
            layer.file(f"usr/lib/{_triplet()}/xtables/{extension.name}", extension)
    return True


def _add_libraries(layer: Layer, program: Path) -> None:
    """None for a static program."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for line in re.findall(r"=> (/\S+)|^\s+(/\S+) \(", listed, re.MULTILINE):
        library = Path(line[0] or line[1])
        folder = "lib64" if str(library).startswith("/lib64/") else f"usr/lib/{_triplet()}"
        layer.file(f"{folder}/{library.name}", library)


def _triplet() -> str:
    return run(["gcc", "-print-multiarch"]).strip()


def _write(
    archive: Path, images: Iterable[tuple[tuple[str, ...], list[bytes], dict[str, Any]]]
) -> None:
    """In the form of `docker save`, which `ctr images import` reads."""
    manifest: list[dict[str, Any]] = []
    seen: set[str] = set()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[run(["uname", "-m"]).strip()]
    with tarfile.open(archive, "w") as tar:

        def put(name: str, data: bytes) -> None:
            if name not in seen:
                seen.add(name)
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(data), _CREATED
                tar.addfile(member, io.BytesIO(data))

        for names, layers, given in images:
            digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
            document = {
                "architecture": machine,
                "os": "linux",
                "created": "2023-11-14T00:00:00Z",
                "config": given | {"Env": [_PATH]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{one}" for one in digests]},
                "history": [{"created": "2023-11-14T00:00:00Z"} for _ in digests],
            }
            text = json.dumps(document).encode()
            config = f"{hashlib.sha256(text).hexdigest()}.json"
            files = [f"{one}/layer.tar" for one in digests]
            for file, layer in zip(files, layers, strict=True):
                put(file, layer)
            put(config, text)
            manifest.append({"Config": config, "RepoTags": list(names), "Layers": files})
        put("manifest.json", json.dumps(manifest).encode())
